//! `client.toml`: what the operator of an installation can set.

mod copy;
mod data;
mod download;
mod network;
mod piece;
mod secret;
mod size;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault, IoContext, Result};
pub use copy::{CopySettings, CopyTarget, Credentials};
pub use data::{DataPolicy, Way};
pub use download::{DownloadSettings, LimitWindow, MAX_CONNECTIONS, TimeOfDay};
pub use network::{DIRECT, HostCredentials, NetworkSettings};
pub use piece::Piece;
pub use secret::{Secret, require_private};
pub use size::Size;

/// The settings of an installation. A missing file is all defaults; an unknown key is an error, because a
/// misspelt setting that is silently ignored is worse.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The Compose project.
    pub project: String,
    /// Where releases come from: an `http(s)://` address or a folder.
    pub source: String,
    /// Accept a source whose metadata gives no hash.
    pub insecure: bool,
    /// Paths that outlive releases, added to those of the release.
    pub persist: Vec<String>,
    /// Backups.
    pub backup: BackupSettings,
    /// Retention.
    pub keep: KeepSettings,
    /// Downloads.
    pub download: DownloadSettings,
    /// Reports.
    pub report: ReportSettings,
    /// Proxies, certificates, credentials.
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkSettings,
}

fn is_default(network: &NetworkSettings) -> bool {
    *network == NetworkSettings::default()
}

/// `[backup]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSettings {
    /// Make one before every upgrade.
    pub before_upgrade: bool,
    /// What archives are.
    pub format: ArchiveFormat,
    /// How hard to compress, in the range of [`ArchiveFormat::levels`]; none: [`ArchiveFormat::default_level`].
    pub level: Option<u32>,
    /// Threads that compress, at most [`MAX_THREADS`]; 0: one per processor.
    pub threads: usize,
    /// Pre-upgrade backups kept.
    pub keep: usize,
    /// What is kept of the others.
    pub retention: RetentionSettings,
    /// Named volumes (Compose keys) or persist paths that are left out; see [`Piece`] for what a name means.
    pub exclude: Vec<String>,
    /// Where whole backups are copied to.
    pub copy: CopySettings,
    /// How single volumes or persist paths are backed up; what is said here takes the place of what the release says.
    pub data: BTreeMap<String, DataPolicy>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self {
            before_upgrade: true,
            format: ArchiveFormat::TarGz,
            level: None,
            threads: 0,
            keep: 3,
            retention: RetentionSettings::default(),
            exclude: Vec::new(),
            copy: CopySettings::default(),
            data: BTreeMap::new(),
        }
    }
}

/// `[backup.retention]`: backups that a person or the timer made. All of them are kept where none of the counts is set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// The newest ones.
    pub last: usize,
    /// The newest of each of so many days (UTC) that have any.
    pub daily: usize,
    /// The same of weeks, which begin on Monday.
    pub weekly: usize,
    /// The same of months.
    pub monthly: usize,
    /// Bytes that all archives may take; beyond that the oldest go, but never what a rollback needs nor the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl RetentionSettings {
    /// Whether no count is set.
    pub fn is_unlimited(&self) -> bool {
        [self.last, self.daily, self.weekly, self.monthly] == [0; 4]
    }
}

/// Threads that compress a backup at most; more would need more memory than a small device can spare.
pub const MAX_THREADS: usize = 16;

/// What a backup's archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ArchiveFormat {
    /// tar in gzip: every system unpacks it.
    #[default]
    #[serde(rename = "tar.gz")]
    TarGz,
    /// tar in zstd: smaller and several times faster, where `zstd` is at hand to unpack it without this program.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl ArchiveFormat {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::TarGz, Self::TarZst];

    /// What the names of such files end with.
    pub fn ending(self) -> &'static str {
        match self {
            Self::TarGz => ".tar.gz",
            Self::TarZst => ".tar.zst",
        }
    }

    /// The levels that `backup.level` can name. gzip's 0 only stores; above 9 it searches much longer for little.
    pub fn levels(self) -> RangeInclusive<u32> {
        match self {
            Self::TarGz => 0..=12,
            Self::TarZst => 1..=19,
        }
    }

    /// The level where none is set.
    pub fn default_level(self) -> u32 {
        match self {
            Self::TarGz => 6,
            Self::TarZst => 3,
        }
    }
}

