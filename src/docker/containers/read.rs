//! The engine's description of a container as data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum as Status, HealthStatusEnum, MountPoint,
};

use super::{Container, Health, Mount, MountKind, State};

/// The label that names a container's project.
pub(in crate::docker) const PROJECT: &str = "com.docker.compose.project";
/// The label that holds the hash of its service's definition.
pub(in crate::docker) const CONFIG_HASH: &str = "com.docker.compose.config-hash";

/// Reads what `inspect` gave.
pub(in crate::docker) fn container(found: ContainerInspectResponse) -> Container {
    let state = found.state.unwrap_or_default();
    let labels: BTreeMap<String, String> =
        found.config.and_then(|config| config.labels).unwrap_or_default().into_iter().collect();
    let label = |name: &str| labels.get(&format!("com.docker.compose.{name}")).cloned();
    Container {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        service: label("service").unwrap_or_default(),
        number: label("container-number").and_then(|text| text.parse().ok()).unwrap_or_default(),
        one_off: label("oneoff").is_some_and(|text| text.eq_ignore_ascii_case("true")),
        image_id: found.image.unwrap_or_default(),
        config_hash: label("config-hash").unwrap_or_default(),
        working_dir: label("project.working_dir").map(PathBuf::from),
        config_files: paths(label("project.config_files")),
        state: state.status.map_or(State::Dead, run_state),
        health: health(state.health.and_then(|health| health.status)),
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
        restart_count: found.restart_count.unwrap_or_default(),
        restart_policy: found
            .host_config
            .and_then(|host| host.restart_policy)
            .and_then(|policy| policy.name)
            .map(|name| name.to_string())
            .unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        finished_at: state.finished_at.unwrap_or_default(),
        created_at: found.created.map(|time| time.to_string()).unwrap_or_default(),
        mounts: found.mounts.unwrap_or_default().into_iter().map(mount).collect(),
        labels,
    }
}

/// Reads a health status; having no healthcheck is told in several ways.
pub(in crate::docker) fn health(status: Option<HealthStatusEnum>) -> Health {
    match status {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

/// Reads a state.
pub(in crate::docker) fn run_state(status: Status) -> State {
    match status {
        Status::CREATED => State::Created,
        // One that is being stopped still runs.
        Status::RUNNING | Status::STOPPING => State::Running,
        Status::PAUSED => State::Paused,
        Status::RESTARTING => State::Restarting,
        Status::REMOVING => State::Removing,
        Status::EXITED => State::Exited,
        Status::DEAD | Status::EMPTY => State::Dead,
    }
}

fn paths(label: Option<String>) -> Vec<PathBuf> {
    let text = label.unwrap_or_default();
    text.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect()
}

fn mount(point: MountPoint) -> Mount {
    let kind = match point.typ.as_deref() {
        Some("bind") => MountKind::Bind,
        Some("volume") => MountKind::Volume,
        _ => MountKind::Other,
    };
    Mount {
        kind,
        name: point.name.filter(|name| !name.is_empty()),
        source: point.source.unwrap_or_default(),
        destination: point.destination.unwrap_or_default(),
        writable: point.rw.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_fields() {
        let json = serde_json::json!({
            "Id": "abc", "Name": "/shop-web-2", "Image": "sha256:1", "RestartCount": 3,
            "State": {"Status": "exited", "ExitCode": 137, "StartedAt": "2026-01-01T00:00:00Z"},
            "Config": {"Labels": {
                "com.docker.compose.service": "web", "com.docker.compose.container-number": "2",
                "com.docker.compose.oneoff": "False", "com.docker.compose.config-hash": "h",
                "com.docker.compose.project.config_files": "/a/x.yaml,/a/y.yaml"}},
            "Mounts": [{"Type": "volume", "Name": "v", "Source": "/s", "Destination": "/d", "RW": true}],
        });
        let container = container(serde_json::from_value(json).unwrap());
        assert_eq!(
            (container.name.as_str(), container.service.as_str(), container.number),
            ("shop-web-2", "web", 2)
        );
        assert_eq!((container.state, container.exit_code, container.restart_count), (State::Exited, 137, 3));
        assert_eq!((container.health, container.one_off), (Health::None, false));
        assert_eq!(container.config_files, [PathBuf::from("/a/x.yaml"), PathBuf::from("/a/y.yaml")]);
        assert_eq!((container.mounts[0].kind, container.mounts[0].writable), (MountKind::Volume, true));
    }
}
