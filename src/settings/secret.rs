//! Texts that only the operator and one server may know.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault, IoContext, Result};

/// A secret as it stands in `client.toml` or in a file of its own. It is never shown: not by `Debug`, and not by the error
/// of a value that is none.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// For the one it is meant for.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads the file at `path`, which holds it and nothing else; a line break at its end is not part of it.
    pub fn read(path: &Path) -> Result<Self> {
        require_private(path)?;
        let text = std::fs::read_to_string(path).at(path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Fault::new(Code::ConfigInvalid, path.display(), "it is not one line of text"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        /// Whatever else it is is an error that does not repeat it.
        macro_rules! refuse {
            ($($method:ident $kind:ty),*) => {
                $(fn $method<E: de::Error>(self, _: $kind) -> Result<Secret, E> {
                    Err(E::custom("the value is no text in quotes"))
                })*
            };
        }

        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text in quotes")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(text.to_owned()))
            }

            refuse!(visit_i64 i64, visit_u64 u64, visit_f64 f64, visit_bool bool);
        }

        deserializer.deserialize_any(Text)
    }
}

/// Refuses a file with secrets that others than its owner can read.
pub fn require_private(path: &Path) -> Result<()> {
    let mode = std::fs::metadata(path).at(path)?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Fault::new(Code::SecretExposed, path.display(), format!("its mode is {mode:04o}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_holds_one_secret() {
        for (content, secret) in
            [("s3cret", Some("s3cret")), ("s3cret\n", Some("s3cret")), ("a b\r\n", Some("a b"))]
        {
            let (_folder, path) = file(content, 0o600);
            assert_eq!(Secret::read(&path).ok().as_ref().map(Secret::expose), secret);
        }
        for wrong in ["", "\n", "s3cret\nmore", "s3\0cret"] {
            let (_folder, path) = file(wrong, 0o400);
            let fault = Secret::read(&path).unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid);
            assert!(!fault.to_string().contains("cret"), "{fault}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for mode in [0o640, 0o604, 0o644, 0o660] {
            let (_folder, path) = file("s3cret", mode);
            let fault = Secret::read(&path).unwrap_err();
            assert_eq!(fault.code(), Code::SecretExposed);
            assert!(fault.to_string().contains(&format!("{mode:04o}")), "{fault}");
            let help = fault.help(crate::messages::Lang::En);
            assert!(help.contains("chmod 600") && help.contains("token"), "{help}");
        }
    }

    #[test]
    fn it_is_never_shown() {
        assert_eq!(format!("{:?}", Secret::from("s3cret")), "(secret)");
        for value in ["7734", "1.7734", "[ 7734 ]", "{ a = 7734 }", "true", "1979-05-27"] {
            let error = toml::from_str::<std::collections::BTreeMap<String, Secret>>(&format!("x = {value}"));
            let message = error.unwrap_err().message().to_owned();
            assert!(!message.contains("7734") && !message.contains("1979"), "{message}");
        }
    }
}
