//! `release.toml`: what a publisher says about a release. Everything is optional; a misspelt key is an error.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use crate::fault::{Code, Fault, Result};
use crate::release::info::{
    BackupPolicy, DEFAULT_PERSIST, HealthPolicy, Probe, Requires, ServicePolicy, SwapMethod, is_safe_relative,
};
use crate::settings::DataPolicy;

/// The file's name in the stack folder.
pub(super) const RELEASE_TOML: &str = "release.toml";

/// The content of `release.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ReleaseToml {
    /// The product; the Compose project's name where absent.
    pub name: Option<String>,
    /// The manifest's release notes.
    pub notes: Option<String>,
    /// The Compose files, in the order of merging; those Compose finds by itself where absent.
    pub compose: Vec<String>,
    /// Paths the operator owns, besides the usual ones.
    pub persist: Vec<String>,
    /// Files of the release the operator may edit.
    pub config: Vec<String>,
    /// Globs; where given, only what they match is packed (and Compose, config and persisted files).
    pub include: Vec<String>,
    /// Globs of what is not packed. One without a slash matches a name in any folder.
    pub exclude: Vec<String>,
    /// Whether the version before cannot read the data once this one has started.
    pub migrates_data: bool,
    requires: RequiresToml,
    health: HealthToml,
    backup: BackupToml,
    services: BTreeMap<String, ServiceToml>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequiresToml {
    from: Option<String>,
    floor: bool,
    engine_api: Option<String>,
    disk_bytes: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct HealthToml {
    timeout_ms: Option<u64>,
    stability_ms: Option<u64>,
    soak_ms: Option<u64>,
    probes: Vec<ProbeToml>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbeToml {
    name: Option<String>,
    http: Option<String>,
    expect_status: Option<u16>,
    tcp: Option<String>,
    command: Option<Vec<String>>,
    service: Option<String>,
    timeout_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct BackupToml {
    exclude: Vec<String>,
    data: BTreeMap<String, DataPolicy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServiceToml {
    swap: Option<SwapMethod>,
    timeout_ms: Option<u64>,
    stability_ms: Option<u64>,
    one_shot: bool,
}

impl ReleaseToml {
    /// Reads the file of the folder `stack`; defaults where there is none.
    pub fn read(stack: &Path) -> Result<Self> {
        let path = stack.join(RELEASE_TOML);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Fault::io(path, error)),
        };
        let read: Self = toml::from_str(&text)
            .map_err(|error| Fault::from_error(Code::ConfigInvalid, path.display(), error))?;
        read.check().map_err(|cause| Fault::new(Code::ConfigInvalid, path.display(), cause))?;
        Ok(read)
    }

    /// The paths the operator owns: the usual ones and those named.
    pub fn persist(&self) -> Vec<String> {
        let named = self.persist.iter().map(|path| path.trim_end_matches('/').to_owned());
        let mut all: Vec<String> =
            DEFAULT_PERSIST.iter().map(|path| (*path).to_owned()).chain(named).collect();
        all.sort();
        all.dedup();
        all
    }

    pub fn requires(&self) -> Requires {
        let RequiresToml { from, floor, engine_api, disk_bytes } = &self.requires;
        Requires {
            from: from.clone(),
            floor: *floor,
            engine_api: engine_api.clone(),
            disk_bytes: *disk_bytes,
        }
    }

    pub fn health(&self) -> HealthPolicy {
        let default = HealthPolicy::default();
        let timeout_ms = self.health.timeout_ms.unwrap_or(default.timeout_ms);
        let probe = |probe: &ProbeToml| Probe {
            name: probe.label(),
            http: probe.http.clone(),
            expect_status: probe.expect_status,
            tcp: probe.tcp.clone(),
            command: probe.command.clone(),
            service: probe.service.clone(),
            timeout_ms: probe.timeout_ms.unwrap_or(timeout_ms),
        };
        HealthPolicy {
            timeout_ms,
            stability_ms: self.health.stability_ms.unwrap_or(default.stability_ms),
            soak_ms: self.health.soak_ms,
            probes: self.health.probes.iter().map(probe).collect(),
        }
    }

    pub fn backup(&self) -> BackupPolicy {
        BackupPolicy { exclude: self.backup.exclude.clone(), data: self.backup.data.clone() }
    }

    pub fn services(&self) -> BTreeMap<String, ServicePolicy> {
        let policy = |service: &ServiceToml| ServicePolicy {
            swap: service.swap,
            timeout_ms: service.timeout_ms,
            stability_ms: service.stability_ms,
            one_shot: service.one_shot,
        };
        self.services.iter().map(|(name, service)| (name.clone(), policy(service))).collect()
    }

    /// The services it names, with the key that names them.
    pub fn named_services(&self) -> impl Iterator<Item = (&str, String)> {
        let sections = self.services.keys().map(|name| (name.as_str(), format!("services.{name}")));
        let probes = self.health.probes.iter().filter_map(|probe| {
            let name = probe.service.as_deref()?;
            Some((name, format!("the probe {}", probe.label())))
        });
        let hooks =
            self.backup.data.iter().filter_map(|(name, policy)| {
                Some((policy.service.as_deref()?, format!("backup.data.{name}")))
            });
        sections.chain(probes).chain(hooks)
    }

    /// The volumes or persist paths whose backup it describes, with the key that names them.
    pub fn named_data(&self) -> impl Iterator<Item = (&str, String)> {
        let named = self.backup.data.keys().map(|name| (name.as_str(), format!("backup.data.{name}")));
        named.chain(self.backup.exclude.iter().map(|name| (name.as_str(), "backup.exclude".to_owned())))
    }

    fn check(&self) -> Result<(), String> {
        for (key, paths) in [("compose", &self.compose), ("persist", &self.persist), ("config", &self.config)]
        {
            if let Some(path) = paths.iter().find(|path| !is_safe_relative(path.trim_end_matches('/'))) {
                return Err(format!("{key}: {path:?} must be a path inside the stack folder"));
            }
        }
        for (name, policy) in &self.backup.data {
            policy.check().map_err(|cause| format!("backup.data.{name}: {cause}"))?;
        }
        if let Some(from) = &self.requires.from {
            semver::VersionReq::parse(from).map_err(|error| format!("requires.from: {error}"))?;
        }
        for probe in &self.health.probes {
            let kinds = [probe.http.is_some(), probe.tcp.is_some(), probe.command.is_some()];
            if kinds.iter().filter(|given| **given).count() != 1 {
                return Err(format!("the probe {} needs exactly one of http, tcp, command", probe.label()));
            }
            if probe.command.as_ref().is_some_and(|argv| argv.is_empty() || probe.service.is_none()) {
                return Err(format!(
                    "the probe {} needs a command and a service to run it in",
                    probe.label()
                ));
            }
        }
        Ok(())
    }
}

impl ProbeToml {
    /// Its name, or what it looks at.
    fn label(&self) -> String {
        let command = || self.command.as_ref().map(|argv| argv.join(" "));
        let given = self.name.clone().or_else(|| self.http.clone()).or_else(|| self.tcp.clone());
        given.or_else(command).unwrap_or_else(|| "without a name".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ReleaseToml> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(RELEASE_TOML), text).unwrap();
        ReleaseToml::read(dir.path())
    }

    #[test]
    fn everything_is_optional_and_everything_is_read() {
        let none = ReleaseToml::read(Path::new("/nowhere")).unwrap();
        assert_eq!(none.persist(), [".env", "data", "logs", "upload"]);
        assert_eq!(none.health(), HealthPolicy::default());
        let all = read(
            "name='x'\nnotes='n'\ncompose=['c.yaml']\npersist=['db/']\nconfig=['nginx.conf']\ninclude=['web']\n\
             exclude=['*.tmp']\nmigrates_data=true\n[requires]\nfrom='>=1.0.0'\nfloor=true\nengine_api='1.41'\n\
             disk_bytes=5\n[health]\ntimeout_ms=1\nstability_ms=2\n[[health.probes]]\nhttp='http://x'\n\
             expect_status=204\n[[health.probes]]\nname='ready'\ncommand=['true']\nservice='web'\n[backup]\n\
             exclude=['cache']\n[services.web]\nswap='recreate'\ntimeout_ms=3\n[services.job]\none_shot=true\n",
        )
        .unwrap();
        assert_eq!(all.persist(), [".env", "data", "db", "logs", "upload"]);
        assert_eq!(all.health().probes[0].name, "http://x");
        assert_eq!(all.health().probes[1].timeout_ms, 1);
        assert_eq!(all.services()["web"].swap, Some(SwapMethod::Recreate));
        assert!(all.services()["job"].one_shot && all.migrates_data && all.requires().floor);
        assert_eq!(all.named_services().map(|(name, _)| name).collect::<Vec<_>>(), ["job", "web", "web"]);
    }

    #[test]
    fn mistakes_name_the_file_and_the_key() {
        for (text, key) in [
            ("persists=['x']", "persists"),
            ("[health]\ntimeout=1", "timeout"),
            ("[services.web]\nswop='beside'", "swop"),
            ("[services.web]\nswap='fast'", "fast"),
            ("persist=['../x']", "persist"),
            ("[requires]\nfrom='later'", "requires.from"),
            ("[[health.probes]]\nname='p'", "p needs exactly one"),
            ("[[health.probes]]\ncommand=['x']", "service"),
            ("name=", ""),
        ] {
            let fault = read(text).unwrap_err();
            assert_eq!(fault.code(), Code::ConfigInvalid);
            assert!(fault.object().ends_with("release.toml") && fault.detail().contains(key), "{fault}");
        }
    }
}
