//! Data that lies on the host outside of the installation, or in volumes without a name. A folder of the host may be
//! other programs' as well, and a restore replaces what is in it: it is backed up only where the operator names it. What
//! nobody named is told.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::data::{Data, Place, Purpose, excludes, info_of};
use crate::backup::PartKind;
use crate::docker::{Container, Model, MountKind, Service, ServiceMount};
use crate::fault::{Code, Fault, Result};
use crate::messages::DataNote;
use crate::release::ReleaseInfo;
use crate::settings::{DataPolicy, Piece};
use crate::upgrade::world::World;

/// Where systems keep what is no data: devices, the kernel's files, sockets and the like.
const SYSTEM: [&str; 5] = ["/dev", "/proc", "/sys", "/run", "/var/run"];

/// The paths of the host that the settings name and a service of the stack mounts, whole or in part.
pub fn named<'w>(world: &'w World<'_>, model: &Model) -> Vec<(&'w str, &'w DataPolicy)> {
    let sources = host_sources(model);
    let mounted = |path: &Path| sources.iter().any(|one| one.starts_with(path) || path.starts_with(one));
    let said = world.installation.settings.backup.data.iter();
    let paths = said.filter(|(name, _)| name.starts_with('/') && mounted(Path::new(name)));
    paths.map(|(name, policy)| (name.as_str(), policy)).collect()
}

fn host_sources(model: &Model) -> BTreeSet<PathBuf> {
    model.services().iter().flat_map(Service::host_paths).collect()
}

/// Them as data.
pub fn data(world: &World<'_>, model: &Model, purpose: Purpose) -> Result<Vec<Data>> {
    let mut found = Vec::new();
    for (name, policy) in named(world, model) {
        let invalid = |cause: &str| {
            let file = world.layout().settings();
            Fault::new(Code::ConfigInvalid, file.display(), format!("backup.data.\"{name}\": {cause}"))
        };
        if !world.engine.is_local() {
            return Err(invalid("the engine is on another machine, and so is the path"));
        }
        let path = Path::new(name);
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && purpose == Purpose::Backup => {
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => path.to_owned(),
            Err(error) => return Err(Fault::io(path, error)),
        };
        let root = world.layout().root();
        let root = root.canonicalize().map_err(|error| Fault::io(root, error))?;
        if real.starts_with(&root) || root.starts_with(&real) {
            return Err(invalid("the installation is in it, or it is in the installation; see 'persist'"));
        }
        found.push(Data {
            name: Piece::Host(name).part(),
            kind: PartKind::Host { path: name.to_owned() },
            place: Place::Disk(real),
            policy: policy.clone(),
            said_of: Some(name.to_owned()),
        });
    }
    Ok(found)
}

/// What services write that no backup has: outside of `data`, and not named by `exclude`.
pub fn unkept(
    world: &World<'_>,
    model: &Model,
    containers: &[Container],
    data: &[Data],
) -> Result<BTreeSet<DataNote>> {
    let info = info_of(world)?;
    let names: Vec<&String> = excludes(world, &info).collect();
    let excluded = |name: &str| names.iter().any(|other| *other == name);
    let current = world.layout().current();
    let mut found = BTreeSet::new();
    let shared = real(&world.layout().shared());
    let kept = |path: &Path| {
        let inside = |one: &Data| matches!(&one.place, Place::Disk(place) if path.starts_with(place));
        // What is left out of `shared` is so because somebody said it.
        path.starts_with(&shared) || data.iter().any(inside)
    };
    for service in model.services() {
        for mount in &service.mounts {
            let ServiceMount::Bind { source, writable: true, .. } = mount else { continue };
            let path = real(source);
            if !holds_data(&path) || kept(&path) {
                continue;
            }
            let service = service.name.clone();
            let inside = source.strip_prefix(&current).ok();
            if inside.is_some_and(|inside| !is_written(&path, inside, &info)) {
                continue;
            }
            let path = inside.unwrap_or(source).to_string_lossy().into_owned();
            if !excluded(&path) {
                found.insert(match inside {
                    Some(_) => DataNote::InRelease { service, path },
                    None => DataNote::OnHost { service, path },
                });
            }
        }
    }
    let named: BTreeSet<String> = model.volumes().into_iter().map(|volume| volume.name).collect();
    for container in containers.iter().filter(|one| model.service(&one.service).is_some()) {
        for mount in container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume && mount.writable)
        {
            let is_named = mount.name.as_ref().is_some_and(|name| named.contains(name));
            let (service, path) = (container.service.clone(), mount.destination.clone());
            if !is_named && !excluded(&format!("{service}:{path}")) {
                found.insert(DataNote::Unnamed { service, path });
            }
        }
    }
    Ok(found)
}

/// Whether something lies at `path`, which is `inside` of the release folder, that did not come with the release. Many
/// stacks mount shipped files without saying that they are only read; what is edited in those is noticed anyway.
fn is_written(path: &Path, inside: &Path, info: &ReleaseInfo) -> bool {
    let shipped: BTreeSet<&Path> = info.files.iter().map(|file| Path::new(&file.path)).collect();
    let files = walkdir::WalkDir::new(path).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let mut relative = files.map(|entry| {
        let below = entry.path().strip_prefix(path).unwrap_or(Path::new(""));
        if below.as_os_str().is_empty() { inside.to_owned() } else { inside.join(below) }
    });
    relative.any(|file| !shipped.contains(file.as_path()))
}

/// Where a path leads, as far as that can be seen.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Whether data may be there: sockets, devices and the system's own folders are for other things.
fn holds_data(path: &Path) -> bool {
    let system = SYSTEM.iter().any(|system| path.starts_with(system)) || path.parent().is_none();
    // What is not there yet is made by the engine, as a folder.
    !system && path.metadata().map_or(true, |found| found.is_dir() || found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_devices_and_the_system_s_folders_are_no_data() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, expected) in [
            (dir.path(), true),
            (&file, true),
            (&dir.path().join("later"), true),
            (&socket, false),
            (Path::new("/"), false),
            (Path::new("/dev/ttyUSB0"), false),
            (Path::new("/run/docker.sock"), false),
            (Path::new("/sys/class"), false),
        ] {
            assert_eq!(holds_data(path), expected, "{}", path.display());
        }
    }
}
