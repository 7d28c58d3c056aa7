//! `release.json`: what a release consists of and how it wants to be treated.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Digest, Version};
use crate::fault::{Code, Fault, Result};
use crate::settings::DataPolicy;

/// Paths an operator owns when neither the release nor the settings say otherwise.
pub const DEFAULT_PERSIST: [&str; 4] = ["data", "upload", "logs", ".env"];

/// The content of `release.json`. Unknown fields are accepted and ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseInfo {
    /// Always 1.
    pub schema: u32,
    /// The product's name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The architecture of its images, in OCI terms (`amd64`, `arm64`), or `any` without images.
    pub arch: String,
    /// The Compose files, relative to the stack folder, in the order Compose merges them.
    pub compose: Vec<String>,
    /// Paths in the stack folder that outlive releases and belong to the operator.
    pub persist: Vec<String>,
    /// Files of the release the operator may edit; edits are carried over (three-way).
    #[serde(default)]
    pub config: Vec<String>,
    /// The images its services run.
    pub images: Vec<ImageInfo>,
    /// How it is verified.
    #[serde(default)]
    pub health: HealthPolicy,
    /// How its data is backed up.
    #[serde(default)]
    pub backup: BackupPolicy,
    /// Reserved; must be empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, serde_json::Value>,
    /// What single services need.
    #[serde(default)]
    pub services: BTreeMap<String, ServicePolicy>,
    /// Every file of the stack folder.
    pub files: Vec<FileInfo>,
    /// Whether starting this release changes data in a way the version before cannot read; then undoing an
    /// upgrade to it also restores the data.
    #[serde(default)]
    pub migrates_data: bool,
    /// What it needs of the machine and of the version before.
    #[serde(default)]
    pub requires: Requires,
}

/// An image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// The reference the Compose files use (`guestbook-api:1.1.0`).
    #[serde(rename = "ref")]
    pub reference: String,
    /// The config digest: what identifies the image everywhere.
    pub id: Digest,
    /// The digest of the image manifest in the bundle; the image's ID in the containerd image store.
    pub digest: Digest,
    /// Its layers, base first.
    pub layers: Vec<LayerInfo>,
}

/// A layer of an image, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The digest of the uncompressed layer.
    pub diff_id: Digest,
    /// The digest of its blob in the bundle; the same as `diff_id`.
    pub digest: Digest,
    /// Bytes, uncompressed.
    pub size: u64,
}

/// A file or symbolic link of the stack folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Relative to the stack folder, `/` between parts.
    pub path: String,
    /// Of the content; of the target's text for a link.
    pub hash: Digest,
    /// Unix permission bits.
    pub mode: u32,
    /// The target, for a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// How a release is verified before it is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthPolicy {
    /// A service must be ready within this many milliseconds of its start.
    pub timeout_ms: u64,
    /// A service without a healthcheck must run this many milliseconds without ending or restarting.
    pub stability_ms: u64,
    /// How long the release is on probation after its commit, in milliseconds; 0: not at all; [`SOAK`] where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak_ms: Option<u64>,
    /// Checks from outside the containers.
    pub probes: Vec<Probe>,
}

impl Default for HealthPolicy {
    fn default() -> Self {
        Self { timeout_ms: 30_000, stability_ms: 10_000, soak_ms: None, probes: Vec::new() }
    }
}

/// The probation of a release that does not say how long it is to be.
pub const SOAK: Duration = Duration::from_secs(600);

impl HealthPolicy {
    /// How long the release is on probation after its commit.
    pub fn soak(&self) -> Duration {
        self.soak_ms.map_or(SOAK, Duration::from_millis)
    }

    /// `timeout_ms` as a duration.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// `stability_ms` as a duration.
    pub fn stability(&self) -> Duration {
        Duration::from_millis(self.stability_ms)
    }
}

/// A check from outside: exactly one of `http`, `tcp`, `command` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// For messages.
    pub name: String,
    /// An address that must answer with a 2xx status (or `expect_status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The status `http` must answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_status: Option<u16>,
    /// `host:port` that must accept a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// A command, as an argv array, that must exit 0 inside the container of `service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The service `command` runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Must pass within this many milliseconds.
    #[serde(default = "default_probe_timeout")]
    pub timeout_ms: u64,
}

fn default_probe_timeout() -> u64 {
    30_000
}

/// How the data is backed up before a swap.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BackupPolicy {
    /// Named volumes (Compose keys) or persist paths that are left out.
    pub exclude: Vec<String>,
    /// How single volumes or persist paths are backed up.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, DataPolicy>,
}

