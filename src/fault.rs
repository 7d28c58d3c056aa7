//! The one error type that crosses module borders: what failed, on which object, why, and what to do.
//!
//! A [`Fault`] is a [`Code`] with the object it happened to and the technical detail. The code decides the
//! words (English and simplified Chinese, see `fault/catalogue.rs`), the advice and the [`Class`], from which
//! `cli::exit` alone derives the process's exit code.

mod catalogue;

use std::error::Error as StdError;
use std::fmt;

pub use catalogue::{Class, Code};

use crate::messages::{Lang, causes};

/// `Result` with a [`Fault`].
pub type Result<T, E = Fault> = std::result::Result<T, E>;

/// An error a person can act on.
///
/// `object` is the thing by its name (a path, URL, service, image, version); `detail` is the cause in
/// technical words, possibly empty. Both appear in the message; the advice comes from the code.
#[derive(Debug, thiserror::Error)]
pub struct Fault {
    code: Code,
    object: String,
    detail: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Fault {
    /// A fault on `object` caused by what `detail` says.
    pub fn new(code: Code, object: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self { code, object: object.to_string(), detail: detail.to_string(), source: None }
    }

    /// A fault caused by another error, whose text becomes the detail.
    pub fn from_error(
        code: Code,
        object: impl fmt::Display,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        let detail = chain(&source);
        Self { code, object: object.to_string(), detail, source: Some(Box::new(source)) }
    }

    /// A file-system error on `path`: full and read-only disks get codes of their own.
    pub fn io(path: impl AsRef<std::path::Path>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let code = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Code::DiskFull,
            ErrorKind::ReadOnlyFilesystem => Code::DiskReadOnly,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::Io,
        };
        Self::from_error(code, path.as_ref().display(), source)
    }

    /// What kind of failure this is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The thing that failed, by name.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The technical cause; may be empty.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The sentence for a person: object and cause.
    pub fn message(&self, lang: Lang) -> String {
        let head = self.code.text(lang).replace("{object}", &self.object);
        match (self.detail.is_empty(), lang) {
            (true, _) => head,
            (false, Lang::En) => format!("{head}: {}", self.detail),
            (false, Lang::Zh) => format!("{head}：{}", causes::in_chinese(&self.detail)),
        }
    }

    /// The next action for a person.
    pub fn help(&self, lang: Lang) -> String {
        self.code.help(lang).replace("{object}", &self.object)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(Lang::En))
    }
}

/// The texts of an error and its causes, outermost first, without repetition.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Turns I/O results into faults that name the path.
pub trait IoContext<T> {
    /// Names the path the operation was on.
    fn at(self, path: impl AsRef<std::path::Path>) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, path: impl AsRef<std::path::Path>) -> Result<T> {
        self.map_err(|source| Fault::io(path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_names_the_object_and_advises_in_both_languages() {
        for code in Code::ALL {
            let fault = Fault::new(*code, "the-object", "the cause");
            for lang in [Lang::En, Lang::Zh] {
                let message = fault.message(lang);
                assert!(message.contains("the-object"), "{code:?} in {lang:?}: {message}");
                assert!(message.contains("the cause"), "{code:?} in {lang:?}: {message}");
                assert!(!fault.help(lang).is_empty(), "{code:?} has no advice in {lang:?}");
            }
        }
    }

    #[test]
    fn code_names_are_unique_and_screaming() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        let before = names.len();
        names.dedup();
        assert_eq!(before, names.len());
        assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_uppercase() || c == '_')));
    }

    #[test]
    fn a_full_disk_has_its_own_code() {
        let fault = Fault::io("/x", std::io::Error::from_raw_os_error(28));
        assert_eq!(fault.code(), Code::DiskFull);
    }
}
