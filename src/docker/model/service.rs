//! A service of a resolved stack.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Model, duration};

/// A service of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image reference; absent for a service that is only built.
    pub image: Option<String>,
    /// Whether it has a `build` section.
    pub build: bool,
    /// How many containers it should have.
    pub replicas: u32,
    /// A fixed container name.
    pub container_name: Option<String>,
    /// Services it must start after.
    pub depends_on: Vec<String>,
    /// Services with which Compose restarts it (`depends_on` with `restart: true`).
    pub restarts_with: Vec<String>,
    /// Services whose namespaces or volumes its containers are tied to (`network_mode: service:x` …).
    pub tied_to: Vec<String>,
    /// The Compose file declares a healthcheck (an image may have its own).
    pub healthcheck: bool,
    /// The Compose file switches health checking off.
    pub healthcheck_disabled: bool,
    /// Another service waits for its successful end.
    pub one_shot: bool,
    /// `restart`, as written.
    pub restart: Option<String>,
    /// How long it may take to stop.
    pub stop_grace: Option<Duration>,
    /// Published ports as `ip:published:target/protocol`; without `ip:` where none is given.
    pub ports: Vec<String>,
    /// Its mounts.
    pub mounts: Vec<ServiceMount>,
    /// Files mounted as `configs` and `secrets`.
    pub files: Vec<PathBuf>,
    /// Keys of the networks it joins.
    pub networks: Vec<String>,
    /// `pull_policy`.
    pub pull_policy: Option<String>,
}

/// A mount a service declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceMount {
    /// A host path.
    Bind {
        /// On the host.
        source: PathBuf,
        /// In the container.
        target: String,
        /// The container may write to it.
        writable: bool,
    },
    /// A named volume.
    Volume {
        /// The key under `volumes:`.
        key: String,
        /// In the container.
        target: String,
    },
    /// A volume without a name.
    Anonymous {
        /// In the container.
        target: String,
    },
    /// Anything that keeps no data (tmpfs …).
    Other {
        /// In the container.
        target: String,
    },
}

impl ServiceMount {
    /// Where it is in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Volume { target, .. }
            | Self::Anonymous { target }
            | Self::Other { target } => target,
        }
    }
}

/// Why a service cannot have an old and a new container side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SingleReason {
    /// Its container name is fixed.
    ContainerName(String),
    /// It lives in another service's namespace (`network_mode`, `pid`, `ipc`, `volumes_from`).
    TiedTo(String),
    /// It has an anonymous volume at this path, whose data only Compose carries over.
    AnonymousVolume(String),
}

impl std::fmt::Display for SingleReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ContainerName(name) => write!(f, "container_name: {name}"),
            Self::TiedTo(service) => write!(f, "shares with service {service}"),
            Self::AnonymousVolume(path) => write!(f, "anonymous volume {path}"),
        }
    }
}

impl Service {
    /// Why it cannot have two containers at once, where it cannot. `image_volumes` are the paths its image
    /// declares as volumes.
    pub fn cannot_exist_twice(&self, image_volumes: &[String]) -> Option<SingleReason> {
        if let Some(name) = &self.container_name {
            return Some(SingleReason::ContainerName(name.clone()));
        }
        if let Some(service) = self.tied_to.first() {
            return Some(SingleReason::TiedTo(service.clone()));
        }
        let declared = self.mounts.iter().find_map(|mount| match mount {
            ServiceMount::Anonymous { target } => Some(target),
            _ => None,
        });
        let clean = |path: &str| path.trim_end_matches('/').to_owned();
        let covered = |path: &str| self.mounts.iter().any(|mount| clean(mount.target()) == clean(path));
        declared
            .or_else(|| image_volumes.iter().find(|path| !covered(path)))
            .map(|path| SingleReason::AnonymousVolume(path.clone()))
    }

    /// The paths of the host it mounts, also as config or secret.
    pub fn host_paths(&self) -> Vec<PathBuf> {
        let binds = self.mounts.iter().filter_map(|mount| match mount {
            ServiceMount::Bind { source, .. } => Some(source.clone()),
            _ => None,
        });
        binds.chain(self.files.iter().cloned()).collect()
    }

