//! A resolved stack: what `docker compose config` gave, as data.

mod changes;
mod duration;
mod order;
mod publish;
mod service;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};

pub use self::changes::{network_changes, volume_changes};
pub use self::service::{Service, ServiceMount, SingleReason};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};

/// The resolved stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    document: Value,
}

/// A volume or network of the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The key in the Compose file.
    pub key: String,
    /// Its name in the engine.
    pub name: String,
    /// Managed by somebody else.
    pub external: bool,
    /// The definition, without the name.
    pub definition: BTreeMap<String, Value>,
}

impl Model {
    /// From the JSON of `docker compose config`; `name` is the object named in errors.
    pub fn from_json(json: &[u8], name: &str) -> Result<Self> {
        let document: Value = serde_json::from_slice(json)
            .map_err(|error| Fault::from_error(Code::ComposeInvalid, name, error))?;
        if document.get("services").and_then(Value::as_object).is_none_or(Map::is_empty) {
            return Err(Fault::new(Code::ComposeInvalid, name, "it has no services"));
        }
        Ok(Self { document })
    }

    /// From a file written by [`Model::to_file`].
    pub fn from_file(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).at(path)?;
        Self::from_json(&json, &path.display().to_string())
    }

    /// Writes it as JSON, wholly or not at all. Only the owner may read it: it holds resolved variables, often
    /// passwords.
    pub fn to_file(&self, path: &Path) -> Result<()> {
        let next = path.with_extension("json.next");
        durable::write_private(&next, format!("{:#}\n", self.document).as_bytes())?;
        durable::rename(&next, path)
    }

    /// The document itself.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The services, each after those it depends on.
    pub fn services(&self) -> Vec<Service> {
        let once = service::awaited_to_complete(self.section("services"));
        let services = self.section("services").map(|(name, value)| Service::read(name, value, &once, self));
        order::by_dependency(services.collect())
    }

    /// One service.
    pub fn service(&self, name: &str) -> Option<Service> {
        let once = service::awaited_to_complete(self.section("services"));
        let value = self.document.get("services")?.get(name)?;
        Some(Service::read(name, value, &once, self))
    }

    /// The profiles its services belong to.
    pub(super) fn profiles(&self) -> Vec<String> {
        let lists = self.section("services").filter_map(|(_, service)| service.get("profiles")?.as_array());
        let names = lists.flatten().filter_map(Value::as_str).map(str::to_owned);
        names.collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// This model and, out of `other`, the services `names` with all they depend on and whatever they use. What this
    /// model has stays as it is.
    pub fn with_services_of(&self, other: &Model, names: &BTreeSet<String>) -> Self {
        let (mut wanted, mut open) = (BTreeSet::new(), names.iter().cloned().collect::<Vec<_>>());
        while let Some(name) = open.pop() {
            if let Some(service) = other.service(&name).filter(|_| wanted.insert(name.clone())) {
                open.extend(service.depends_on);
            }
        }
        let mut model = self.clone();
        for (section, entries) in other.document.as_object().into_iter().flatten() {
            let Some(entries) = entries.as_object() else { continue };
            for (name, value) in
                entries.iter().filter(|(name, _)| section != "services" || wanted.contains(*name))
            {
                let document = model.document.as_object_mut().into_iter();
                let own =
                    document.map(|document| document.entry(section).or_insert_with(|| Map::new().into()));
                for own in own.filter_map(Value::as_object_mut) {
                    own.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        model
    }

    /// The model with namespaces shared with a service turned into ones shared with its container, as Compose
    /// itself resolves them before it computes a config hash. `ties` maps services to container IDs.
    pub(super) fn tied(&self, ties: &BTreeMap<String, String>) -> Self {
        let mut model = self.clone();
        let services = model.document.get_mut("services").and_then(Value::as_object_mut);
        for service in services.into_iter().flat_map(Map::values_mut) {
            for key in ["network_mode", "pid", "ipc"] {
                let Some(Value::String(mode)) = service.get_mut(key) else { continue };
                if let Some(id) = mode.strip_prefix("service:").and_then(|name| ties.get(name)) {
                    *mode = format!("container:{id}");
                }
            }
        }
        model
    }

    /// What Compose writes into a container's label about the services its own depends on.
    pub(super) fn depends_on_label(&self, service: &str) -> String {
        let service = self.document.get("services").and_then(|services| services.get(service));
        let depends_on = service.and_then(|service| service.get("depends_on")?.as_object());
        let entry = |(name, how): (&String, &Value)| {
            let condition = how.get("condition").and_then(Value::as_str).unwrap_or("service_started");
            let restart = how.get("restart").and_then(Value::as_bool).unwrap_or(false);
            format!("{name}:{condition}:{restart}")
        };
        depends_on.into_iter().flatten().map(entry).collect::<Vec<_>>().join(",")
    }

    /// The volumes.
    pub fn volumes(&self) -> Vec<Resource> {
        self.section("volumes").map(|(key, value)| self.resource(key, value)).collect()
    }

    /// The networks.
    pub fn networks(&self) -> Vec<Resource> {
        self.section("networks").map(|(key, value)| self.resource(key, value)).collect()
    }

    /// Makes paths into `from` paths into `to`.
    pub(super) fn publish(&mut self, from: &Path, to: &Path) {
        publish::rewrite(&mut self.document, from, to);
    }

    /// The file behind an entry of `configs` or `secrets`.
    fn file_of(&self, section: &str, key: &str) -> Option<&str> {
        self.document.get(section)?.get(key)?.get("file")?.as_str()
    }

    fn section(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let entries = self.document.get(name).and_then(Value::as_object);
        entries.into_iter().flatten().map(|(key, value)| (key.as_str(), value))
    }

    fn resource(&self, key: &str, value: &Value) -> Resource {
        let project = self.document.get("name").and_then(Value::as_str).unwrap_or_default();
        let own = value.get("name").and_then(Value::as_str).map(str::to_owned);
        let mut definition: BTreeMap<String, Value> = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        definition.remove("name");
        Resource {
            key: key.to_owned(),
            name: own.unwrap_or_else(|| format!("{project}_{key}")),
            external: value.get("external").and_then(Value::as_bool).unwrap_or(false),
            definition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_stack_is_refused() {
        for json in ["", "[]", "{}", r#"{"services":{}}"#, r#"{"services":[]}"#] {
            let fault = Model::from_json(json.as_bytes(), "stack").unwrap_err();
            assert_eq!(fault.code(), Code::ComposeInvalid, "{json}");
        }
    }

    #[test]
    fn a_model_survives_the_disk_and_stays_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.json");
        let model = Model::from_json(br#"{"name":"x","services":{"b":{},"a":{}}}"#, "stack").unwrap();
        model.to_file(&path).unwrap();
        assert_eq!(Model::from_file(&path).unwrap(), model);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn ties_point_to_containers() {
        let json = br#"{"services":{"a":{"network_mode":"service:db","pid":"host","ipc":"service:x"}}}"#;
        let model = Model::from_json(json, "stack").unwrap();
        let tied = model.tied(&BTreeMap::from([("db".to_owned(), "1f".to_owned())]));
        let expected = serde_json::json!({"network_mode":"container:1f","pid":"host","ipc":"service:x"});
        assert_eq!(tied.document()["services"]["a"], expected);
    }

    #[test]
    fn services_behind_a_profile_come_in_with_what_they_need_and_nothing_else_does() {
        let model = |json: &str| Model::from_json(json.as_bytes(), "stack").unwrap();
        let active = model(r#"{"name":"x","services":{"web":{"image":"1"}},"networks":{"default":{}}}"#);
        let every = model(
            r#"{"name":"x","services":{"web":{"image":"2"},"debug":{"profiles":["d"],"depends_on":{"tool":{}}},
                "tool":{"profiles":["t"]},"other":{"profiles":["o"]}},"volumes":{"logs":{}}}"#,
        );
        let names = BTreeSet::from(["debug".to_owned()]);
        let both = active.with_services_of(&every, &names);
        let services = both.document()["services"].as_object().unwrap();
        assert_eq!(services.keys().collect::<Vec<_>>(), ["web", "debug", "tool"]);
        assert_eq!(services["web"]["image"], "1");
        assert!(both.document()["volumes"]["logs"].is_object());
        assert_eq!(both.profiles(), ["d", "t"]);
        assert!(active.profiles().is_empty());
    }

    #[test]
    fn resources_have_their_real_names() {
        let json = br#"{"name":"x","services":{"a":{}},
            "volumes":{"data":{"name":"x_data","driver":"local"},"ext":{"name":"theirs","external":true}},
            "networks":{"default":{"name":"x_default","ipam":{}},"bare":null}}"#;
        let model = Model::from_json(json, "stack").unwrap();
        let names = |list: Vec<Resource>| list.into_iter().map(|r| (r.name, r.external)).collect::<Vec<_>>();
        assert_eq!(names(model.volumes()), [("x_data".into(), false), ("theirs".into(), true)]);
        assert_eq!(names(model.networks()), [("x_default".into(), false), ("x_bare".into(), false)]);
    }
}