impl BackupSettings {
    /// What is wrong with the numbers, naming the key and its range.
    fn check(&self) -> std::result::Result<(), String> {
        let levels = self.format.levels();
        if self.level.is_some_and(|level| !levels.contains(&level)) {
            let format = self.format.ending().trim_start_matches('.');
            return Err(format!("backup.level is {} to {} for {format}", levels.start(), levels.end()));
        }
        if self.threads > MAX_THREADS {
            return Err(format!("backup.threads is 0 to {MAX_THREADS}"));
        }
        self.copy.check()?;
        for (name, policy) in &self.data {
            policy.check().map_err(|cause| format!("backup.data.{name}: {cause}"))?;
            if name.starts_with('/') {
                self.check_host_path(name, policy)
                    .map_err(|cause| format!("backup.data.\"{name}\": {cause}"))?;
            }
        }
        Ok(())
    }

    /// A path of the host that is to be backed up: it names itself in one way only, and is no part of another one.
    fn check_host_path(&self, name: &str, policy: &DataPolicy) -> std::result::Result<(), String> {
        let path = Path::new(name);
        let clean: PathBuf = path.components().collect();
        let goes_up = path.components().any(|part| part == std::path::Component::ParentDir);
        if clean.as_os_str() != name || goes_up || path.parent().is_none() {
            return Err("it has to be an absolute path without '.', '..' and a '/' at its end".into());
        }
        if policy.way == Way::Hook {
            return Err("way = \"hook\" is for volumes and persist paths".into());
        }
        let outer = self.data.keys().find(|other| *other != name && path.starts_with(other));
        outer.map_or(Ok(()), |outer| Err(format!("it is in {outer}, which is named, too")))
    }
}

/// `[keep]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepSettings {
    /// Releases kept besides current, previous and factory.
    pub releases: usize,
}

/// `[report]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportSettings {
    /// Where the outcome of every change goes, as JSON by POST; empty: nowhere.
    pub url: String,
    /// A file whose text is sent as bearer token; relative to the install root.
    pub token_file: Option<PathBuf>,
    /// Seconds one delivery may take.
    pub timeout_s: u64,
}

impl Default for ReportSettings {
    fn default() -> Self {
        Self { url: String::new(), token_file: None, timeout_s: 10 }
    }
}

impl Settings {
    /// Reads the file at `path`.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).at(path)?;
        let wrong = |cause: String| Fault::new(Code::ConfigInvalid, path.display(), cause);
        let settings: Self = toml::from_str(&text).map_err(|error| wrong(mistake(&text, &error)))?;
        settings.backup.check().map_err(wrong)?;
        settings.download.check().map_err(wrong)?;
        settings.network.check().map_err(wrong)?;
        if settings.network.has_secrets() {
            require_private(path)?;
        }
        let web = |url: url::Url| matches!(url.scheme(), "http" | "https");
        if !settings.report.url.is_empty() && !settings.report.url.parse().is_ok_and(web) {
            // It may hold credentials, so it is not repeated.
            return Err(wrong("report.url is no http:// or https:// address".into()));
        }
        Ok(settings)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are always valid TOML")
    }
}

