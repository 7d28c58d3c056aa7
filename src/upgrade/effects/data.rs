//! The stack's data: what it is, where it lies, and who has it.

use std::collections::{BTreeMap, BTreeSet};

use super::host;
use super::volume::Volume;
use crate::backup::{Origin, Part, PartKind, Selection};
use crate::docker::{Container, Model, Service};
use crate::fault::{Code, Fault, Result};
use crate::release::ReleaseInfo;
use crate::settings::{DataPolicy, Piece, Way};
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
    /// How it is backed up.
    pub policy: DataPolicy,
    /// The name in `[backup.data]` that says so; none where nothing does.
    pub said_of: Option<String>,
}

impl Data {
    /// The name under which a command is said to give it, and the service that the command runs in.
    pub fn hook(&self) -> Option<(&str, &str)> {
        let service = self.policy.service.as_deref().filter(|_| self.policy.way == Way::Hook)?;
        Some((self.said_of.as_deref()?, service))
    }

    fn selection(&self) -> Selection {
        Selection { include: self.policy.include.clone(), exclude: self.policy.exclude.clone() }
    }
}

/// Whether that part is restored, wholly or in part; others are left alone.
pub fn is_wanted(world: &World<'_>, part: &str) -> bool {
    let only = &world.plan.only;
    only.is_empty() || only.iter().any(|only| only == part) || !inside(only, part).is_empty()
}

/// Of `only`, the paths inside `part`, relative to it; empty where the whole of it is meant.
pub fn inside(only: &[String], part: &str) -> Vec<String> {
    if only.iter().any(|only| only == part) {
        return Vec::new();
    }
    let below = |only: &String| Some(only.strip_prefix(part)?.strip_prefix('/')?.to_owned());
    only.iter().filter_map(below).collect()
}

/// The services whose containers mount data that is restored.
pub fn holders(world: &World<'_>, model: &Model) -> BTreeSet<String> {
    let current = world.layout().current();
    let persist = world.target().map(|info| releases::persist(&info, &world.installation.settings));
    let persist = persist.unwrap_or_default();
    let persist = persist.iter().filter(|path| is_wanted(world, &Piece::Path(path).part()));
    let mut paths: Vec<_> = persist.map(|path| current.join(path)).collect();
    let named = host::named(world, model).into_iter().map(|(name, _)| name);
    let named = named.filter(|name| is_wanted(world, &Piece::Host(name).part()));
    paths.extend(named.map(Into::into));
    let holds = |service: &Service| {
        let inside = |mount: &std::path::PathBuf| paths.iter().any(|path| mount.starts_with(path));
        service.volumes().any(|(key, _)| is_wanted(world, &Piece::Volume(key).part()))
            || service.host_paths().iter().any(inside)
    };
    model.services().into_iter().filter(holds).map(|service| service.name).collect()
}

/// Every named volume and persist path of the release that runs, and every path of the host that is named, less what is
/// excluded.
pub async fn all_data(
    world: &World<'_>,
    model: &Model,
    containers: &[Container],
    purpose: Purpose,
) -> Result<Vec<Data>> {
    let info = info_of(world)?;
    let excluded = |piece: Piece<'_>| excludes(world, &info).any(|name| piece.is_named(name));
    let mut volumes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for service in model.services() {
        for (key, path) in service.volumes() {
            volumes.entry(key.to_owned()).or_default().push((service.name.clone(), path.to_owned()));
        }
    }
    let mut data = Vec::new();
    for (key, uses) in volumes.into_iter().filter(|(key, _)| !excluded(Piece::Volume(key))) {
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
        let piece = Piece::Volume(&key);
        let (said_of, policy) = policy_of(world, &info, model, piece);
        let name = piece.part();
        data.push(Data { name, kind: PartKind::Volume { volume: key }, place, policy, said_of });
    }
    for path in releases::persist(&info, &world.installation.settings) {
        // Containers are made from what .env says now; another one under them would not be theirs.
        if purpose == Purpose::Restore && path == ".env" {
            continue;
        }
        let shared = world.layout().shared().join(&path);
        if excluded(Piece::Path(&path)) {
            continue;
        }
        // After an adoption the data is elsewhere, behind a link. What is gone can still be restored.
        let real = match shared.canonicalize() {
            Ok(real) => real,
            Err(_) if purpose == Purpose::Restore => shared,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Fault::io(&shared, error)),
        };
        let piece = Piece::Path(&path);
        let (said_of, policy) = policy_of(world, &info, model, piece);
        let name = piece.part();
        data.push(Data { name, kind: PartKind::Path { path }, place: Place::Disk(real), policy, said_of });
    }
    data.extend(host::data(world, model, purpose)?.into_iter().filter(|data| match &data.kind {
        PartKind::Host { path } => !excluded(Piece::Host(path)),
        _ => true,
    }));
    if purpose == Purpose::Restore {
        data.retain(|data| is_wanted(world, &data.name));
    }
    Ok(data)
}

