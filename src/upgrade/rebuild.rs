//! A state database that is lost or damaged is made anew from what is there: pointers, release folders, bundles and
//! backups when the installation is opened, the engine when one is connected.
//!
//! Only whoever holds the lock does it: a process that is at work may have the lost file open still, and what it
//! writes there must not be answered by another one's guesses. The new database is filled under another name and
//! takes its place whole, so that a process killed in between leaves it missing, and the next one begins again.
//!
//! How far a change under way had come is told by the journal's twin in `work/`. What cannot be known any more is told:
//! the history and the quarantine. That a change without a twin may have been under way is left in `meta` under
//! [`REBUILT`] until it was dealt with.

mod change;
mod engine;
mod releases;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use time::macros::format_description;

pub use engine::rebuild_from_engine;
pub use words::{tell, untold};

use super::installation::Installation;
use super::pointers;
use super::running::RUNS;
use crate::durable;
use crate::fault::{Code, Fault, Result};
use crate::layout::{Layout, Pointer};
use crate::state::{self, StateLock, Store, meta};
use words::Loss;

/// The key in `meta` that stands from the rebuilding until the stack was made whole again: the time of it.
pub const REBUILT: &str = "rebuilt";
/// The key in `meta` that stands until the archives in `backups/` have records again.
const BACKUPS: &str = "rebuilt_backups";
/// What is being done, for those who meet the lock.
const WHAT: &str = "rebuilding state.db";

/// Opens the state of an installation; makes it anew where it is lost or damaged.
pub fn open(layout: &Layout) -> Result<Store> {
    match open_present(layout) {
        Err(damaged) if damaged.code() == Code::StateDamaged => {
            let _lock = StateLock::acquire_with_folder(&layout.state_lock(), WHAT)?;
            // Whoever had the lock may have done it.
            match open_present(layout) {
                Err(damaged) if damaged.code() == Code::StateDamaged => rebuild(layout, &damaged),
                opened => opened,
            }
        }
        opened => opened,
    }
}

fn open_present(layout: &Layout) -> Result<Store> {
    let path = layout.state_db();
    // Before the first release is installed a missing database is nothing but new.
    let installed = [Pointer::Current, Pointer::Factory].map(|pointer| layout.pointer(pointer).is_symlink());
    if installed.contains(&true) { Store::open_known(&path) } else { Store::open(&path) }
}

fn rebuild(layout: &Layout, damaged: &Fault) -> Result<Store> {
    let path = layout.state_db();
    let kept = set_aside(&path)?;
    let fresh = fresh_path(&path);
    remove_all(&fresh)?;
    let store = Store::open(&fresh)?;
    let mut losses = vec![
        Loss::Rebuilt {
            cause: damaged.detail().to_owned(),
            kept: kept.map(|path| path.display().to_string()),
        },
        Loss::History,
    ];
    releases::fill(&store, layout, &mut losses)?;
    change::fill(&store, layout, &mut losses)?;
    let now = super::journal::now();
    store.with(|db| {
        meta::set(db, REBUILT, &now)?;
        meta::set(db, BACKUPS, &now)
    })?;
    words::keep(&store, &losses)?;
    // Whole in one file before it gets its name.
    store.with(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))?;
    drop(store);
    durable::rename(&fresh, &path)?;
    remove_all(&fresh)?;
    Store::open_known(&path)
}

/// Where the new database is filled; its name without the ending is that of the other, as its reserve is the same.
fn fresh_path(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn remove_all(path: &Path) -> Result<()> {
    state::files_of(path).iter().try_for_each(|file| durable::remove_file(file))
}

/// Gives the damaged database and its journal another name; none where nothing is left of it.
fn set_aside(path: &Path) -> Result<Option<PathBuf>> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    // Formatting fails only for years beyond 9999.
    let time = time::OffsetDateTime::now_utc().format(&format).unwrap_or_default();
    let kept = (1..)
        .map(|count| if count == 1 { time.clone() } else { format!("{time}-{count}") })
        .map(|name| PathBuf::from(format!("{}.damaged-{name}", path.display())))
        .find(|kept| !state::files_of(kept).iter().any(|file| file.exists()));
    let kept = kept.unwrap_or_else(|| path.with_extension("damaged"));
    let mut any = None;
    for (from, to) in state::files_of(path).iter().zip(state::files_of(&kept)) {
        if fs::symlink_metadata(from).is_ok() {
            durable::rename(from, &to)?;
            any.get_or_insert(to);
        }
    }
    Ok(any)
}

/// Whether the state was rebuilt and the stack has not been made whole since.
pub fn is_rebuilt(installation: &Installation) -> Result<bool> {
    Ok(fact(&installation.store, REBUILT)?.is_some())
}

/// The stack was made whole again.
pub fn made_whole(db: &rusqlite::Connection) -> rusqlite::Result<()> {
    meta::forget(db, REBUILT)?;
    meta::forget(db, RUNS)
}

/// Gives the archives in `backups/` their records back, once after the state was rebuilt. It reads all of them, so it
/// waits until somebody asks for backups; where another process is at work, it waits longer.
pub fn recover_backups(installation: &Installation) -> Result<()> {
    if fact(&installation.store, BACKUPS)?.is_none() {
        return Ok(());
    }
    match installation.lock(WHAT) {
        Ok(_lock) => recover_backups_locked(installation),
        Err(fault) if fault.code() == Code::Locked => Ok(()),
        Err(fault) => Err(fault),
    }
}

fn recover_backups_locked(installation: &Installation) -> Result<()> {
    if fact(&installation.store, BACKUPS)?.is_none() {
        return Ok(());
    }
    let manager = installation.backup_manager();
    let recovered = manager.recover(&std::sync::atomic::AtomicBool::new(false))?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let losses: Vec<Loss> =
        recovered.unreadable.iter().map(|path| Loss::Backup { file: name(path) }).collect();
    words::keep(&installation.store, &losses)?;
    installation.store.with(|db| meta::forget(db, BACKUPS))
}

fn fact(store: &Store, key: &str) -> Result<Option<String>> {
    store.with(|db| meta::get(db, key))
}

/// The version `current` names; none where it names none that can be read.
fn current(layout: &Layout) -> Option<crate::release::Version> {
    // A pointer that leads nowhere is the doctor's to tell; here it only orders guesses.
    pointers::read(layout, Pointer::Current).ok().flatten()
}

/// The version `previous` names, in the same way.
fn previous(layout: &Layout) -> Option<crate::release::Version> {
    pointers::read(layout, Pointer::Previous).ok().flatten()
}
