//! The release folders: what is in them besides the release, and what may be removed.
//!
//! A release folder holds the stack files, `.release.json`, and `.pristine/` with the shipped form of every
//! file that an operator may change (declared config files, `.env`) or is likely to (Compose files, short texts). Paths that outlive releases are links
//! into `shared/`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::envfile;
use super::pointers;
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::{Layout, Pointer};
use crate::release::{ReleaseInfo, Version};
use crate::settings::Settings;

/// The description of a release, inside its folder.
pub const INFO: &str = ".release.json";
/// The shipped form of files that an operator may change, inside a release folder.
pub const PRISTINE: &str = ".pristine";

/// Text files up to this size are kept in their shipped form.
const SHORT: u64 = 64 * 1024;

/// What the release folder of `version` says it is; none where there is no such folder.
pub fn info(layout: &Layout, version: &Version) -> Result<Option<ReleaseInfo>> {
    let path = layout.release(&version.to_string()).join(INFO);
    match fs::read(&path) {
        Ok(bytes) => ReleaseInfo::from_json(&bytes, &path.display().to_string()).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io(&path, error)),
    }
}

/// The description inside the release folder `folder`.
pub fn read_info(folder: &Path) -> Result<ReleaseInfo> {
    let path = folder.join(INFO);
    ReleaseInfo::from_json(&fs::read(&path).at(&path)?, &path.display().to_string())
}

/// [`info`] of a version that must be there.
pub fn require(layout: &Layout, version: &Version) -> Result<ReleaseInfo> {
    info(layout, version)?.ok_or_else(|| {
        let folder = layout.release(&version.to_string());
        Fault::new(Code::ReleaseUnknown, version, format!("there is no {}", folder.join(INFO).display()))
    })
}

/// The versions whose folders are here, oldest first.
pub fn versions(layout: &Layout) -> Result<Vec<Version>> {
    let folder = layout.releases();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        let name = entry.at(&folder)?.file_name();
        if let Some(version) = name.to_str().and_then(|name| name.parse::<Version>().ok()) {
            found.push(version);
        }
    }
    found.sort();
    Ok(found)
}

/// The paths of a release that outlive it: what it declares and what the operator added.
pub fn persist(info: &ReleaseInfo, settings: &Settings) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for path in info.persist.iter().chain(&settings.persist) {
        let path = path.trim_end_matches('/').to_owned();
        let inside_another = |other: &String| path == *other || path.starts_with(&format!("{other}/"));
        if !paths.iter().any(inside_another) {
            paths.push(path);
        }
    }
    paths
}

/// The paths of a release whose content may differ from what was shipped.
pub fn editable(info: &ReleaseInfo, settings: &Settings) -> Vec<String> {
    let mut paths = persist(info, settings);
    paths.extend(info.config.iter().cloned());
    paths.extend([INFO.to_owned(), PRISTINE.to_owned()]);
    paths
}

/// Makes a freshly unpacked release folder ready to be used: keeps the shipped form of what an operator may
/// change, and replaces every persist path by a link into `shared/`, where missing content is put first.
///
/// `folder` may be a staging folder beside the final one: the links are relative to a folder in `releases/`.
pub fn adopt_shared(layout: &Layout, folder: &Path, info: &ReleaseInfo, settings: &Settings) -> Result<()> {
    let persist = persist(info, settings);
    let pristine = folder.join(PRISTINE);
    let editable: BTreeSet<&String> = info.config.iter().chain(&persist).chain(&info.compose).collect();
    let all = info.files.iter().map(|file| &file.path).chain(editable.iter().copied());
    for path in all.collect::<BTreeSet<_>>() {
        let shipped = folder.join(path);
        let file = shipped.is_file() && !shipped.is_symlink();
        if file && (editable.contains(path) || is_short_text(&shipped)?) {
            let kept = pristine.join(path);
            make_parent(&kept)?;
            fs::copy(&shipped, &kept).at(&kept)?;
        }
    }
    for path in &persist {
        link_shared(layout, folder, path)?;
    }
    name_project(layout, info, settings)
}

/// Whether a person may edit it though nobody said so: then what was changed is to be shown.
fn is_short_text(path: &Path) -> Result<bool> {
    if fs::metadata(path).at(path)?.len() > SHORT {
        return Ok(false);
    }
    let content = fs::read(path).at(path)?;
    Ok(!content.contains(&0) && std::str::from_utf8(&content).is_ok())
}

