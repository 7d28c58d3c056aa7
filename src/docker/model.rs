//! The compiled Compose model: what `docker compose config --format json` says, with typed access to the parts
//! that a swap depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::ports::{self, Published};
use crate::fault::{Code, Fault, IoContext, Result};

/// A compiled model.
#[derive(Debug, Clone)]
pub struct Model {
    raw: Value,
    services: Vec<ModelService>,
}

/// Something of the machine's file system that a service mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// The path on the machine.
    pub source: String,
    /// The service may write it.
    pub writable: bool,
}

/// A service of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelService {
    /// Its name.
    pub name: String,
    /// The image reference; Compose's own name where it is only built.
    pub image: String,
    /// It has a `build` section and no `image`.
    pub built_only: bool,
    /// Containers it has.
    pub replicas: u32,
    /// Its fixed container name, where it has one.
    pub container_name: Option<String>,
    /// Services whose namespaces or volumes it uses by container.
    pub attached_to: Vec<String>,
    /// Services with which Compose restarts it.
    pub restarts_with: Vec<String>,
    /// Services it is started after.
    pub after: Vec<String>,
    /// Others wait until it has ended well.
    pub one_shot: bool,
    /// How long it may take to stop.
    pub stop_grace: Option<Duration>,
    /// Paths of the machine it mounts, also as config or secret.
    pub mounts: Vec<HostMount>,
    /// Named volumes it mounts: Compose key to the paths in the container.
    pub volumes: BTreeMap<String, Vec<String>>,
    /// Paths in the container where something is mounted.
    pub targets: BTreeSet<String>,
    /// It mounts a volume without a name.
    pub anonymous: bool,
    /// Fixed ports of the machine.
    pub published: Vec<Published>,
}

impl ModelService {
    /// The paths of the machine it mounts.
    pub fn host_paths(&self) -> Vec<String> {
        self.mounts.iter().map(|mount| mount.source.clone()).collect()
    }
}

/// A volume or network whose definition differs between two models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its real name.
    pub name: String,
    /// Before and after.
    pub detail: String,
}

impl Model {
    /// From the command's output for `folder`; paths in it become paths in `published_as`.
    pub(super) fn compiled(json: &[u8], folder: &Path, published_as: &Path) -> Result<Self> {
        let mut raw: Value = serde_json::from_slice(json)
            .map_err(|error| Fault::from_error(Code::ComposeInvalid, folder.display(), error))?;
        publish(&mut raw, &folder.to_string_lossy(), &published_as.to_string_lossy());
        Self::from_value(raw, &folder.display().to_string())
    }

    /// From a file [`Model::to_file`] wrote.
    pub fn from_file(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let raw = serde_json::from_slice(&std::fs::read(path).at(path)?)
            .map_err(|error| Fault::from_error(Code::ComposeInvalid, &name, error))?;
        Self::from_value(raw, &name)
    }

    /// From the model's JSON.
    pub fn from_value(raw: Value, name: &str) -> Result<Self> {
        let map = raw.get("services").and_then(Value::as_object);
        let map = map.ok_or_else(|| Fault::new(Code::ComposeInvalid, name, "it has no services"))?;
        let mut services: Vec<ModelService> =
            map.iter().map(|(name, value)| service(&raw, name, value)).collect();
        let jobs: BTreeSet<String> = map.values().flat_map(completed_dependencies).collect();
        for service in &mut services {
            service.one_shot = jobs.contains(&service.name);
        }
        Ok(Self { services: in_order(services), raw })
    }

