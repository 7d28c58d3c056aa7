//! Containers before and after the swap: created beside the old ones, removed again, brought back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Moment;
use crate::docker::{Container, Model, ReadyPolicy, Resource, Service, State, Watched};
use crate::fault::{Code, Fault, Result};
use crate::messages::{DataNote, Say};
use crate::progress::Step;
use crate::upgrade::analyse::{self, NEW_MODEL};
use crate::upgrade::plan::{Action, ServicePlan};
use crate::upgrade::world::World;

/// Creates the new containers of services that are swapped or added; none is started.
pub async fn create(world: &mut World<'_>) -> Result<()> {
    let services: Vec<ServicePlan> = beside(world)?;
    let mut wanted = BTreeMap::new();
    let present = world.engine.containers(world.project()).await?;
    for service in &services {
        // One that somebody removed since the change was planned does not count: Compose would make one more.
        let old = present.iter().filter(|container| service.old.contains_key(&container.id)).count();
        let mut fit = 0;
        for container in extra(world, service).await? {
            if container.config_hash == service.config_hash && container.state == State::Created {
                fit += 1;
            } else {
                world.engine.remove(&container.id, has_own_volumes(service)).await?;
            }
        }
        if fit < service.replicas {
            wanted.insert(service.name.clone(), old as u32 + service.replicas);
        }
    }
    if !wanted.is_empty() {
        make(world, NEW_MODEL, &wanted).await?;
    }
    for service in &services {
        let created = extra(world, service).await?;
        check_created(service, &created)?;
        let ids = created.into_iter().map(|container| container.id).collect();
        world.learn(|facts| {
            facts.created.insert(service.name.clone(), ids);
        })?;
        let say = Say::ServiceCreated { service: service.name.clone() };
        world.progress.note(Step::StartingServices, say);
    }
    Ok(())
}

/// Has Compose create containers until each service in `wanted` has that many; what they depend on keeps what it
/// has, and Compose looks at nothing else.
pub async fn make(world: &World<'_>, model: &str, wanted: &BTreeMap<String, u32>) -> Result<()> {
    let path = world.work_file(model)?;
    let present = world.engine.containers(world.project()).await?;
    let count = |name: &str| present.iter().filter(|c| c.service == name && !c.one_off).count() as u32;
    let mut scales = wanted.clone();
    // Compose disables a service that neither is named nor depended on, and refuses its scale.
    for name in with_dependencies(&Model::from_file(&path)?.services(), wanted.keys()) {
        let present = count(&name);
        scales.entry(name).or_insert(present);
    }
    let services: Vec<String> = wanted.keys().cloned().collect();
    let current = world.layout().current();
    let warnings = world.compose.create_beside(world.project(), &current, &path, &scales, &services).await?;
    for text in warnings {
        world.progress.note(Step::StartingServices, Say::Warning { text });
    }
    Ok(())
}

/// `names` and all they depend on: the services Compose looks at when it is told to create `names`.
fn with_dependencies<'a>(services: &[Service], names: impl Iterator<Item = &'a String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = names.cloned().collect();
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            let service = services.iter().find(|service| service.name == name);
            open.extend(service.into_iter().flat_map(|service| service.depends_on.clone()));
        }
    }
    found
}

/// Replaces the stopped containers of a service that cannot exist twice by new ones of `model`, not started.
pub async fn replace(world: &World<'_>, model: &str, service: &ServicePlan) -> Result<()> {
    let (project, current, path) = (world.project(), world.layout().current(), world.work_file(model)?);
    if !settle_half_made(world, &service.name).await? {
        let names = std::slice::from_ref(&service.name);
        for text in world.compose.recreate(project, &current, &path, names).await? {
            world.progress.note(Step::StartingServices, Say::Warning { text });
        }
    }
    world.engine.settle_recreated(world.compose, project, &current, &path, &service.name).await
}

/// Deals with a replacement that Compose did not bring to its end: the new container still has the name it is made
/// under, the old one's ID before its own. While the old one is there it is made anew; where it is gone, the new one takes
/// its name, and that is the end of the replacement.
async fn settle_half_made(world: &World<'_>, service: &str) -> Result<bool> {
    let all = world.engine.containers(world.project()).await?;
    let own: Vec<&Container> = all.iter().filter(|one| one.service == service && !one.one_off).collect();
    let whole = own.iter().any(|one| half_made(&one.name).is_none());
    let mut settled = false;
    for one in &own {
        match half_made(&one.name) {
            Some(_) if whole => world.engine.remove(&one.id, false).await?,
            Some(name) => {
                world.engine.rename(&one.id, name).await?;
                settled = true;
            }
            None => {}
        }
    }
    Ok(settled)
}

