//! The stack's data: what it is, where it lies, and who has it.

use std::collections::{BTreeMap, BTreeSet};

use crate::backup::{Origin, Part, PartKind};
use crate::docker::{Container, Model, Service};
use crate::fault::{Code, Fault, Result};
use crate::release::ReleaseInfo;
use crate::upgrade::releases;
use crate::upgrade::world::World;

/// Where a part of the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine's disk.
    Disk(std::path::PathBuf),
    /// Only through the engine: the volume, a container that mounts it, and the path in there.
    Engine { volume: String, container: String, path: String },
}

/// What the data is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It is read.
    Backup,
    /// It is replaced.
    Restore,
}

/// One part of the stack's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// In the archive.
    pub name: String,
    /// Where it belongs.
    pub kind: PartKind,
    /// Where it is.
    pub place: Place,
}

/// Whether that part is restored; others are left alone.
fn is_wanted(world: &World<'_>, part: &str) -> bool {
    world.plan.only.is_empty() || world.plan.only.iter().any(|only| only == part)
}

/// The services whose containers mount data that is restored.
pub fn holders(world: &World<'_>, model: &Model) -> BTreeSet<String> {
    let current = world.layout().current();
    let persist = world.target().map(|info| releases::persist(&info, &world.installation.settings));
    let persist = persist.unwrap_or_default();
    let persist = persist.iter().filter(|path| is_wanted(world, &path_part(path)));
    let paths: Vec<_> = persist.map(|path| current.join(path)).collect();
    let holds = |service: &Service| {
        let inside = |mount: &std::path::PathBuf| paths.iter().any(|path| mount.starts_with(path));
        service.volumes().any(|(key, _)| is_wanted(world, &volume_part(key)))
            || service.host_paths().iter().any(inside)
    };
    model.services().into_iter().filter(holds).map(|service| service.name).collect()
}

/// Every named volume and persist path of the release that runs, less what is excluded.
pub async fn all_data(
    world: &World<'_>,
    model: &Model,
    containers: &[Container],
    purpose: Purpose,
) -> Result<Vec<Data>> {
    let info = match &world.plan.from {
        Some(from) => match releases::info(world.layout(), from)? {
            Some(info) => info,
            None => world.target()?,
        },
        None => world.target()?,
    };
    let excluded = |key: &str| excludes(world, &info).any(|pattern| pattern == key);
    let mut volumes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for service in model.services() {
        for (key, path) in service.volumes() {
            volumes.entry(key.to_owned()).or_default().push((service.name.clone(), path.to_owned()));
        }
    }
    let mut data = Vec::new();
    for (key, uses) in volumes.into_iter().filter(|(key, _)| !excluded(key)) {
        let Some(name) = volume_name(model, &key) else { continue };
        let Some(volume) = world.engine.volume(&name).await? else { continue };
        let on_disk = volume.local_plain && world.engine.is_local() && volume.mountpoint.read_dir().is_ok();
        let place = match on_disk.then_some(volume.mountpoint) {
            Some(folder) => Some(Place::Disk(folder)),
            None => uses.iter().find_map(|(service, path)| {
                let container = containers.iter().find(|container| container.service == *service)?;
                let (container, path) = (container.id.clone(), path.clone());
                Some(Place::Engine { volume: name.clone(), container, path })
            }),
        };
        let place = place.ok_or_else(|| {
            Fault::new(Code::BackupFailed, name, "no container mounts the volume, so it cannot be read")
        })?;
        data.push(Data { name: volume_part(&key), kind: PartKind::Volume { volume: key }, place });
    }
    for path in releases::persist(&info, &world.installation.settings) {
        // Containers are made from what .env says now; another one under them would not be theirs.
        if purpose == Purpose::Restore && path == ".env" {
            continue;
        }
        let shared = world.layout().shared().join(&path);
        if excluded(&path) {
            continue;
        }
        // After an adoption the data is elsewhere, behind a link. What is gone can still be restored.
        let real = match shared.canonicalize() {
            Ok(real) => real,
            Err(_) if purpose == Purpose::Restore => shared,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Fault::io(&shared, error)),
        };
        data.push(Data { name: path_part(&path), kind: PartKind::Path { path }, place: Place::Disk(real) });
    }
    if purpose == Purpose::Restore {
        data.retain(|data| is_wanted(world, &data.name));
    }
    Ok(data)
}

/// The name of a volume's part in an archive.
fn volume_part(key: &str) -> String {
    format!("volumes/{key}")
}

/// That of a persist path.
fn path_part(path: &str) -> String {
    format!("persist/{path}")
}

fn excludes<'a>(world: &'a World<'_>, info: &'a ReleaseInfo) -> impl Iterator<Item = &'a String> {
    info.backup.exclude.iter().chain(&world.installation.settings.backup.exclude)
}

/// It, as a backup takes it.
pub async fn part(world: &World<'_>, data: &Data) -> Result<Part> {
    let origin = match &data.place {
        Place::Disk(path) => Origin::Disk(path.clone()),
        Place::Engine { container, path, .. } => {
            Origin::Tar(Box::new(world.engine.archive(container, path).await?))
        }
    };
    Ok(Part { name: data.name.clone(), kind: data.kind.clone(), origin })
}

/// The real name of the volume a Compose key stands for.
fn volume_name(model: &Model, key: &str) -> Option<String> {
    model.volumes().into_iter().find(|volume| volume.key == key).map(|volume| volume.name)
}

/// Whether a container mounts any of the data.
pub fn mounts_any(container: &Container, model: &Model, data: &[Data]) -> bool {
    data.iter().any(|data| match (&data.kind, &data.place) {
        (PartKind::Volume { volume }, _) => {
            volume_name(model, volume).is_some_and(|name| container.mounts_volume(&name))
        }
        (PartKind::Path { .. }, Place::Disk(folder)) => container.host_paths().any(|path| {
            std::path::Path::new(path)
                .canonicalize()
                .is_ok_and(|real| real.starts_with(folder) || folder.starts_with(&real))
        }),
        (PartKind::Path { .. }, Place::Engine { .. }) => false,
    })
}