    /// Writes the model so that Compose can read it.
    pub fn to_file(&self, path: &Path) -> Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        // It holds the values of .env, which are often credentials.
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).at(path)?;
        file.write_all(self.raw.to_string().as_bytes()).and_then(|()| file.sync_all()).at(path)
    }

    /// The services, those others depend on first.
    pub fn services(&self) -> &[ModelService] {
        &self.services
    }

    /// `services` and all they need, which is what Compose looks at when it is given these.
    pub fn with_dependencies<'a>(&'a self, services: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
        let mut found: BTreeSet<&str> = services.into_iter().collect();
        // Dependents come after what they need.
        for service in self.services.iter().rev().filter(|service| !service.after.is_empty()) {
            if found.contains(service.name.as_str()) {
                found.extend(service.after.iter().map(String::as_str));
            }
        }
        found
    }

    /// The real name of the volume a Compose key stands for.
    pub fn volume_name(&self, key: &str) -> Option<&str> {
        self.raw.get("volumes")?.get(key)?.get("name")?.as_str()
    }

    /// Why a service cannot have an old and a new container at once; `image_volumes` are the paths at which its
    /// image declares volumes.
    pub fn cannot_exist_twice(&self, service: &str, image_volumes: &[String]) -> Option<String> {
        let service = self.services.iter().find(|candidate| candidate.name == service)?;
        if service.container_name.is_some() {
            return Some("container_name".into());
        }
        if let Some(host) = service.attached_to.first() {
            return Some(format!("attached to {host}"));
        }
        self.anonymous_volume(&service.name, image_volumes)
    }

    /// A volume without a name that a container of the service has, and that only Compose hands on to the next.
    pub fn anonymous_volume(&self, service: &str, image_volumes: &[String]) -> Option<String> {
        let service = self.services.iter().find(|candidate| candidate.name == service)?;
        if service.anonymous {
            return Some("anonymous volume".into());
        }
        let uncovered =
            image_volumes.iter().find(|path| !service.targets.contains(path.trim_end_matches('/')));
        uncovered.map(|path| format!("anonymous volume {path}"))
    }

    /// Existing volumes whose definition the new model changes.
    pub fn volume_changes(old: &Self, new: &Self) -> Vec<Changed> {
        changes(old, new, "volumes")
    }

    /// Existing networks whose definition the new model changes.
    pub fn network_changes(old: &Self, new: &Self) -> Vec<Changed> {
        changes(old, new, "networks")
    }
}

/// Replaces the prefix `from` by `to` in every place of the model that holds a path of the machine.
fn publish(raw: &mut Value, from: &str, to: &str) {
    let rewrite = |value: Option<&mut Value>| {
        let Some(Value::String(text)) = value else { return };
        if let Some(rest) = text.strip_prefix(from)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            *text = format!("{to}{rest}");
        }
    };
    for section in ["configs", "secrets"] {
        for item in
            raw.get_mut(section).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
        {
            rewrite(item.get_mut("file"));
        }
    }
    for volume in
        raw.get_mut("volumes").and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
    {
        rewrite(volume.get_mut("driver_opts").and_then(|options| options.get_mut("device")));
    }
    for service in
        raw.get_mut("services").and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
    {
        for mount in service.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
            rewrite(mount.get_mut("source"));
        }
        if let Some(build) = service.get_mut("build") {
            rewrite(build.get_mut("context"));
        }
        for file in service.get_mut("env_file").and_then(Value::as_array_mut).into_iter().flatten() {
            if file.is_string() {
                rewrite(Some(file));
            } else {
                rewrite(file.get_mut("path"));
            }
        }
    }
}

fn service(raw: &Value, name: &str, value: &Value) -> ModelService {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let project = raw.get("name").and_then(Value::as_str).unwrap_or_default();
    let mut mounts = Vec::new();
    let mut volumes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut targets = BTreeSet::new();
    let mut anonymous = false;
    for mount in value.get("volumes").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| mount.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (source, target) = (field("source"), field("target"));
        let writable = !mount.get("read_only").and_then(Value::as_bool).unwrap_or(false);
        targets.insert(target.trim_end_matches('/').to_owned());
        match (field("type").as_str(), source.is_empty()) {
            ("bind", false) => mounts.push(HostMount { source, writable }),
            ("volume", false) => volumes.entry(source).or_default().push(target),
            ("volume", true) => anonymous = true,
            _ => {}
        }
    }
    for (section, key) in [("configs", "configs"), ("secrets", "secrets")] {
        for used in value.get(key).and_then(Value::as_array).into_iter().flatten() {
            let source = used.get("source").and_then(Value::as_str).unwrap_or_default();
            let file = raw.get(section).and_then(|all| all.get(source)?.get("file")?.as_str());
            mounts.extend(file.map(|file| HostMount { source: file.to_owned(), writable: false }));
        }
    }
    for path in value.get("tmpfs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        targets.insert(path.split(':').next().unwrap_or_default().trim_end_matches('/').to_owned());
    }
    let built = value.get("build").is_some_and(|build| !build.is_null());
    let dependencies = dependencies(value);
    ModelService {
        name: name.to_owned(),
        built_only: built && text("image").is_none(),
        image: text("image").unwrap_or_else(|| format!("{project}-{name}")),
        replicas: replicas(value),
        container_name: text("container_name").filter(|name| !name.is_empty()),
        attached_to: attached_to(value),
        restarts_with: dependencies
            .iter()
            .filter(|(_, restart)| *restart)
            .map(|(name, _)| name.clone())
            .collect(),
        after: dependencies.into_iter().map(|(name, _)| name).chain(attached_to(value)).collect(),
        one_shot: false,
        stop_grace: text("stop_grace_period").and_then(|text| parse_duration(&text)),
        mounts,
        volumes,
        targets,
        anonymous,
        published: published(value),
    }
}

