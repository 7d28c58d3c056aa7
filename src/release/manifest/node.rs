//! A JSON value that knows where in the document it stands, so that every complaint names the field.

use serde_json::Value;

use crate::fault::{Code, Fault, Result};

/// A value and its path.
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    origin: &'a str,
}

impl<'a> Node<'a> {
    /// The document itself.
    pub(super) fn root(value: &'a Value, origin: &'a str) -> Self {
        Self { value, path: String::new(), origin }
    }

    /// The document's name.
    pub(super) fn origin(&self) -> &'a str {
        self.origin
    }

    /// Where this stands.
    pub(super) fn path(&self) -> &str {
        if self.path.is_empty() { "the document" } else { &self.path }
    }

    /// The complaint `cause` about this value.
    pub(super) fn invalid(&self, cause: impl std::fmt::Display) -> Fault {
        Fault::new(Code::ManifestInvalid, self.origin, format!("{}: {cause}", self.path()))
    }

    fn wrong(&self, wanted: &str) -> Fault {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.invalid(format!("is {found}, not {wanted}"))
    }

    fn child(&self, name: &str, value: &'a Value) -> Node<'a> {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Node { value, path, origin: self.origin }
    }

    /// The field `name`; `null` counts as absent, as the older publishers write it.
    pub(super) fn get(&self, name: &str) -> Result<Option<Node<'a>>> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        Ok(object.get(name).filter(|value| !value.is_null()).map(|value| self.child(name, value)))
    }

    /// The field `name`, which must be there.
    pub(super) fn need(&self, name: &str) -> Result<Node<'a>> {
        let missing = || match self.path.as_str() {
            "" => format!("the field '{name}' is missing"),
            path => format!("{path}: the field '{name}' is missing"),
        };
        self.get(name)?.ok_or_else(|| Fault::new(Code::ManifestInvalid, self.origin, missing()))
    }

    /// Every field, by name.
    pub(super) fn fields(&self) -> Result<Vec<(&'a str, Node<'a>)>> {
        let object = self.value.as_object().ok_or_else(|| self.wrong("an object"))?;
        let present = object.iter().filter(|(_, value)| !value.is_null());
        Ok(present.map(|(name, value)| (name.as_str(), self.child(name, value))).collect())
    }

    /// Every element.
    pub(super) fn elements(&self) -> Result<Vec<Node<'a>>> {
        let list = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let element =
            |(index, value)| Node { value, path: format!("{}[{index}]", self.path), origin: self.origin };
        Ok(list.iter().enumerate().map(element).collect())
    }

    /// A text.
    pub(super) fn text(&self) -> Result<&'a str> {
        self.value.as_str().ok_or_else(|| self.wrong("a text"))
    }

    /// A whole number, 0 or more.
    pub(super) fn number(&self) -> Result<u64> {
        self.value.as_u64().ok_or_else(|| self.wrong("a whole number that is 0 or more"))
    }

    /// True or false.
    pub(super) fn boolean(&self) -> Result<bool> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }
}