    /// The named volumes it mounts, as `(key, path in the container)`.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.mounts.iter().filter_map(|mount| match mount {
            ServiceMount::Volume { key, target } => Some((key.as_str(), target.as_str())),
            _ => None,
        })
    }

    pub(super) fn read(name: &str, value: &Value, once: &BTreeSet<String>, model: &Model) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let check = value.get("healthcheck").filter(|check| !check.is_null());
        let disabled = check.is_some_and(|check| {
            let first = check.get("test").and_then(|test| test.get(0)).and_then(Value::as_str);
            check.get("disable").and_then(Value::as_bool) == Some(true) || first == Some("NONE")
        });
        let tied_to = ties(value);
        let mut depends_on = keys(value.get("depends_on"));
        depends_on
            .extend(tied_to.iter().filter(|tie| !depends_on.contains(tie)).cloned().collect::<Vec<_>>());
        Self {
            name: name.to_owned(),
            image: text("image"),
            build: value.get("build").is_some_and(|build| !build.is_null()),
            replicas: replicas(value),
            container_name: text("container_name"),
            restarts_with: restarts_with(value),
            depends_on,
            tied_to,
            healthcheck: check.is_some() && !disabled,
            healthcheck_disabled: disabled,
            one_shot: once.contains(name),
            restart: text("restart"),
            stop_grace: text("stop_grace_period").and_then(|text| duration::parse(&text)),
            ports: elements(value.get("ports")).map(port).collect(),
            mounts: mounts(value),
            files: files(value, model),
            networks: keys(value.get("networks")),
            pull_policy: text("pull_policy"),
        }
    }
}

/// Services whose successful end another service waits for.
pub(super) fn awaited_to_complete<'a>(
    services: impl Iterator<Item = (&'a str, &'a Value)>,
) -> BTreeSet<String> {
    let dependencies = services.filter_map(|(_, value)| value.get("depends_on")?.as_object());
    dependencies
        .flatten()
        .filter(|(_, how)| {
            how.get("condition").and_then(Value::as_str) == Some("service_completed_successfully")
        })
        .map(|(name, _)| name.clone())
        .collect()
}

fn restarts_with(service: &Value) -> Vec<String> {
    let dependencies = service.get("depends_on").and_then(Value::as_object);
    let restarts = |how: &Value| how.get("restart").and_then(Value::as_bool).unwrap_or(false);
    dependencies
        .into_iter()
        .flatten()
        .filter(|(_, how)| restarts(how))
        .map(|(name, _)| name.clone())
        .collect()
}

fn replicas(service: &Value) -> u32 {
    let deploy = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = service.get("scale").or(deploy).and_then(Value::as_u64).unwrap_or(1);
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn ties(service: &Value) -> Vec<String> {
    let mut ties = Vec::new();
    for key in ["network_mode", "pid", "ipc"] {
        let mode = service.get(key).and_then(Value::as_str);
        ties.extend(mode.and_then(|mode| mode.strip_prefix("service:")).map(str::to_owned));
    }
    for entry in elements(service.get("volumes_from")).filter_map(Value::as_str) {
        if !entry.starts_with("container:") {
            ties.extend(entry.split(':').next().map(str::to_owned));
        }
    }
    ties.sort_unstable();
    ties.dedup();
    ties
}

fn mounts(service: &Value) -> Vec<ServiceMount> {
    let mount = |value: &Value| {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let target = text("target");
        match (text("type").as_str(), text("source")) {
            ("bind", source) => {
                let read_only = value.get("read_only").and_then(Value::as_bool).unwrap_or(false);
                ServiceMount::Bind { source: source.into(), target, writable: !read_only }
            }
            ("volume", source) if source.is_empty() => ServiceMount::Anonymous { target },
            ("volume", key) => ServiceMount::Volume { key, target },
            _ => ServiceMount::Other { target },
        }
    };
    let tmpfs = service.get("tmpfs").into_iter().flat_map(|value| match value {
        Value::String(text) => vec![text.as_str()],
        list => elements(Some(list)).filter_map(Value::as_str).collect(),
    });
    let tmpfs = tmpfs.map(|entry| {
        let target = entry.split(':').next().unwrap_or(entry).to_owned();
        ServiceMount::Other { target }
    });
    elements(service.get("volumes")).map(mount).chain(tmpfs).collect()
}

fn files(service: &Value, model: &Model) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for section in ["configs", "secrets"] {
        for entry in elements(service.get(section)) {
            let key = entry.as_str().or_else(|| entry.get("source").and_then(Value::as_str));
            files.extend(key.and_then(|key| model.file_of(section, key)).map(PathBuf::from));
        }
    }
    files
}