fn replicas(value: &Value) -> u32 {
    let deployed = value.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let count = deployed.or_else(|| value.get("scale")).and_then(Value::as_u64);
    count.map_or(1, |count| count.min(u64::from(u32::MAX)) as u32)
}

fn attached_to(value: &Value) -> Vec<String> {
    let mut hosts = Vec::new();
    for key in ["network_mode", "ipc", "pid"] {
        let mode = value.get(key).and_then(Value::as_str).unwrap_or_default();
        hosts.extend(mode.strip_prefix("service:").map(str::to_owned));
    }
    for from in
        value.get("volumes_from").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        if !from.starts_with("container:") {
            hosts.push(from.split(':').next().unwrap_or_default().to_owned());
        }
    }
    hosts
}

/// The services `depends_on` names, and whether each restarts this one.
fn dependencies(value: &Value) -> Vec<(String, bool)> {
    let map = value.get("depends_on").and_then(Value::as_object);
    let restart = |condition: &Value| condition.get("restart").and_then(Value::as_bool).unwrap_or(false);
    map.into_iter().flatten().map(|(name, condition)| (name.clone(), restart(condition))).collect()
}

fn completed_dependencies(value: &Value) -> Vec<String> {
    let map = value.get("depends_on").and_then(Value::as_object);
    let completed = |condition: &Value| {
        condition.get("condition").and_then(Value::as_str) == Some("service_completed_successfully")
    };
    map.into_iter()
        .flatten()
        .filter(|(_, condition)| completed(condition))
        .map(|(name, _)| name.clone())
        .collect()
}

fn published(value: &Value) -> Vec<Published> {
    let mut found = Vec::new();
    for port in value.get("ports").and_then(Value::as_array).into_iter().flatten() {
        let field = |key: &str| port.get(key).and_then(Value::as_str).unwrap_or_default();
        // A range ("8000-8010") with one container is resolved by the engine; only single ports are fixed.
        if let Ok(number) = field("published").parse() {
            let protocol = Some(field("protocol")).filter(|protocol| !protocol.is_empty()).unwrap_or("tcp");
            found.push(Published {
                address: ports::address(field("host_ip")),
                number,
                protocol: protocol.to_owned(),
            });
        }
    }
    found
}

/// Go's notation, as Compose prints it: `1m30s`, `500ms`.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end =
            rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let seconds = match &rest[digits..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * seconds).ok()?;
        rest = &rest[unit_end..];
    }
    Some(total)
}

/// Dependencies first, otherwise by name. Compose refuses cycles; should one come through, its members follow
/// by name.
fn in_order(mut left: Vec<ModelService>) -> Vec<ModelService> {
    left.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ordered: Vec<ModelService> = Vec::new();
    while !left.is_empty() {
        let waits = |service: &ModelService| {
            service
                .after
                .iter()
                .any(|name| *name != service.name && left.iter().any(|other| other.name == *name))
        };
        let ready = left.iter().position(|service| !waits(service)).unwrap_or(0);
        ordered.push(left.remove(ready));
    }
    ordered
}

