//! `client.toml`: what the operator of an installation can set.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault, IoContext, Result};

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
}

/// `[backup]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupSettings {
    /// Make one before every upgrade.
    pub before_upgrade: bool,
    /// gzip level, 0 (stored) to 9.
    pub level: u32,
    /// Pre-upgrade backups kept.
    pub keep: usize,
    /// Named volumes (Compose keys) or persist paths that are left out.
    pub exclude: Vec<String>,
}

impl Default for BackupSettings {
    fn default() -> Self {
        Self { before_upgrade: true, level: 6, keep: 3, exclude: Vec::new() }
    }
}

/// `[keep]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepSettings {
    /// Releases kept besides current, previous and factory.
    pub releases: usize,
}

/// `[download]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadSettings {
    /// Attempts in all before the download fails.
    pub attempts: u32,
    /// Seconds a connection may take.
    pub connect_timeout_s: u64,
    /// Seconds without a byte before a connection counts as stalled.
    pub stall_timeout_s: u64,
}

impl Default for DownloadSettings {
    fn default() -> Self {
        Self { attempts: 5, connect_timeout_s: 10, stall_timeout_s: 30 }
    }
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
        let settings: Self =
            toml::from_str(&text).map_err(|error| Fault::new(Code::ConfigInvalid, path.display(), error))?;
        if settings.backup.level > 9 {
            return Err(Fault::new(Code::ConfigInvalid, path.display(), "backup.level is 0 to 9"));
        }
        if settings.download.attempts == 0 {
            return Err(Fault::new(Code::ConfigInvalid, path.display(), "download.attempts is at least 1"));
        }
        let web = |url: url::Url| matches!(url.scheme(), "http" | "https");
        if !settings.report.url.is_empty() && !settings.report.url.parse().is_ok_and(web) {
            // It may hold credentials, so it is not repeated.
            let cause = "report.url is no http:// or https:// address";
            return Err(Fault::new(Code::ConfigInvalid, path.display(), cause));
        }
        Ok(settings)
    }

    /// The file's text.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("settings are always valid TOML")
    }
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
}