/// What is wrong with the file, by line. The parser's own words would show the line itself, and with it a password.
fn mistake(text: &str, error: &toml::de::Error) -> String {
    let mut message = error.message().to_owned();
    // "invalid type: string \"secret\", expected a sequence"
    for head in ["invalid type: ", "invalid value: "] {
        let expected = message.rfind(", expected ").filter(|_| message.starts_with(head));
        if let Some(expected) = expected {
            let kind = message[head.len()..expected].split([' ', '`']).next().unwrap_or_default().to_owned();
            message = format!("{head}{kind}{}", &message[expected..]);
        }
    }
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default();
    let plain = |key: &str| key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let key = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| !key.is_empty() && plain(key));
    let key = key.map(|key| format!(" ({key})")).unwrap_or_default();
    format!("line {}{key}: {message}", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        std::fs::write(&path, "project = 'x'\n[backup]\nlevle = 3\n").unwrap();
        let error = Settings::load(&path).unwrap_err();
        assert_eq!(error.code(), Code::ConfigInvalid);
        assert!(error.to_string().contains("levle"), "{error}");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        let settings = Settings { project: "x".into(), persist: vec!["etc".into()], ..Settings::default() };
        std::fs::write(&path, settings.to_toml()).unwrap();
        assert_eq!(Settings::load(&path).unwrap(), settings);
    }

    #[test]
    fn connections_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        let load = |text: &str| {
            std::fs::write(&path, format!("[download]\n{text}\n")).unwrap();
            Settings::load(&path).map(|settings| settings.download.connections)
        };
        assert_eq!(load("attempts = 5").unwrap(), 16, "as it was written before there was such a key");
        assert_eq!((load("connections = 1").unwrap(), load("connections = 16").unwrap()), (1, 16));
        for wrong in ["connections = 0", "connections = 17"] {
            let error = load(wrong).unwrap_err();
            assert_eq!(error.code(), Code::ConfigInvalid);
            assert!(error.to_string().contains("download.connections is 1 to 16"), "{error}");
        }
    }

    #[test]
    fn how_backups_are_packed_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        let load = |text: &str| {
            std::fs::write(&path, format!("[backup]\n{text}\n")).unwrap();
            Settings::load(&path).map(|settings| settings.backup)
        };
        // As releases before `format` wrote it.
        let old = load("level = 6").unwrap();
        assert_eq!((old.format, old.level, old.threads), (ArchiveFormat::TarGz, Some(6), 0));
        let all = load("format = 'tar.zst'\nlevel = 19\nthreads = 16").unwrap();
        assert_eq!((all.format, all.level, all.threads), (ArchiveFormat::TarZst, Some(19), 16));
        for (wrong, named) in [
            ("level = 13", "backup.level is 0 to 12 for tar.gz"),
            ("format = 'tar.zst'\nlevel = 0", "backup.level is 1 to 19 for tar.zst"),
            ("format = 'tar.zst'\nlevel = 20", "backup.level is 1 to 19 for tar.zst"),
            ("threads = 17", "backup.threads is 0 to 16"),
            ("format = 'zip'", "expected `tar.gz` or `tar.zst`"),
            ("level = -1", "level"),
        ] {
            let error = load(wrong).unwrap_err();
            assert_eq!(error.code(), Code::ConfigInvalid, "{wrong}");
            assert!(error.to_string().contains(named), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_file_with_secrets_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        let load = |text: &str, mode: u32| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Settings::load(&path)
        };
        let open = "[[network.credentials]]\nhost = 'x'\ntoken_file = 'token'";
        let secret = "[[network.credentials]]\nhost = 'x'\ntoken = 's3cret'";
        assert!(load(open, 0o644).is_ok());
        let settings = load(secret, 0o600).unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
        assert!(settings.to_toml().contains("s3cret"), "what is written is what was read");
        for mode in [0o640, 0o644] {
            let fault = load(secret, mode).unwrap_err();
            assert_eq!(fault.code(), Code::SecretExposed);
            assert!(fault.help(crate::messages::Lang::En).contains("chmod 600"), "{fault}");
        }
    }

    #[test]
    fn a_mistake_is_told_without_what_stands_in_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        for (text, named) in [
            ("project = 'x'\nsource = https://me:s3cret@h\n", "line 2"),
            ("[[network.credentials]]\nhost = 'x'\ntoken = s3cret\n", "line 3"),
            ("[[network.credentials]]\nhost = 'x'\ntokn = 's3cret'\n", "tokn"),
            ("[[network.credentials]]\nhost = 'x'\ntoken = 73313370\n", "line 3"),
            ("[network]\ncredentials = 's3cret'\n", "line 2 (credentials): invalid type: string, expected"),
            ("[network.credentials]\ntoken = 's3cret'\n", "invalid type: map, expected"),
            ("[network]\nca_file = 73313370\n", "invalid type: integer, expected"),
            ("[network]\nproxy = 's3cret\n", "line 2"),
            ("download = 's3cret'\n", "invalid type: string, expected"),
        ] {
            std::fs::write(&path, text).unwrap();
            let fault = Settings::load(&path).unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid);
            let told = format!("{fault} {fault:?}");
            assert!(told.contains(named), "{text}: {told}");
            assert!(!told.contains("s3cret") && !told.contains("73313370"), "{text}: {told}");
        }
    }
}