fn port(value: &Value) -> String {
    let text = |key: &str| match value.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    };
    let (ip, published, protocol) = (text("host_ip"), text("published"), text("protocol"));
    let ip = if ip.is_empty() { ip } else { format!("{ip}:") };
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
    format!("{ip}{published}:{}/{protocol}", text("target"))
}

fn elements(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// The keys of a map, or the texts of a list: Compose allows both in places.
fn keys(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Object(map)) => map.keys().cloned().collect(),
        list => elements(list).filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let json = serde_json::json!({"name": "shop", "services": {
            "web": {
                "image": "web:1", "build": {"context": "/r/web"}, "deploy": {"replicas": 3},
                "depends_on": {
                    "migrate": {"condition": "service_completed_successfully", "required": true},
                    "api": {"condition": "service_started", "required": true}},
                "healthcheck": {"test": ["CMD", "true"]}, "stop_grace_period": "1m0s", "restart": "always",
                "ports": [{"mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "8080", "protocol": "tcp"}],
                "volumes": [
                    {"type": "bind", "source": "/r/data", "target": "/data"},
                    {"type": "volume", "source": "db", "target": "/db"}],
                "tmpfs": ["/run:size=1m"],
                "configs": [{"source": "conf", "target": "/etc/conf"}], "secrets": [{"source": "key"}],
                "networks": {"default": null}},
            "api": {"scale": 2, "healthcheck": {"disable": true}},
            "migrate": {"healthcheck": {"test": ["NONE"]}, "pull_policy": "never"},
            "side": {"network_mode": "service:api", "volumes_from": ["web:ro", "container:other"]},
            "named": {"container_name": "fixed"},
            "anonymous": {"volumes": [{"type": "volume", "target": "/cache"}]}},
            "configs": {"conf": {"file": "/r/conf"}}, "secrets": {"key": {"environment": "KEY"}}});
        Model::from_json(json.to_string().as_bytes(), "shop").unwrap()
    }

    #[test]
    fn every_field_is_read() {
        let web = model().service("web").unwrap();
        let expected = Service {
            name: "web".into(),
            image: Some("web:1".into()),
            build: true,
            replicas: 3,
            depends_on: vec!["migrate".into(), "api".into()],
            healthcheck: true,
            restart: Some("always".into()),
            stop_grace: Some(Duration::from_secs(60)),
            ports: vec!["127.0.0.1:8080:80/tcp".into()],
            mounts: vec![
                ServiceMount::Bind { source: "/r/data".into(), target: "/data".into(), writable: true },
                ServiceMount::Volume { key: "db".into(), target: "/db".into() },
                ServiceMount::Other { target: "/run".into() },
            ],
            files: vec!["/r/conf".into()],
            networks: vec!["default".into()],
            ..Service::default()
        };
        assert_eq!(web, expected);
        let migrate = model().service("migrate").unwrap();
        assert!(migrate.one_shot && migrate.healthcheck_disabled && !migrate.healthcheck);
        let api = model().service("api").unwrap();
        assert!(api.replicas == 2 && api.healthcheck_disabled && !api.one_shot);
        assert_eq!(model().service("none"), None);
    }

    #[test]
    fn services_come_after_what_they_need() {
        let names: Vec<String> = model().services().into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["api", "migrate", "web", "side", "named", "anonymous"]);
        assert_eq!(
            model().depends_on_label("web"),
            "migrate:service_completed_successfully:false,api:service_started:false"
        );
    }

    #[test]
    fn what_cannot_exist_twice_says_why() {
        let image = ["/db".to_owned(), "/run/".to_owned()];
        let other = ["/var/lib/x".to_owned()];
        for (service, volumes, reason) in [
            ("web", &image[..], None),
            ("web", &other[..], Some(SingleReason::AnonymousVolume("/var/lib/x".into()))),
            ("named", &[], Some(SingleReason::ContainerName("fixed".into()))),
            ("side", &[], Some(SingleReason::TiedTo("api".into()))),
            ("anonymous", &[], Some(SingleReason::AnonymousVolume("/cache".into()))),
        ] {
            assert_eq!(model().service(service).unwrap().cannot_exist_twice(volumes), reason, "{service}");
        }
    }
}
