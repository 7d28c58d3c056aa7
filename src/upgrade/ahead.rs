//! `client upgrade --download-only`: the bundle of the next upgrade, fetched and verified before it is wanted. And which
//! bundles stay though no release here needs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::params;

use super::effects::prepare;
use super::installation::Installation;
use super::resolve::Offer;
use super::step::Package;
use super::ways::{self, Keeper};
use super::{journal, renew};
use crate::docker::Engine;
use crate::exit;
use crate::fault::{IoContext, Result};
use crate::progress::{Outcome, Progress};
use crate::release::Version;

/// Fetches what the upgrade to `offer` will need.
pub async fn fetch(
    installation: &Installation,
    engine: &Engine,
    offer: &Offer,
    package: &Package,
    progress: &Progress,
) -> Result<Outcome> {
    let begun = Instant::now();
    let version = &offer.manifest.version;
    // Before the first byte: what is interrupted is continued by the next run, and stays until then.
    record(installation, &package.file, version)?;
    let request = prepare::request(installation, package)?;
    let came = renew::get(&Keeper::new(installation, engine, progress), version, package, request).await?;
    let here = prepare::bundle_path(&installation.layout.bundles(), &package.file);
    let size = fs::metadata(&here).at(&here)?.len();
    Ok(Outcome {
        ok: true,
        from: offer.installed.as_ref().map(ToString::to_string),
        to: Some(version.to_string()),
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        exit_code: exit::OK,
        bytes_downloaded: came,
        bytes_bundle: size,
        duration_ms: millis(begun.elapsed()),
        fetched_ahead: true,
        ..Outcome::blank()
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// One version is ahead at a time: what was fetched for another will not be wanted any more.
fn record(installation: &Installation, file: &str, version: &Version) -> Result<()> {
    let (version, now) = (version.to_string(), journal::now());
    let path = installation.store.path();
    installation.store.transaction(|db| {
        let write = || -> rusqlite::Result<()> {
            db.execute("DELETE FROM fetched_ahead WHERE version <> ?1", [&version])?;
            let sql = "INSERT OR REPLACE INTO fetched_ahead (file, version, at) VALUES (?1, ?2, ?3)";
            db.execute(sql, params![file, version, now]).map(drop)
        };
        write().map_err(|error| crate::state::fault(path, error))
    })
}

/// The files in `bundles/` that were fetched for a version which may still come: newer than `current` and not in
/// quarantine.
pub fn awaited(installation: &Installation, current: Option<&Version>) -> Result<BTreeSet<String>> {
    let rows: Vec<(String, String)> = installation.store.with(|db| {
        let sql = "SELECT file, version FROM fetched_ahead
                   WHERE version NOT IN (SELECT version FROM quarantine)";
        db.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    })?;
    let newer = |version: &str| {
        let version = version.parse::<Version>().ok();
        version.is_some_and(|version| current.is_none_or(|current| version > *current))
    };
    Ok(rows.into_iter().filter(|(_, version)| newer(version)).map(|(file, _)| file).collect())
}

/// Whether `name` is the file `of`, or what is made of it: its part, the map of that, the bundle it was converted into,
/// what was fetched of it.
pub fn belongs(name: &str, of: &str) -> bool {
    let whole = name.strip_suffix(".map").unwrap_or(name);
    let whole = whole.strip_suffix(".part").unwrap_or(whole);
    whole == of
        || name.strip_suffix(".converted") == Some(of)
        || ways::sparse_of(whole).as_deref() == Some(of)
}

/// A bundle that nothing here needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When it was needed for the last time.
    pub used: SystemTime,
}

impl Spare {
    /// The file at `path`.
    pub fn at(path: &Path) -> Result<Self> {
        let meta = fs::metadata(path).at(path)?;
        Ok(Self { path: path.to_owned(), size: meta.len(), used: meta.modified().at(path)? })
    }
}

/// The spare bundles that go so that the others have at most `max` bytes: those that were not used for the longest time.
pub fn surplus(mut spare: Vec<Spare>, max: u64) -> Vec<PathBuf> {
    spare.sort_by(|one, other| other.used.cmp(&one.used).then_with(|| one.path.cmp(&other.path)));
    let mut kept = 0u64;
    let mut full = false;
    let mut goes = Vec::new();
    for Spare { path, size, .. } in spare {
        full = full || kept.saturating_add(size) > max;
        if full { goes.push(path) } else { kept += size }
    }
    goes
}

/// Takes note that the bundle at `path` is needed now.
pub fn touch(path: &Path) -> Result<()> {
    fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now())).at(path)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::layout::Layout;
    use crate::settings::Settings;
    use crate::state::Store;

    #[test]
    fn the_oldest_use_goes_first() {
        let spare = |name: &str, size: u64, day: u64| Spare {
            path: name.into(),
            size,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400),
        };
        let all = vec![spare("a", 10, 1), spare("b", 20, 3), spare("c", 5, 2)];
        for (max, goes) in [
            (0, vec!["b", "c", "a"]),
            (19, vec!["b", "c", "a"]),
            (20, vec!["c", "a"]),
            (25, vec!["a"]),
            (34, vec!["a"]),
            (35, vec![]),
        ] {
            let found: Vec<String> =
                surplus(all.clone(), max).iter().map(|path| path.display().to_string()).collect();
            assert_eq!(found, goes, "{max}");
        }
    }

    #[test]
    fn one_version_is_awaited_until_it_is_here_or_refused() {
        let store = Arc::new(Store::in_memory().unwrap());
        let installation = Installation::of(Layout::new("/nowhere"), Settings::default(), store.clone());
        let version = |text: &str| text.parse::<Version>().unwrap();
        let awaited = |current: &str| -> Vec<String> {
            super::awaited(&installation, Some(&version(current))).unwrap().into_iter().collect()
        };
        record(&installation, "full.bundle", &version("1.1.0")).unwrap();
        record(&installation, "patch.bundle", &version("1.1.0")).unwrap();
        assert_eq!(awaited("1.0.0"), ["full.bundle", "patch.bundle"]);
        assert_eq!(awaited("1.1.0"), [""; 0]);
        record(&installation, "next.bundle", &version("1.2.0")).unwrap();
        assert_eq!(awaited("1.0.0"), ["next.bundle"]);
        let sql =
            "INSERT INTO quarantine (version, manifest_hash, reason, at) VALUES ('1.2.0', 'x', 'bad', 'now')";
        store.with(|db| db.execute(sql, [])).unwrap();
        assert_eq!(awaited("1.0.0"), [""; 0]);
    }

    #[test]
    fn what_is_made_of_a_bundle_stays_with_it() {
        for (name, of, belongs_to) in [
            ("a.bundle", "a.bundle", true),
            ("a.bundle.part", "a.bundle", true),
            ("a.bundle.part.map", "a.bundle", true),
            ("a.bundle.converted", "a.bundle", true),
            ("a.sparse", "a.bundle", true),
            ("a.sparse.json", "a.bundle", true),
            ("a.sparse.part.map", "a.bundle", true),
            ("b.sparse", "a.bundle", false),
            ("a.bundle.scratch", "a.bundle", false),
            ("b.bundle", "a.bundle", false),
        ] {
            assert_eq!(belongs(name, of), belongs_to, "{name}");
        }
    }
}
