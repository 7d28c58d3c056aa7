//! How the services of the release that is installed stand: what is missing, does not run, or is another one's.

use std::collections::BTreeSet;

use super::analyse::same_image;
use super::change::Tools;
use super::installation::Installation;
use super::{origin, pointers, releases};
use crate::docker::{Container, Engine, Health, Service};
use crate::fault::Result;
use crate::layout::Pointer;
use crate::release::{ReleaseInfo, Version};

/// A service that is not as its release wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The service.
    pub service: String,
    /// What is wrong with it.
    pub kind: Kind,
}

/// What is wrong with a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// It has no container.
    Missing,
    /// This container of it does not run.
    Stopped(String, &'static str),
    /// This container of it was not made from the image of the release.
    Foreign(String),
    /// The healthcheck of this container says no.
    Unhealthy(String),
}

/// What is wrong with the services of the version that is installed; none where all is well.
pub async fn troubles(installation: &Installation, tools: &Tools, version: &Version) -> Result<Vec<Trouble>> {
    let info = releases::require(&installation.layout, version)?;
    let containers = tools.engine.containers(&installation.settings.project).await?;
    let mut found = Vec::new();
    for service in services(installation, tools, &info).await? {
        let own: Vec<&Container> =
            containers.iter().filter(|one| one.service == service.name && !one.one_off).collect();
        if own.is_empty() && is_wanted(&service, &info) {
            found.push(Trouble { service: service.name.clone(), kind: Kind::Missing });
        }
        let kinds = own.into_iter().filter_map(|one| trouble(one, &service, &info));
        found.extend(kinds.map(|kind| Trouble { service: service.name.clone(), kind }));
    }
    Ok(found)
}

/// Whether no service has a container: a person took the whole stack down, and brings it up again.
pub async fn is_down(installation: &Installation, tools: &Tools) -> Result<bool> {
    let containers = tools.engine.containers(&installation.settings.project).await?;
    Ok(containers.iter().all(|one| one.one_off))
}

/// The services that had a container and have none any more: somebody removed it. None where the whole stack is down.
pub async fn removed(installation: &Installation, tools: &Tools) -> Result<Vec<String>> {
    let containers = tools.engine.containers(&installation.settings.project).await?;
    let there: BTreeSet<&str> = containers.iter().map(|one| one.service.as_str()).collect();
    if containers.iter().all(|one| one.one_off) {
        return Ok(Vec::new());
    }
    let mut gone = installation.store.with(origin::services)?;
    gone.retain(|service| !there.contains(service.as_str()));
    // Compose is asked only then: an upgrade that has nothing to do is quick.
    let version = pointers::read(&installation.layout, Pointer::Current)?;
    let Some(version) = version.filter(|_| !gone.is_empty()) else { return Ok(Vec::new()) };
    let info = releases::require(&installation.layout, &version)?;
    let services = services(installation, tools, &info).await?;
    gone.retain(|name| services.iter().any(|one| one.name == *name && is_wanted(one, &info)));
    Ok(gone.into_iter().collect())
}

async fn services(installation: &Installation, tools: &Tools, info: &ReleaseInfo) -> Result<Vec<Service>> {
    let layout = &installation.layout;
    let folder = layout.release(&info.version.to_string());
    let project = &installation.settings.project;
    Ok(tools.compose.compile(project, &folder, &info.compose, &layout.current()).await?.model.services())
}

/// Whether it should have a container; a job that was done needs none.
fn is_wanted(service: &Service, info: &ReleaseInfo) -> bool {
    service.replicas > 0 && !is_one_shot(service, info)
}

fn is_one_shot(service: &Service, info: &ReleaseInfo) -> bool {
    service.one_shot || info.services.get(&service.name).is_some_and(|policy| policy.one_shot)
}

fn trouble(container: &Container, service: &Service, info: &ReleaseInfo) -> Option<Kind> {
    let name = container.name.clone();
    let image = service.image.as_deref();
    let wanted = image.and_then(|image| info.images.iter().find(|one| same_image(&one.reference, image)));
    if wanted.is_some_and(|wanted| !Engine::is_image(wanted, &container.image_id)) {
        return Some(Kind::Foreign(name));
    }
    if !container.is_running() {
        let is_done = is_one_shot(service, info) && container.exit_code == 0;
        return (!is_done).then(|| Kind::Stopped(name, container.state.name()));
    }
    (container.health == Health::Unhealthy).then_some(Kind::Unhealthy(name))
}
