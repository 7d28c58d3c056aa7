//! Versions that failed here, or that a person left: they are not tried again by themselves until the vendor mends
//! them.

use std::collections::BTreeSet;
use std::fmt;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::api::Quarantined;
use super::installation::Installation;
use super::journal;
use super::plan::{Kind, Plan};
use crate::fault::{Code, Fault, Result};
use crate::release::{Manifest, Version};

/// Why a version is in quarantine that a person went back from.
pub const BY_HAND: &str = "rolled back by hand";

/// What a version is known by in quarantine: the hashes of all its packages, sorted, or the digest of its manifest
/// where no package has one.
///
/// Not the package that was chosen: that depends on what was installed then, and the same version would be another
/// one after a rollback to the factory. Not the whole manifest: its notes change without the version being mended.
/// And not one digest over all: a bundle that a person carries here is a single file, which must be found among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Content(String);

impl Content {
    /// Of what a manifest offers.
    pub fn of(manifest: &Manifest) -> Self {
        let packages = manifest.full.iter().chain(manifest.platforms.values());
        let patches = manifest.patches.values().chain(&manifest.patch_generic).map(|patch| &patch.package);
        let hashes: BTreeSet<String> = packages
            .chain(patches)
            .filter_map(|package| package.hash.digest())
            .map(|hash| hash.to_string())
            .collect();
        match hashes.is_empty() {
            true => Self(manifest.document.to_string()),
            false => Self(hashes.into_iter().collect::<Vec<_>>().join(" ")),
        }
    }

    fn hashes(&self) -> BTreeSet<&str> {
        self.0.split_whitespace().collect()
    }

    /// Whether what is offered is what is in quarantine as `self`. A bundle from a file (`is_file`) is one of the
    /// packages; and what went into quarantine as one file is still the same beside others.
    fn covers(&self, offered: &Content, is_file: bool) -> bool {
        let (own, offered) = (self.hashes(), offered.hashes());
        own == offered || (is_file && offered.is_subset(&own)) || (own.len() == 1 && own.is_subset(&offered))
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a failure says something about the release. A port that somebody else holds or a full disk does not, and
/// the next try may well work.
pub fn speaks_against(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Unhealthy | HealthTimeout | Exited | ProbeFailed | ContainerFailed | ImageWrong | ComposeFailed
    )
}

/// The quarantine that forbids what `manifest` offers; `is_file` where it stands for a bundle a person named.
pub fn forbids(
    installation: &Installation,
    manifest: &Manifest,
    is_file: bool,
) -> Result<Option<Quarantined>> {
    let row = installation.store.with(|db| {
        let sql = "SELECT version, reason, at, manifest_hash FROM quarantine WHERE version = ?1";
        db.query_row(sql, [manifest.version.to_string()], |row| Ok((entry(row)?, Content(row.get(3)?))))
            .optional()
    })?;
    let forbids = |(_, content): &(Quarantined, Content)| content.covers(&Content::of(manifest), is_file);
    Ok(row.filter(forbids).map(|(entry, _)| entry))
}

/// The refusal of a version in quarantine; `more` is added to the cause.
pub fn refusal(entry: &Quarantined, more: &str) -> Fault {
    Fault::new(Code::Quarantined, &entry.version, format!("{}; since {}{more}", entry.reason, entry.at))
}

/// Puts a version that failed here in quarantine, until its packages change.
pub fn quarantine(
    installation: &Installation,
    version: &Version,
    content: Option<&Content>,
    why: &str,
) -> Result<()> {
    installation.store.with(|db| {
        let content = match content {
            Some(content) => content.to_string(),
            None => of_installed(db, version)?,
        };
        insert(db, version, &content, why)
    })
}

/// What a commit means for quarantine: the version that runs now is trusted, and one that a person went back from is
/// not offered again by itself.
pub fn at_commit(db: &Connection, plan: &Plan) -> rusqlite::Result<()> {
    db.execute("DELETE FROM quarantine WHERE version = ?1", [plan.to.to_string()])?;
    match &plan.from {
        Some(from) if plan.kind == Kind::Rollback && plan.reason == "forced" && *from > plan.to => {
            insert(db, from, &of_installed(db, from)?, BY_HAND)
        }
        _ => Ok(()),
    }
}

fn insert(db: &Connection, version: &Version, content: &str, why: &str) -> rusqlite::Result<()> {
    let sql =
        "INSERT OR REPLACE INTO quarantine (version, manifest_hash, reason, at) VALUES (?1, ?2, ?3, ?4)";
    db.execute(sql, params![version.to_string(), content, why, journal::now()]).map(drop)
}

/// What an installed version is known by; of one that an earlier client installed, the package it came from.
fn of_installed(db: &Connection, version: &Version) -> rusqlite::Result<String> {
    let sql = "SELECT content, bundle_hash FROM releases WHERE version = ?1";
    let row: Option<(Option<String>, Option<String>)> =
        db.query_row(sql, [version.to_string()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (content, file) = row.unwrap_or_default();
    let package = file.and_then(|file| Some(format!("sha256:{}", file.strip_suffix(".bundle")?)));
    Ok(content.or(package).unwrap_or_default())
}

/// The versions in quarantine, oldest entry first.
pub fn list(installation: &Installation) -> Result<Vec<Quarantined>> {
    installation.store.with(|db| {
        db.prepare("SELECT version, reason, at FROM quarantine ORDER BY at, version")?
            .query_map([], entry)?
            .collect()
    })
}

fn entry(row: &rusqlite::Row<'_>) -> rusqlite::Result<Quarantined> {
    Ok(Quarantined { version: row.get(0)?, reason: row.get(1)?, at: row.get(2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(full: char, patch: Option<char>, notes: &str) -> Manifest {
        let hash = |c: char| format!("sha256:{}", c.to_string().repeat(64));
        let mut text = serde_json::json!({"schema": 1, "version": "1.1.0.1", "release_notes": notes,
            "packages": {"full": {"url": "a.bundle", "hash": hash(full), "signature": "", "size": 1}}});
        if let Some(patch) = patch {
            text["patch"] =
                serde_json::json!({"x86_64": {"url": "p", "hash": hash(patch), "operations": {}}});
        }
        Manifest::from_json(text.to_string().as_bytes(), "test").unwrap()
    }

    #[test]
    fn a_version_is_the_same_until_a_package_is_another_one() {
        let known = Content::of(&manifest('a', Some('b'), ""));
        assert!(known.covers(&Content::of(&manifest('a', Some('b'), "new notes")), false));
        for mended in [manifest('c', Some('b'), ""), manifest('a', Some('c'), ""), manifest('a', None, "")] {
            assert!(!known.covers(&Content::of(&mended), false), "{mended:?}");
        }
    }

    #[test]
    fn a_file_is_known_among_the_packages_and_packages_by_the_file() {
        let (both, full, other) =
            (manifest('a', Some('b'), ""), manifest('a', None, ""), manifest('c', None, ""));
        let of = Content::of;
        assert!(of(&both).covers(&of(&full), true), "the full package of a version whose patch failed");
        assert!(!of(&both).covers(&of(&other), true));
        assert!(of(&full).covers(&of(&both), false), "what failed as a file is offered by the source");
        assert!(!Content(String::new()).covers(&of(&both), false), "nothing is known of it");
    }
}
