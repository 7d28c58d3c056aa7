//! How one piece of a stack's data is backed up: `[backup.data.NAME]` in `release.toml` and `client.toml`.

use glob::Pattern;
use serde::{Deserialize, Serialize};

/// How a volume or a persist path is backed up. An unknown key is an error everywhere, in a published release, too: data
/// would be backed up in another way than its publisher meant.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPolicy {
    /// How it is made consistent.
    pub way: Way,
    /// The service that `dump` and `restore` run in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The command, as an argv array, whose standard output is what is kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dump: Vec<String>,
    /// The command, as an argv array, that takes it on its standard input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restore: Vec<String>,
    /// Globs of paths inside the data; where given, only files they match, or that lie below what they match, are kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs of paths inside the data that are left out, folders with all that is in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// How data is made consistent while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Copied while its services run; these are then paused for the moment in which what changed since is copied.
    #[default]
    Warm,
    /// As [`Way::Warm`], but its services are stopped for that moment and started again.
    Stop,
    /// Copied while its services run, without a pause; SQLite databases by SQLite's online backup.
    Sqlite,
    /// What a command in a service writes is kept in place of the files.
    Hook,
}

impl DataPolicy {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let commands = [self.service.is_some(), !self.dump.is_empty(), !self.restore.is_empty()];
        let patterns = !self.include.is_empty() || !self.exclude.is_empty();
        match self.way {
            Way::Hook if commands.contains(&false) => {
                return Err("way = \"hook\" needs service, dump and restore".into());
            }
            Way::Hook if patterns => {
                return Err(
                    "way = \"hook\" keeps what the command writes; include and exclude are for files".into(),
                );
            }
            Way::Warm | Way::Stop | Way::Sqlite if commands.contains(&true) => {
                return Err("service, dump and restore are for way = \"hook\"".into());
            }
            _ => {}
        }
        for text in self.include.iter().chain(&self.exclude) {
            if text.is_empty() || text.starts_with('/') || text.split('/').any(|part| part == "..") {
                return Err(format!("{text:?} is not a path inside the data"));
            }
            Pattern::new(text).map_err(|error| format!("{text:?}: {error}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DataPolicy, String> {
        let policy: DataPolicy = toml::from_str(text).map_err(|error| error.to_string())?;
        policy.check().map(|()| policy)
    }

    #[test]
    fn what_is_not_said_is_warm_and_whole() {
        assert_eq!(read("").unwrap(), DataPolicy::default());
        let hook = read("way = 'hook'\nservice = 'db'\ndump = ['pg_dump']\nrestore = ['psql']").unwrap();
        assert_eq!((hook.way, hook.dump), (Way::Hook, vec!["pg_dump".to_owned()]));
        assert_eq!(read("way = 'stop'\nexclude = ['cache/**', '*.tmp']").unwrap().exclude.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, named) in [
            ("way = 'cold'", "cold"),
            ("ways = 'stop'", "ways"),
            ("way = 'hook'\nservice = 'db'\ndump = ['x']", "restore"),
            ("way = 'hook'\nservice = 'db'\ndump = ['x']\nrestore = ['y']\nexclude = ['z']", "files"),
            ("dump = ['x']", "hook"),
            ("exclude = ['../x']", "../x"),
            ("include = ['/etc']", "/etc"),
            ("exclude = ['a[']", "a["),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
