//! What really runs, whatever `current` says: a person may have pointed it elsewhere, or removed it.

use std::path::Path;
use std::{fs, io};

use rusqlite::OptionalExtension;

use super::installation::Installation;
use super::pointers;
use super::releases;
use crate::fault::{Code, Fault, Result};
use crate::layout::{Layout, Pointer};
use crate::messages::Say;
use crate::release::Version;
use crate::state::meta;

/// The key in `meta` of the version that ran when the state was rebuilt, as the engine showed it; empty where that could
/// not be told.
pub const RUNS: &str = "rebuilt_runs";

/// The version the last change left running. None where nothing was installed, or where that change came to no good end.
pub fn version(installation: &Installation) -> Result<Option<Version>> {
    let found: Option<Option<String>> = installation.store.with(|db| {
        let sql = "SELECT CASE WHEN committed = 1 OR (kind = 'adopt' AND state = 'completed') THEN to_version
                               WHEN state = 'rolled_back' THEN from_version END
                   FROM upgrades
                   WHERE committed = 1 OR (kind = 'adopt' AND state = 'completed')
                      OR state IN ('rolled_back', 'undoing', 'needs_attention', 'superseded')
                   ORDER BY rowid DESC LIMIT 1";
        db.query_row(sql, [], |row| row.get(0)).optional()
    })?;
    let text = match found {
        Some(recorded) => recorded,
        None => installation.store.with(|db| meta::get(db, RUNS))?.filter(|text| !text.is_empty()),
    };
    text.map(|text| text.parse()).transpose()
}

/// The version a change starts from: the one that runs; where that is not known, the one `current` names.
pub fn base(installation: &Installation) -> Result<Version> {
    let found = match version(installation)? {
        Some(version) => Some(version),
        None => pointers::read(&installation.layout, Pointer::Current)?,
    };
    found.ok_or_else(|| {
        let cause = "the link is gone; point it at the release that runs, such as releases/1.0.0";
        Fault::new(Code::NoPrevious, Pointer::Current.name(), cause)
    })
}

/// The version `current` names; where it leads nowhere, the one that runs.
pub fn installed(installation: &Installation) -> Result<Option<Version>> {
    match place(&installation.layout)? {
        Place::Release(version) => Ok(Some(version)),
        astray => match (version(installation)?, astray) {
            (None, Place::Astray(_)) => pointers::read(&installation.layout, Pointer::Current),
            (runs, _) => Ok(runs),
        },
    }
}

/// Where `current` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// There is no such link.
    Missing,
    /// To something that is no release of this installation; this is what the link says.
    Astray(String),
    /// To the folder of a release, which may be gone.
    Release(Version),
}

/// Looks where `current` leads.
pub fn place(layout: &Layout) -> Result<Place> {
    let link = layout.pointer(Pointer::Current);
    let target = match fs::read_link(&link) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Missing),
        Err(error) => return Err(Fault::io(&link, error)),
    };
    let astray = Place::Astray(target.display().to_string());
    let Ok(Some(version)) = pointers::read(layout, Pointer::Current) else { return Ok(astray) };
    let real = |path: &Path| path.canonicalize().ok();
    let inside = target.parent().map(|parent| layout.root().join(parent)).and_then(|parent| real(&parent));
    let is_ours = inside.is_some() && inside == real(&layout.releases());
    Ok(if is_ours { Place::Release(version) } else { astray })
}

/// That `current` leads nowhere, for a person who only looks.
pub fn astray(installation: &Installation) -> Result<Option<Say>> {
    let target = match place(&installation.layout) {
        Ok(Place::Release(_)) => return Ok(None),
        Ok(Place::Missing) => None,
        Ok(Place::Astray(target)) => Some(target),
        Err(fault) => Some(fault.detail().to_owned()),
    };
    let version = version(installation)?.map(|version| version.to_string());
    // Where nothing was installed, nothing is missing.
    Ok((target.is_some() || version.is_some()).then_some(Say::PointerWrong { target, version }))
}

/// Points `current` at `version`, as a change does.
pub fn point(layout: &Layout, version: &Version) -> Result<()> {
    pointers::set(layout, Pointer::Current, version)?;
    match releases::info(layout, version) {
        Ok(Some(info)) => releases::name_compose_files(layout, &info),
        // A folder that does not say what it is can be made again; whoever needs it does.
        Ok(None) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_out_of_the_installation_leads_astray() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().canonicalize().unwrap());
        fs::create_dir_all(layout.release("1.0.0")).unwrap();
        assert_eq!(place(&layout).unwrap(), Place::Missing);
        let release = || Place::Release("1.0.0".parse().unwrap());
        let own = layout.release("1.0.0").display().to_string();
        let astray = |text: &str| Place::Astray(text.to_owned());
        for (target, expected) in [
            ("releases/1.0.0", release()),
            ("./releases/1.0.0/", release()),
            (own.as_str(), release()),
            ("/etc", astray("/etc")),
            ("/tmp/1.0.0", astray("/tmp/1.0.0")),
            ("1.0.0", astray("1.0.0")),
            ("releases", astray("releases")),
        ] {
            symlink(target, layout.current()).unwrap();
            assert_eq!(place(&layout).unwrap(), expected, "{target}");
            fs::remove_file(layout.current()).unwrap();
        }
    }
}