fn link_shared(layout: &Layout, folder: &Path, path: &str) -> Result<()> {
    let shared = layout.shared().join(path);
    let link = folder.join(path);
    make_parent(&shared)?;
    make_parent(&link)?;
    let shipped = fs::symlink_metadata(&link).ok();
    if fs::symlink_metadata(&shared).is_err() {
        match &shipped {
            Some(present) if present.is_file() => {
                fs::copy(&link, &shared).at(&shared)?;
            }
            // Only packages of the older kind bring content for such a folder.
            Some(present) if present.is_dir() => fs::rename(&link, &shared).at(&shared)?,
            _ if path == ".env" => fs::write(&shared, "").at(&shared)?,
            _ => fs::create_dir_all(&shared).at(&shared)?,
        }
        if path == ".env" {
            // It usually holds credentials.
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&shared, fs::Permissions::from_mode(0o600)).at(&shared)?;
        }
    }
    match fs::symlink_metadata(&link) {
        Ok(present) if present.is_dir() => fs::remove_dir_all(&link).at(&link)?,
        Ok(_) => fs::remove_file(&link).at(&link)?,
        Err(_) => {}
    }
    symlink(shared_link(path), &link).at(&link)
}

/// The text of the link at `path` of a release folder: `releases/<version>/` is two levels below the root, and
/// each folder within adds one.
pub fn shared_link(path: &str) -> String {
    let up = "../".repeat(2 + path.matches('/').count());
    format!("{up}shared/{path}")
}

/// An administrator who types `docker compose up -d` in `current/` must mean this project and this folder: Compose
/// itself would call the project `current`, and where no shell tells it the link's name, take `releases/…` for the
/// folder and every relative path for a changed one.
fn name_project(layout: &Layout, info: &ReleaseInfo, settings: &Settings) -> Result<()> {
    let path = layout.shared().join(".env");
    let Ok(present) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let wanted = envfile::with_default(&present, "COMPOSE_PROJECT_NAME", &settings.project);
    if wanted != present {
        replace_file(&path, wanted.as_bytes())?;
    }
    // Which files they are changes with `current`, not before; who took the key out does not get it back.
    let first = !layout.current().is_symlink() && envfile::value(&wanted, COMPOSE_FILE).is_none();
    if first && !path.is_symlink() {
        let text = envfile::with_value(&wanted, COMPOSE_FILE, &compose_files(layout, info));
        replace_file(&path, text.as_bytes())?;
    }
    Ok(())
}

/// Compose's own setting for the files it reads where none are named.
const COMPOSE_FILE: &str = "COMPOSE_FILE";

fn compose_files(layout: &Layout, info: &ReleaseInfo) -> String {
    let current = layout.current();
    let files: Vec<String> =
        info.compose.iter().map(|file| current.join(file).display().to_string()).collect();
    files.join(":")
}

/// Makes `COMPOSE_FILE` in `.env` name the Compose files of the release that `current` is now, where it is set and
/// nobody made it something else.
pub fn name_compose_files(layout: &Layout, info: &ReleaseInfo) -> Result<()> {
    let path = layout.shared().join(".env");
    let Ok(present) = fs::read_to_string(&path) else {
        return Ok(());
    };
    let ours =
        |value: &str| value.split(':').all(|file| Path::new(file).iter().any(|part| part == "current"));
    // In an adopted stack's own folder it would mislead who still works there.
    if path.is_symlink() || !envfile::value(&present, COMPOSE_FILE).is_some_and(ours) {
        return Ok(());
    }
    let wanted = envfile::with_value(&present, COMPOSE_FILE, &compose_files(layout, info));
    if wanted == present { Ok(()) } else { replace_file(&path, wanted.as_bytes()) }
}

/// Replaces the content of the file at `path` (through a link, in its target) atomically, keeping its mode and
/// owner.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let real = path.canonicalize().at(path)?;
    let present = fs::metadata(&real).at(&real)?;
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = real.with_file_name(format!(".{name}.next"));
    durable::write_private(&beside, content)?;
    fs::set_permissions(&beside, present.permissions()).at(&beside)?;
    use std::os::unix::fs::MetadataExt;
    if fs::metadata(&beside).at(&beside)?.uid() != present.uid() {
        std::os::unix::fs::chown(&beside, Some(present.uid()), Some(present.gid())).at(&beside)?;
    }
    fs::File::open(&beside).and_then(|file| file.sync_all()).at(&beside)?;
    durable::rename(&beside, &real)
}

/// Puts the finished staging folder in the place of the release folder of `version`. Where there is one
/// already (a reinstall), the two change places in one step, and the former is in the staging place after.
pub fn put_in_place(layout: &Layout, staging: &Path, version: &Version) -> Result<()> {
    let place = layout.release(&version.to_string());
    if place.exists() {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        renameat_with(CWD, staging, CWD, &place, RenameFlags::EXCHANGE)
            .map_err(|error| Fault::io(&place, error.into()))?;
    } else {
        fs::rename(staging, &place).at(&place)?;
    }
    durable::sync_folder(&layout.releases())
}