/// What a single service needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ServicePolicy {
    /// How it is swapped; decided from the Compose model where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapMethod>,
    /// Overrides `health.timeout_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Overrides `health.stability_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability_ms: Option<u64>,
    /// The service runs once and must exit 0.
    pub one_shot: bool,
}

/// How a service's container is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapMethod {
    /// The new container is created beside the old one, then stop old, start new.
    Beside,
    /// Compose's own recreate: for services that cannot exist twice.
    Recreate,
}

/// What a release needs of the machine and of the version before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requires {
    /// Installed versions it can be installed over, as a semver requirement on the base.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// No upgrade may skip it.
    pub floor: bool,
    /// The lowest engine API version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine_api: Option<String>,
    /// Free disk space it needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
}

impl ReleaseInfo {
    /// Reads `release.json`; `name` is the object named in errors.
    pub fn from_json(bytes: &[u8], name: &str) -> Result<Self> {
        let info: Self =
            serde_json::from_slice(bytes).map_err(|e| Fault::from_error(Code::BundleInvalid, name, e))?;
        info.validate(name)?;
        Ok(info)
    }

    /// The document, with two-space indentation and a final newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("release info is always valid JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The declared file at `path`.
    pub fn file(&self, path: &str) -> Option<&FileInfo> {
        self.files.iter().find(|file| file.path == path)
    }

    /// How long `service` may take to become ready.
    pub fn timeout_of(&self, service: &str) -> Duration {
        let own = self.services.get(service).and_then(|policy| policy.timeout_ms);
        Duration::from_millis(own.unwrap_or(self.health.timeout_ms))
    }

    /// Whether the release says how long `service` may take, instead of leaving it to the default.
    pub fn chooses_timeout_of(&self, service: &str) -> bool {
        let own = self.services.get(service).is_some_and(|policy| policy.timeout_ms.is_some());
        own || self.health.timeout_ms != HealthPolicy::default().timeout_ms
    }

    /// How long `service` must run when it has no healthcheck.
    pub fn stability_of(&self, service: &str) -> Duration {
        let own = self.services.get(service).and_then(|policy| policy.stability_ms);
        Duration::from_millis(own.unwrap_or(self.health.stability_ms))
    }

    fn validate(&self, name: &str) -> Result<()> {
        let invalid = |cause: String| Fault::new(Code::BundleInvalid, name, cause);
        if self.schema != 1 {
            return Err(invalid(format!("schema {} is not known to this client", self.schema)));
        }
        if let Some(hook) = self.hooks.keys().next() {
            return Err(Fault::new(Code::HookRefused, hook, name));
        }
        for (key, policy) in &self.backup.data {
            policy.check().map_err(|cause| invalid(format!("backup.data.{key}: {cause}")))?;
        }
        let paths = self.files.iter().map(|f| &f.path);
        for path in paths.chain(&self.compose).chain(&self.persist).chain(&self.config) {
            if !is_safe_relative(path) {
                return Err(Fault::new(Code::BundleUnsafe, path, name));
            }
        }
        Ok(())
    }
}

/// Whether `path` is relative, has no `.`, `..` or empty part, no backslash and no NUL.
pub fn is_safe_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0'])
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_escape_are_refused() {
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\\b", "a\0"] {
            assert!(!is_safe_relative(path), "{path:?}");
        }
        for path in [".env", "a", "a/b.c", "..a/b.."] {
            assert!(is_safe_relative(path), "{path:?}");
        }
    }

    #[test]
    fn a_document_with_only_the_required_fields_gets_defaults() {
        let json = br#"{"schema":1,"name":"x","version":"1.0.0","arch":"amd64","compose":["compose.yaml"],
            "persist":["data"],"images":[],"files":[],"later":true}"#;
        let info = ReleaseInfo::from_json(json, "release.json").unwrap();
        assert_eq!(info.health.timeout_ms, 30_000);
        assert_eq!(info.timeout_of("web"), Duration::from_secs(30));
        assert!(!info.migrates_data);
        assert_eq!(ReleaseInfo::from_json(&info.to_json(), "again").unwrap(), info);
    }

    #[test]
    fn a_hook_is_refused_by_name() {
        let json = br#"{"schema":1,"name":"x","version":"1.0.0","arch":"amd64","compose":[],"persist":[],
            "images":[],"files":[],"hooks":{"pre_stop":["x"]}}"#;
        assert_eq!(ReleaseInfo::from_json(json, "r").unwrap_err().code(), Code::HookRefused);
    }
}