/// The name that a container under Compose's name for the time being is to have.
pub fn half_made(name: &str) -> Option<&str> {
    let (id, rest) = name.split_once('_')?;
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(rest)
}

fn beside(world: &World<'_>) -> Result<Vec<ServicePlan>> {
    let services = world.change()?.services.iter();
    Ok(services.filter(|s| matches!(s.action, Action::Swap | Action::Add)).cloned().collect())
}

/// The containers of a service that were not there when the change was planned.
pub async fn extra(world: &World<'_>, service: &ServicePlan) -> Result<Vec<Container>> {
    let all = world.engine.containers(world.project()).await?;
    let remade = world.facts().remade.get(&service.name).cloned().unwrap_or_default();
    let mut found: Vec<Container> = all
        .into_iter()
        .filter(|c| c.service == service.name && !c.one_off)
        .filter(|c| !service.old.contains_key(&c.id) && !remade.contains(&c.id))
        .collect();
    found.sort_by_key(|container| container.number);
    Ok(found)
}

/// What Compose made must be what was planned.
pub fn check_created(service: &ServicePlan, created: &[Container]) -> Result<()> {
    if created.len() != service.replicas as usize {
        let cause = format!("Compose made {} containers instead of {}", created.len(), service.replicas);
        return Err(Fault::new(Code::ComposeFailed, &service.name, cause));
    }
    for container in created {
        if service.image_id.as_ref().is_some_and(|planned| *planned != container.image_id) {
            let cause = format!("container {} has image {}", container.name, container.image_id);
            return Err(Fault::new(Code::ImageWrong, &service.name, cause));
        }
    }
    Ok(())
}

/// Removes what [`create`] made: containers, and networks and volumes that are new with this change.
pub async fn remove_created(world: &mut World<'_>) -> Result<()> {
    for service in beside(world)? {
        for container in extra(world, &service).await? {
            put_down(world, &container.id, grace(&service)).await?;
            world.engine.remove(&container.id, has_own_volumes(&service)).await?;
        }
    }
    remove_new_resources(world).await
}

/// Whether the volumes without a name of the service's new containers hold nothing but what these wrote: no container was
/// there before from which Compose could have carried them over.
fn has_own_volumes(service: &ServicePlan) -> bool {
    service.action == Action::Add && service.old.is_empty()
}

/// Removes the networks and volumes that the new release names and that were not there before: such a volume holds
/// nothing but what the failed version wrote. What else bears the project's name since then is somebody's own.
async fn remove_new_resources(world: &mut World<'_>) -> Result<()> {
    let (change, project) = (world.change()?.clone(), world.project().to_owned());
    let model = Model::from_file(&world.work_file(NEW_MODEL)?)?;
    let own = |of: Vec<Resource>| -> BTreeSet<String> {
        of.into_iter().filter(|one| !one.external).map(|one| one.name).collect()
    };
    let (networks, volumes) = (own(model.networks()), own(model.volumes()));
    let mut strange = Vec::new();
    for network in world.engine.project_networks(&project).await? {
        match change.networks_before.contains(&network) {
            true => {}
            false if networks.contains(&network) => world.engine.remove_network(&network).await?,
            false => strange.push(network),
        }
    }
    for volume in world.engine.project_volumes(&project).await? {
        match change.volumes_before.contains(&volume) {
            true => {}
            false if volumes.contains(&volume) => world.engine.remove_volume(&volume).await?,
            false => strange.push(volume),
        }
    }
    for name in strange {
        world.warn(Step::RollingBack, Say::Data(DataNote::Strange { name }))?;
    }
    Ok(())
}

/// Checks what can be checked before anything stops: no port the new ones publish is held by somebody else. An old
/// container that somebody removed meanwhile is told; going back would make it again.
pub async fn protect(world: &mut World<'_>) -> Result<()> {
    let present = world.engine.containers(world.project()).await?;
    let is_there = |id: &String| present.iter().any(|container| container.id == *id);
    let services =
        world.change()?.services.iter().filter(|service| !service.was_running.iter().all(is_there));
    let gone: Vec<String> = services.map(|service| service.name.clone()).collect();
    for service in gone {
        world.warn(Step::VerifyingServices, Say::ContainerGone { service })?;
    }
    analyse::check_ports(world).await
}

/// Stops services before their data is touched.
pub async fn stop(world: &mut World<'_>, services: &[String]) -> Result<()> {
    mark_touched(world)?;
    for name in services {
        let service = world.plan.service(name)?.clone();
        stop_old(world, &service).await?;
    }
    Ok(())
}