/// The release folders that may go: neither pointed to, nor in use by a living container, nor among the `keep`
/// newest others.
pub fn superfluous(layout: &Layout, in_use: &BTreeSet<Version>, keep: usize) -> Result<Vec<Version>> {
    let mut pointed = BTreeSet::new();
    for pointer in Pointer::ALL {
        pointed.extend(pointers::read(layout, pointer)?);
    }
    let others = versions(layout)?.into_iter().rev();
    let others: Vec<Version> = others.filter(|version| !pointed.contains(version)).collect();
    Ok(others.into_iter().skip(keep).filter(|version| !in_use.contains(version)).collect())
}

/// Left-over staging folders in `releases/`.
pub fn leftovers(layout: &Layout) -> Result<Vec<PathBuf>> {
    let folder = layout.releases();
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        let entry = entry.at(&folder)?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Creates the folder `path` lies in.
pub fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).at(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(config: &[&str], persist: &[&str]) -> ReleaseInfo {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        let json = serde_json::json!({"schema": 1, "name": "x", "version": "1.0.0", "arch": "any",
            "compose": ["compose.yaml"], "persist": list(persist), "config": list(config), "images": [], "files": []});
        ReleaseInfo::from_json(json.to_string().as_bytes(), "test").unwrap()
    }

    #[test]
    fn persist_paths_become_links_into_shared_and_are_seeded_once() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let settings = Settings { project: "shop".into(), ..Settings::default() };
        let info = release(&["etc/app.conf"], &["data", ".env", "var/lib/x"]);
        for version in ["1.0.0", "1.1.0"] {
            let folder = layout.release(version);
            fs::create_dir_all(folder.join("etc")).unwrap();
            fs::write(folder.join(".env"), format!("V={version}\n")).unwrap();
            fs::write(folder.join("etc/app.conf"), version).unwrap();
            adopt_shared(&layout, &folder, &info, &settings).unwrap();
        }
        let env = fs::read_to_string(layout.release("1.1.0").join(".env")).unwrap();
        let file = layout.current().join("compose.yaml");
        let expected = format!("V=1.0.0\nCOMPOSE_PROJECT_NAME=shop\nCOMPOSE_FILE={}\n", file.display());
        assert_eq!(env, expected, "the operator's file is not replaced");
        let template = layout.release("1.1.0").join(".pristine/.env");
        assert_eq!(fs::read_to_string(template).unwrap(), "V=1.1.0\n");
        let deep = layout.release("1.0.0").join("var/lib/x");
        fs::write(deep.join("row"), "1").unwrap();
        assert_eq!(fs::read_to_string(layout.shared().join("var/lib/x/row")).unwrap(), "1");
        assert_eq!(
            fs::read_to_string(layout.release("1.0.0").join(".pristine/etc/app.conf")).unwrap(),
            "1.0.0"
        );
    }

    #[test]
    fn a_path_inside_another_persist_path_is_not_linked_twice() {
        let settings = Settings { persist: vec!["data/x".into(), "more/".into()], ..Settings::default() };
        assert_eq!(persist(&release(&[], &["data", "database"]), &settings), ["data", "database", "more"]);
    }

    #[test]
    fn a_release_that_is_pointed_to_or_in_use_is_not_superfluous() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let version = |text: &str| text.parse::<Version>().unwrap();
        for name in ["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", ".1.5.0.new"] {
            fs::create_dir_all(layout.release(name)).unwrap();
        }
        pointers::set(&layout, Pointer::Factory, &version("1.0.0")).unwrap();
        pointers::set(&layout, Pointer::Current, &version("1.4.0")).unwrap();
        let in_use = BTreeSet::from([version("1.1.0")]);
        assert_eq!(superfluous(&layout, &in_use, 0).unwrap(), [version("1.3.0"), version("1.2.0")]);
        assert_eq!(superfluous(&layout, &in_use, 1).unwrap(), [version("1.2.0")]);
        assert_eq!(leftovers(&layout).unwrap(), [layout.release(".1.5.0.new")]);
    }

    #[test]
    fn a_reinstall_changes_places_with_the_present_folder() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let staging = layout.release(".1.0.0.new");
        for (folder, mark) in [(layout.release("1.0.0"), "old"), (staging.clone(), "new")] {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("mark"), mark).unwrap();
        }
        put_in_place(&layout, &staging, &"1.0.0".parse().unwrap()).unwrap();
        assert_eq!(fs::read_to_string(layout.release("1.0.0").join("mark")).unwrap(), "new");
        assert_eq!(fs::read_to_string(staging.join("mark")).unwrap(), "old");
    }
}
