//! Mends what Compose's recreate without dependencies leaves.
//!
//! `up --no-deps` is the only way to recreate one service without Compose touching the ones it depends on, whose
//! old and new containers may stand side by side at that moment. But it drops the dependencies from the service
//! before it computes the config hash (Compose before 2.29), so that the next `up -d` would recreate the
//! container once more; and a service that lives in another's namespace may be tied to the wrong one of two
//! containers, which is part of that hash. The container has not run yet, so an equal one with the right labels and ties takes its place.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, NetworkConnectRequest,
    NetworkingConfig,
};
use bollard::query_parameters::{CreateContainerOptionsBuilder, InspectContainerOptions};

use super::containers::{CONFIG_HASH, Container, State};
use super::failure::unless_absent;
use super::{Compose, Engine, Model};
use crate::fault::{Code, Fault, Result};

/// Ends the name of a container that is about to take another's place.
const SUFFIX: &str = ".settling";
/// Compose's label with a service's dependencies.
const DEPENDS_ON: &str = "com.docker.compose.depends_on";
/// Compose's label on a container that takes another's place, present only while it does.
const REPLACE: &str = "com.docker.compose.replace";

impl Engine {
    /// Makes the containers of `service` that [`Compose::recreate`] left carry the config hash that the next `up`
    /// expects, and share with the right containers; those that do are left alone. May be repeated.
    pub async fn settle_recreated(
        &self,
        compose: &Compose,
        project: &str,
        current_dir: &Path,
        model: &Path,
        service: &str,
    ) -> Result<()> {
        let all = self.containers(project).await?;
        let hashes = compose.hashes(project, current_dir, model).await?;
        let resolved = Model::from_file(model)?;
        let ties = planned_ties(&resolved, service, &all, &hashes);
        let hashes = if ties.is_empty() {
            hashes
        } else {
            compose.hashes_tied(project, current_dir, model, &ties).await?
        };
        let hash = hashes
            .get(service)
            .ok_or_else(|| Fault::new(Code::ComposeFailed, service, "Compose gave no hash for it"))?;
        let own = |one: &&Container| one.service == service && !one.one_off && one.state == State::Created;
        for container in all.iter().filter(own) {
            let Some(found) = self.inspect_for_copy(&container.id).await? else { continue };
            let mut host = found.host_config.clone().unwrap_or_default();
            let tied_anew = retie(&mut host, &all, &ties);
            if tied_anew || container.config_hash != *hash {
                let labels = labels(&container.labels, hash, &resolved, service);
                self.replace_by_copy(container, found, host, labels).await?;
            } else if let Some(name) = container.name.strip_suffix(SUFFIX) {
                self.rename(&container.id, name).await?;
            }
        }
        Ok(())
    }

    async fn replace_by_copy(
        &self,
        container: &Container,
        found: ContainerInspectResponse,
        host: HostConfig,
        labels: HashMap<String, String>,
    ) -> Result<()> {
        let failed = |error| self.fault_as(Code::ContainerFailed, &container.service, error);
        let name = container.name.trim_end_matches(SUFFIX);
        let temporary = format!("{name}{SUFFIX}");
        if temporary != container.name {
            // Left by an attempt that was interrupted; it never ran.
            self.remove(&temporary, false).await?;
        }
        let (first, more) = self.endpoints(&found, &host);
        let mut body = create_body(container, &found, &host)?;
        body.labels = Some(labels);
        body.host_config = Some(host);
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(first) });
        let options = CreateContainerOptionsBuilder::default().name(&temporary).build();
        let copy = self.docker.create_container(Some(options), body).await.map_err(failed)?;
        for (network, endpoint) in more {
            let request =
                NetworkConnectRequest { container: copy.id.clone(), endpoint_config: Some(endpoint) };
            self.docker.connect_network(&network, request).await.map_err(failed)?;
        }
        self.remove(&container.id, false).await?;
        self.rename(&copy.id, name).await
    }

    async fn inspect_for_copy(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let found = unless_absent(self.docker.inspect_container(id, None::<InspectContainerOptions>).await);
        found.map_err(|error| self.fault(id, error))
    }

    /// The networks to create it with and those to connect afterwards: before API 1.44 it can be created in one
    /// network only.
    fn endpoints(
        &self,
        found: &ContainerInspectResponse,
        host: &HostConfig,
    ) -> (HashMap<String, EndpointSettings>, HashMap<String, EndpointSettings>) {
        let id = found.id.as_deref().unwrap_or_default();
        let networks = found.network_settings.as_ref().and_then(|settings| settings.networks.clone());
        let networks = networks.unwrap_or_default().into_iter();
        let all = networks.map(|(name, settings)| (name, asked_for(settings, id)));
        if self.speaks(1, 44) {
            return (all.collect(), HashMap::new());
        }
        let mode = host.network_mode.as_deref().unwrap_or_default();
        all.partition(|(name, _)| name == mode)
    }
}