/// What is asked of a container of `service`: of one that is `planned` its image, too, and of one that ran before only
/// that it gets well in time. On a busy machine a good one may be unhealthy for a while, and giving it up is dear.
pub fn watched(service: &ServicePlan, id: String, timeout: Duration, planned: bool) -> Watched {
    Watched {
        service: service.name.clone(),
        container: id,
        policy: ReadyPolicy {
            timeout,
            patient: service.patient,
            may_recover: !planned || service.action == Action::Unchanged,
            stability: Duration::from_millis(service.stability_ms),
            one_shot: service.one_shot,
            image_ids: service.image_id.iter().filter(|_| planned).cloned().collect(),
        },
    }
}

/// Starts containers of `service`, all of them before the first is waited for, and waits until they are ready.
pub async fn up_and_ready(
    world: &mut World<'_>,
    service: &ServicePlan,
    ids: &[String],
    timeout: Duration,
    planned: bool,
) -> Result<()> {
    for id in ids {
        put_up(world, id).await?;
    }
    for id in ids {
        world.engine.wait_ready(&watched(service, id.clone(), timeout, planned)).await?;
    }
    Ok(())
}

/// From now on a failure is a rollback.
pub fn mark_touched(world: &mut World<'_>) -> Result<()> {
    world.learn(|facts| facts.touched = true)
}

/// Stops a service's old containers and remembers when its downtime began.
pub async fn stop_old(world: &mut World<'_>, service: &ServicePlan) -> Result<()> {
    world.progress.note(Step::StoppingServices, Say::ServiceStopping { service: service.name.clone() });
    downtime_begins(world, &service.name)?;
    for id in service.old.keys() {
        put_down(world, id, grace(service)).await?;
    }
    Ok(())
}

/// Remembers that `service` is no longer what its users know.
pub fn downtime_begins(world: &mut World<'_>, service: &str) -> Result<()> {
    let now = Moment::now();
    world.learn(|facts| {
        facts.stopped_at.entry(service.to_owned()).or_insert(now);
    })
}

/// How long `service` has not been what its users know, in milliseconds, where it was stopped.
pub fn downtime_of(world: &World<'_>, service: &str) -> Option<u64> {
    world.facts().stopped_at.get(service).map(|stopped| stopped.elapsed().as_millis() as u64)
}

/// Stops a container so that it stays stopped: one that the engine always starts would come back, beside the one that
/// took its place, with the next start of the engine.
pub async fn put_down(world: &mut World<'_>, id: &str, grace: Option<Duration>) -> Result<()> {
    let policy = world.engine.container(id).await?.map(|container| container.restart_policy);
    if let Some(policy) = policy.filter(|policy| policy == "always") {
        world.learn(|facts| {
            facts.restart_policies.insert(id.to_owned(), policy);
        })?;
        world.engine.set_restart_policy(id, "no").await?;
    }
    world.started.remove(id);
    world.stopped.insert(id.to_owned());
    world.engine.stop(id, grace).await
}

/// Starts a container, with the restart policy that [`put_down`] took from it.
pub async fn put_up(world: &mut World<'_>, id: &str) -> Result<()> {
    if let Some(policy) = world.facts().restart_policies.get(id).cloned() {
        world.engine.set_restart_policy(id, &policy).await?;
    }
    world.stopped.remove(id);
    world.started.insert(id.to_owned());
    world.engine.start(id).await
}

/// How long the containers of a service may take to stop.
pub fn grace(service: &ServicePlan) -> Option<Duration> {
    service.stop_grace_ms.map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_that_was_not_finished_is_known_by_its_name() {
        assert_eq!(half_made("1b4894d11e9c_shop-web-1"), Some("shop-web-1"));
        for whole in ["shop-web-1", "my_shop-web-1", "1b4894d11e9x_web", "1b4894d11e9c"] {
            assert_eq!(half_made(whole), None, "{whole}");
        }
    }

    #[test]
    fn compose_looks_at_a_service_and_all_below_it() {
        let service = |name: &str, after: &[&str]| Service {
            name: name.into(),
            depends_on: after.iter().map(|name| (*name).to_owned()).collect(),
            ..Service::default()
        };
        let services =
            [service("web", &["api"]), service("api", &["db"]), service("db", &[]), service("job", &["db"])];
        let wanted = ["web".to_owned()];
        let found: Vec<String> = with_dependencies(&services, wanted.iter()).into_iter().collect();
        assert_eq!(found, ["api", "db", "web"]);
    }
}