fn changes(old: &Model, new: &Model, section: &str) -> Vec<Changed> {
    let by_name = |model: &Model| -> BTreeMap<String, Value> {
        let items = model.raw.get(section).and_then(Value::as_object).into_iter().flatten();
        items
            .filter_map(|(_, value)| Some((value.get("name")?.as_str()?.to_owned(), value.clone())))
            .collect()
    };
    let new = by_name(new);
    let differs = |(name, before): (String, Value)| {
        let after = new.get(&name)?;
        (before != *after).then(|| Changed { name, detail: format!("{before} becomes {after}") })
    };
    by_name(old).into_iter().filter_map(differs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model(services: Value) -> Model {
        let raw = json!({"name": "shop", "services": services,
            "volumes": {"pg": {"name": "shop_pg"}}, "configs": {"c": {"name": "shop_c", "file": "/r/current/c.conf"}}});
        Model::from_value(raw, "test").unwrap()
    }

    #[test]
    fn services_come_with_their_dependencies_first() {
        let model = model(json!({
            "a": {"image": "a", "depends_on": {"z": {"condition": "service_started", "restart": true}}},
            "m": {"image": "m", "network_mode": "service:z"},
            "z": {"image": "z", "depends_on": {"job": {"condition": "service_completed_successfully"}}},
            "job": {"image": "j"},
        }));
        let names: Vec<_> = model.services().iter().map(|service| service.name.as_str()).collect();
        assert_eq!(names, ["job", "z", "a", "m"]);
        assert!(model.services()[0].one_shot && !model.services()[1].one_shot);
        assert_eq!(model.services()[2].restarts_with, ["z"]);
        assert_eq!(model.services()[3].attached_to, ["z"]);
        assert_eq!(model.with_dependencies(["m"]).into_iter().collect::<Vec<_>>(), ["job", "m", "z"]);
    }

    #[test]
    fn what_cannot_exist_twice_is_said_with_its_reason() {
        let model = model(json!({
            "plain": {"image": "x", "volumes": [{"type": "volume", "source": "pg", "target": "/data"}], "tmpfs": ["/tmp:size=1m"]},
            "named": {"image": "x", "container_name": "fixed"},
            "attached": {"image": "x", "pid": "service:plain"},
            "nameless": {"image": "x", "volumes": [{"type": "volume", "target": "/data"}]},
        }));
        let why = |service: &str, volumes: &[&str]| {
            model.cannot_exist_twice(service, &volumes.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(why("plain", &["/data", "/tmp/"]), None);
        assert_eq!(why("plain", &["/other"]).unwrap(), "anonymous volume /other");
        assert_eq!(why("named", &[]).unwrap(), "container_name");
        assert_eq!(why("attached", &[]).unwrap(), "attached to plain");
        assert_eq!(why("nameless", &[]).unwrap(), "anonymous volume");
    }

    #[test]
    fn paths_of_the_release_become_paths_of_current_and_no_others_do() {
        let raw = json!({"services": {"web": {"image": "x", "command": ["/r/releases/1/x"],
            "volumes": [{"type": "bind", "source": "/r/releases/1", "target": "/a"},
                        {"type": "bind", "source": "/r/releases/1/html", "target": "/b", "read_only": true},
                        {"type": "bind", "source": "/r/releases/10/html", "target": "/c"}]}},
            "secrets": {"s": {"file": "/r/releases/1/key"}}});
        let json = raw.to_string().into_bytes();
        let model = Model::compiled(&json, Path::new("/r/releases/1"), Path::new("/r/current")).unwrap();
        assert_eq!(
            model.services()[0].host_paths(),
            ["/r/current", "/r/current/html", "/r/releases/10/html"]
        );
        assert!(!model.services()[0].mounts[1].writable);
        assert_eq!(model.raw["secrets"]["s"]["file"], "/r/current/key");
        assert_eq!(
            model.raw["services"]["web"]["command"][0], "/r/releases/1/x",
            "only paths Compose resolved"
        );
    }

    #[test]
    fn ports_volumes_configs_and_durations_are_read() {
        let model = model(
            json!({"web": {"image": "x", "stop_grace_period": "1m30s", "deploy": {"replicas": 3},
            "ports": [{"target": 80, "published": "8080", "protocol": "tcp", "host_ip": "127.0.0.1"},
                      {"target": 81, "published": "9000-9001"}, {"target": 82}],
            "volumes": [{"type": "volume", "source": "pg", "target": "/data"}], "configs": [{"source": "c"}]}}),
        );
        let web = &model.services()[0];
        assert_eq!((web.replicas, web.stop_grace), (3, Some(Duration::from_secs(90))));
        assert_eq!(web.published.iter().map(|port| port.number).collect::<Vec<_>>(), [8080]);
        assert_eq!(web.volumes["pg"], ["/data"]);
        assert_eq!(web.host_paths(), ["/r/current/c.conf"]);
        assert_eq!(model.volume_name("pg"), Some("shop_pg"));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("x"), None);
    }

    #[test]
    fn a_changed_definition_under_the_same_name_is_found() {
        let with = |driver: &str, name: &str| {
            let raw = json!({"services": {"x": {"image": "x"}}, "volumes": {"k": {"name": name, "driver": driver}}});
            Model::from_value(raw, "test").unwrap()
        };
        assert!(Model::volume_changes(&with("local", "v"), &with("local", "v")).is_empty());
        assert!(Model::volume_changes(&with("local", "v"), &with("nfs", "w")).is_empty(), "a new volume");
        let changed = Model::volume_changes(&with("local", "v"), &with("nfs", "v"));
        assert_eq!(changed[0].name, "v");
    }
}