/// What was asked of the network, without what the engine answered.
fn asked_for(settings: EndpointSettings, id: &str) -> EndpointSettings {
    // Older engines list the container's own short ID among the aliases.
    let own = |alias: &String| !alias.is_empty() && id.starts_with(alias.as_str());
    EndpointSettings {
        ipam_config: settings.ipam_config,
        links: settings.links,
        aliases: settings.aliases.map(|list| list.into_iter().filter(|alias| !own(alias)).collect()),
        driver_opts: settings.driver_opts,
        mac_address: settings.mac_address.filter(|mac| !mac.is_empty()),
        gw_priority: settings.gw_priority,
        ..Default::default()
    }
}

fn create_body(
    container: &Container,
    found: &ContainerInspectResponse,
    host: &HostConfig,
) -> Result<ContainerCreateBody> {
    // Both are the engine's `Config` on the wire.
    let mut body: ContainerCreateBody = serde_json::to_value(&found.config)
        .and_then(serde_json::from_value)
        .map_err(|error| Fault::from_error(Code::EngineFailed, &container.service, error))?;
    let shares = host.network_mode.as_deref().is_some_and(|mode| mode.starts_with("container:"));
    let hostname = body.hostname.as_deref().unwrap_or_default();
    if shares || container.id.starts_with(hostname) {
        // The engine made it up from the ID, or took it from the other container.
        body.hostname = None;
    }
    Ok(body)
}

fn labels(
    present: &BTreeMap<String, String>,
    hash: &str,
    model: &Model,
    service: &str,
) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = present.clone().into_iter().collect();
    labels.remove(REPLACE);
    labels.insert(CONFIG_HASH.to_owned(), hash.to_owned());
    labels.insert(DEPENDS_ON.to_owned(), model.depends_on_label(service));
    labels
}

/// The containers that `service` is to share with: those of the planned definition, or where a hash does not tell
/// (their service is itself tied to another) the newest.
fn planned_ties(
    model: &Model,
    service: &str,
    all: &[Container],
    hashes: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let tied_to = model.service(service).map(|service| service.tied_to).unwrap_or_default();
    let target = |name: String| {
        let of = all.iter().filter(|one| one.service == name && !one.one_off);
        let planned = |one: &&Container| hashes.get(&name) == Some(&one.config_hash);
        let best = of.max_by_key(|one| (planned(one), &one.created_at))?;
        Some((name, best.id.clone()))
    };
    tied_to.into_iter().filter_map(target).collect()
}

/// Points namespaces and volumes that are shared with another service to the container in `ties`; tells whether
/// anything changed.
fn retie(host: &mut HostConfig, all: &[Container], ties: &BTreeMap<String, String>) -> bool {
    let mut changed = false;
    let mut point = |id: &str| -> Option<String> {
        let current = all.iter().find(|one| one.id == id)?;
        let target = ties.get(&current.service)?;
        changed |= *target != current.id;
        Some(target.clone())
    };
    for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
        let shared = mode.as_deref().and_then(|text| text.strip_prefix("container:"));
        if let Some(target) = shared.and_then(&mut point) {
            *mode = Some(format!("container:{target}"));
        }
    }
    for entry in host.volumes_from.iter_mut().flatten() {
        let (id, access) = entry.split_once(':').map_or((entry.as_str(), ""), |(id, access)| (id, access));
        if let Some(target) = point(id) {
            *entry = if access.is_empty() { target } else { format!("{target}:{access}") };
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, service: &str, hash: &str, created: &str) -> Container {
        Container {
            id: id.into(),
            service: service.into(),
            config_hash: hash.into(),
            created_at: created.into(),
            ..Container::default()
        }
    }

    #[test]
    fn what_is_shared_points_to_the_planned_container() {
        let all = [container("old", "db", "h1", "1"), container("new", "db", "h2", "2")];
        let hashes = BTreeMap::from([("db".to_owned(), "h2".to_owned())]);
        let json = br#"{"services":{"side":{"network_mode":"service:db"},"db":{}}}"#;
        let model = Model::from_json(json, "x").unwrap();
        let ties = planned_ties(&model, "side", &all, &hashes);
        assert_eq!(ties, BTreeMap::from([("db".to_owned(), "new".to_owned())]));
        let mut host = HostConfig {
            network_mode: Some("container:old".into()),
            pid_mode: Some("host".into()),
            ipc_mode: Some("container:foreign".into()),
            volumes_from: Some(vec!["old:ro".into(), "new".into()]),
            ..Default::default()
        };
        assert!(retie(&mut host, &all, &ties));
        assert_eq!(host.network_mode.as_deref(), Some("container:new"));
        assert_eq!(host.pid_mode.as_deref(), Some("host"));
        assert_eq!(host.ipc_mode.as_deref(), Some("container:foreign"));
        assert_eq!(host.volumes_from, Some(vec!["new:ro".into(), "new".into()]));
        assert!(!retie(&mut host, &all, &ties));
    }
}
