//! Carrying the operator's own things into a release: new keys into `.env`, edits of config files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::Step;
use crate::release::tree::verify_release;
use crate::release::{ReleaseInfo, Version};
use crate::upgrade::edits::{self, Carried};
use crate::upgrade::world::World;
use crate::upgrade::{envfile, pointers, releases, ways};

/// Carries `.env` and edits over from the current release.
pub fn carry(world: &mut World<'_>) -> Result<()> {
    let next = world.layout().release(&world.plan.to.to_string());
    let from = pointers::read(world.layout(), Pointer::Current)?;
    carry_env(world, &next)?;
    // Where the same version was installed anew, its edits were carried before the folders changed places.
    let Some(from) = from.filter(|from| *from != world.plan.to) else {
        return Ok(());
    };
    let folder = world.layout().release(&from.to_string());
    let Some(former) = ways::info_of(world.installation, &from)?.filter(|_| folder.is_dir()) else {
        return Ok(());
    };
    let target = world.target()?;
    carry_config(world, &folder, &former, &next, &target)?;
    keep_other_edits(world, &folder, &former, &target)
}

/// Carries what a person changed in a release folder that is about to be replaced by `staging`, the same version anew.
pub fn carry_before_exchange(world: &mut World<'_>, staging: &Path, target: &ReleaseInfo) -> Result<()> {
    let folder = world.layout().release(&target.version.to_string());
    // Where nothing says what the former release was, whatever differs from the new one is taken for an edit.
    let former = ways::info_of(world.installation, &target.version)?.unwrap_or_else(|| target.clone());
    carry_config(world, &folder, &former, staging, target)?;
    keep_other_edits(world, &folder, &former, target)
}

/// What the folder of a release is called when the change `id` has put another in its place.
pub fn replaced_folder(version: &Version, id: &str) -> String {
    format!(".{version}.old-{id}")
}

/// Puts `.env` back as it was, unless somebody has changed it since.
pub fn put_back(world: &mut World<'_>) -> Result<()> {
    let path = world.layout().shared().join(".env");
    let facts = world.facts();
    if let (Some(before), Some(after)) = (&facts.env_before, &facts.env_after)
        && read_text(&path)?.as_ref() == Some(after)
    {
        releases::replace_file(&path, before.as_bytes())?;
    }
    Ok(())
}

fn carry_env(world: &mut World<'_>, next: &Path) -> Result<()> {
    let path = world.layout().shared().join(".env");
    let template = read_text(&next.join(releases::PRISTINE).join(".env"))?;
    let (Some(own), Some(template)) = (read_text(&path)?, template) else {
        return Ok(());
    };
    let former = read_text(&world.layout().current().join(releases::PRISTINE).join(".env"))?;
    let merged = envfile::merge(&own, former.as_deref(), &template);
    if merged.text != own {
        let after = merged.text.clone();
        world.learn(|facts| {
            facts.env_before = Some(own);
            facts.env_after = Some(after);
        })?;
        releases::replace_file(&path, merged.text.as_bytes())?;
    }
    for key in merged.added {
        world.progress.note(Step::ExtractingUpdate, Say::EnvKeyAdded { key });
    }
    for key in merged.removed {
        world.warn(Step::ExtractingUpdate, Say::EnvKeyRemoved { key })?;
    }
    Ok(())
}

fn carry_config(
    world: &mut World<'_>,
    old: &Path,
    former: &ReleaseInfo,
    next: &Path,
    target: &ReleaseInfo,
) -> Result<()> {
    let paths: BTreeSet<&String> = former.config.iter().chain(&target.config).collect();
    for path in paths {
        let (Some(own), Some(base)) =
            (read(&old.join(path))?, read(&old.join(releases::PRISTINE).join(path))?)
        else {
            continue;
        };
        if own == base {
            continue;
        }
        let shipped = read(&next.join(releases::PRISTINE).join(path))?;
        match edits::carry(&base, &own, shipped.as_deref()) {
            Carried::Kept(content) => {
                releases::replace_file(&next.join(path), &content)?;
                world.progress.note(Step::ExtractingUpdate, Say::ConfigKept { path: path.clone() });
            }
            Carried::Merged(content) => {
                releases::replace_file(&next.join(path), &content)?;
                world.progress.note(Step::ExtractingUpdate, Say::ConfigMerged { path: path.clone() });
            }
            Carried::SetAside => set_aside(world, &former.version, path, &own)?,
        }
    }
    Ok(())
}

/// Files that nobody declared as editable but that were edited all the same are never lost silently.
fn keep_other_edits(
    world: &mut World<'_>,
    old: &Path,
    former: &ReleaseInfo,
    target: &ReleaseInfo,
) -> Result<()> {
    let mut ignore = releases::editable(former, &world.installation.settings);
    ignore.extend(target.config.iter().cloned());
    for deviation in verify_release(old, former, &ignore)? {
        if let Some(own) = read(&old.join(&deviation.path))? {
            set_aside(world, &former.version, &deviation.path, &own)?;
        }
    }
    Ok(())
}

fn set_aside(world: &mut World<'_>, from: &Version, path: &str, own: &[u8]) -> Result<()> {
    let kept = edits::keep(world.layout(), from, path, own)?;
    let say = Say::ConfigSetAside { path: path.to_owned(), kept: kept.display().to_string() };
    world.warn(Step::ExtractingUpdate, say)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(Fault::io(path, error)),
    }
}

/// None also for a file that is no text: its bytes are the operator's and are left alone.
fn read_text(path: &Path) -> Result<Option<String>> {
    Ok(read(path)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}