/// The release whose data it is.
pub fn info_of(world: &World<'_>) -> Result<ReleaseInfo> {
    match &world.plan.from {
        Some(from) => releases::info(world.layout(), from)?.map_or_else(|| world.target(), Ok),
        None => world.target(),
    }
}

/// How a piece of data is backed up, and the name that says so: as the operator says, else as the release says.
fn policy_of(
    world: &World<'_>,
    info: &ReleaseInfo,
    model: &Model,
    piece: Piece<'_>,
) -> (Option<String>, DataPolicy) {
    let sayings = [&world.installation.settings.backup.data, &info.backup.data];
    let shared = match piece {
        Piece::Path(path) => model.volumes().iter().any(|volume| volume.key == path),
        Piece::Volume(_) | Piece::Host(_) => false,
    };
    let said = piece.policy(sayings, shared);
    said.map_or_else(Default::default, |(name, policy)| (Some(name), policy.clone()))
}

/// Of the names in the settings, those that do not mean what their writer may have had in mind.
pub struct Doubtful {
    /// What the operator's settings name that is no piece of the stack's data.
    pub unknown: Vec<String>,
    /// What is left out under a name that a volume and a persist path have both.
    pub both: Vec<String>,
}

/// Looks at the names in the settings.
pub fn doubtful_names(world: &World<'_>, model: &Model) -> Result<Doubtful> {
    let (info, settings) = (info_of(world)?, &world.installation.settings);
    let (volumes, paths) = (model.volumes(), releases::persist(&info, settings));
    let is_volume = |name: &String| volumes.iter().any(|volume| Piece::Volume(&volume.key).is_named(name));
    let is_path = |name: &String| paths.iter().any(|path| Piece::Path(path).is_named(name));
    let hosts = host::named(world, model);
    let is_host = |name: &String| hosts.iter().any(|(host, _)| host == name);
    let is_known = |name: &&String| {
        settings.backup.exclude.contains(name) || is_volume(name) || is_path(name) || is_host(name)
    };
    let unknown = settings.backup.data.keys().filter(|name| !is_known(name)).cloned().collect();
    // Every release has the usual persist paths, also where there is nothing in them.
    let is_there = |name: &String| world.layout().shared().join(name).exists();
    let both = excludes(world, &info).filter(|name| is_volume(name) && is_path(name) && is_there(name));
    let both: BTreeSet<String> = both.cloned().collect();
    Ok(Doubtful { unknown, both: both.into_iter().collect() })
}

/// The names of what is left out.
pub fn excludes<'a>(world: &'a World<'_>, info: &'a ReleaseInfo) -> impl Iterator<Item = &'a String> {
    info.backup.exclude.iter().chain(&world.installation.settings.backup.exclude)
}

/// It, as a backup takes it.
pub fn part(world: &World<'_>, data: &Data) -> Part {
    let origin = match &data.place {
        Place::Disk(path) => Origin::Disk(path.clone()),
        Place::Engine { volume, container, path } => {
            let volume = Volume::new(world.project(), container.clone(), volume.clone());
            let (engine, path, selection) = (world.engine.clone(), path.clone(), data.selection());
            let runtime = tokio::runtime::Handle::current();
            // Not before nothing writes to it any more.
            Origin::Later(Box::new(move || {
                Ok(Box::new(runtime.block_on(volume.read(&engine, selection, &path))?))
            }))
        }
    };
    let part = Part::new(data.name.clone(), data.kind.clone(), origin);
    Part { selection: data.selection(), live: data.policy.way == Way::Sqlite, ..part }
}

/// The real name of the volume a Compose key stands for.
fn volume_name(model: &Model, key: &str) -> Option<String> {
    model.volumes().into_iter().find(|volume| volume.key == key).map(|volume| volume.name)
}

/// Whether a container mounts any of the data.
pub fn mounts_any<'d>(
    container: &Container,
    model: &Model,
    data: impl IntoIterator<Item = &'d Data>,
) -> bool {
    data.into_iter().any(|data| match (&data.kind, &data.place) {
        (PartKind::Volume { volume }, _) => {
            volume_name(model, volume).is_some_and(|name| container.mounts_volume(&name))
        }
        (PartKind::Path { .. } | PartKind::Host { .. }, Place::Disk(folder)) => {
            container.host_paths().any(|path| {
                std::path::Path::new(path)
                    .canonicalize()
                    .is_ok_and(|real| real.starts_with(folder) || folder.starts_with(&real))
            })
        }
        _ => false,
    })
}
