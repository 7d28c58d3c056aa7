//! Copies of whole backups somewhere else, encrypted to age recipients where that is wanted, and the way back.
//!
//! Archives here lie beside the data they are of; it is what leaves the machine that needs encryption. Nothing that is
//! secret is needed to encrypt, so a thief of the machine gets no older copies with it.

mod bucket;
mod folder;
mod import;
mod name;
mod place;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::params;
use time::OffsetDateTime;

pub use self::import::ImportRequest;
use self::place::{Draft, Place};
use super::BackupManager;
use super::record::{Record, Status, time_text};
use super::write::CHUNK;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Meter, Progress, Step, Unit};
use crate::release::Digest;
use crate::release::digest::{Hasher, Hashing};
use crate::release::tarball::fill;
use crate::settings::CopySettings;
use crate::state::StateLock;

/// The file in `backups/` that keeps two who copy apart.
pub(super) const COPY_LOCK: &str = ".copy.lock";

/// A copy that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The backup.
    pub backup: String,
    /// The file, or the address of the object.
    pub path: String,
    /// Bytes of it.
    pub size: u64,
    /// Of the file as it is there.
    pub hash: Digest,
}

/// How all copies of one run are made.
struct Job<'a> {
    to: &'a CopySettings,
    place: &'a dyn Place,
    recipients: &'a [age::x25519::Recipient],
    progress: &'a Progress,
    cancel: &'a AtomicBool,
}

/// What became of one backup.
enum Done {
    /// There was nothing to do.
    Nothing,
    /// What is there was not known of, and is a copy of it.
    Found,
    Copied(Copied),
}

impl BackupManager {
    /// Copies every whole backup that has no copy in `to.to`, or had one that is not there any more, oldest first, and
    /// reads each copy back. Nothing that is there is replaced. What cannot be copied keeps no other from it, unless the
    /// place is away: the first error is given at the end. Nothing is left of a copy that failed. Paths of `to` start at
    /// `root`. To be called on a blocking thread of a tokio runtime.
    pub fn copy(
        &self,
        to: &CopySettings,
        root: &Path,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Vec<Copied>> {
        let place = place::open(to, root, &self.folder)?;
        let recipients = to.read_recipients();
        let recipients = recipients.map_err(|cause| Fault::new(Code::ConfigInvalid, "backup.copy", cause))?;
        // Not the writers' lock: backups can be made meanwhile.
        self.make_folder()?;
        let _copier = StateLock::acquire(&self.folder.join(COPY_LOCK), "backup copy")?;
        let job = Job { to, place: place.as_ref(), recipients: &recipients, progress, cancel };
        let noted = self.noted(&to.to)?;
        let (mut copied, mut found, mut faults) = (Vec::new(), 0, Vec::new());
        for record in self.list()?.into_iter().filter(|record| record.status == Status::Complete) {
            match self.copy_one(&record, noted.get(&record.id), &job) {
                Ok(Done::Nothing) => {}
                Ok(Done::Found) => found += 1,
                Ok(Done::Copied(one)) => copied.push(one),
                Err(fault) if fault.code() == Code::Interrupted => return Err(fault),
                Err(fault) => {
                    let away = place::is_away(&fault);
                    faults.push(fault);
                    // Each of the others would only wait for as long again.
                    if away {
                        break;
                    }
                }
            }
        }
        let (failed, all) = (faults.len(), faults.len() + found + copied.len());
        let Some(first) = faults.into_iter().next() else { return Ok(copied) };
        let detail =
            format!("{} ({failed} of {all} backups that were tried could not be copied)", first.detail());
        Err(Fault::new(first.code(), first.object(), detail))
    }

    /// The names and sizes of the copies in `place` that are known of, by backup.
    fn noted(&self, place: &str) -> Result<HashMap<String, (String, i64)>> {
        self.store.with(|db| {
            db.prepare("SELECT backup, name, size FROM backup_copies WHERE place = ?1")?
                .query_map([place], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?
                .collect()
        })
    }

    fn copy_one(&self, record: &Record, noted: Option<&(String, i64)>, job: &Job<'_>) -> Result<Done> {
        if let Some((name, size)) = noted
            && job.size_of(name)?.and_then(|found| i64::try_from(found).ok()) == Some(*size)
        {
            return Ok(Done::Nothing);
        }
        let record = match self.complete(&record.id) {
            // It was deleted since the list was made.
            Err(fault) if fault.code() == Code::BackupUnknown => return Ok(Done::Nothing),
            record => record?,
        };
        for name in name::names_for(&record.file, !job.recipients.is_empty()) {
            match job.size_of(&name)? {
                None => return self.send(&record, &name, job).map(Done::Copied),
                // Nobody here can read an encrypted one: it may be good, and it stays.
                Some(size) if job.recipients.is_empty() && size == record.size => {
                    if let Some(copied) = job.compare(&record, &name)? {
                        self.note(&copied, &job.to.to, &name)?;
                        return Ok(Done::Found);
                    }
                }
                Some(_) => {}
            }
        }
        let cause = "all names for it are taken by other files";
        Err(Fault::new(Code::BackupCopyFailed, job.place.shown(&record.file), cause))
    }

    /// Makes the copy `name`, a name that is free.
    fn send(&self, record: &Record, name: &str, job: &Job<'_>) -> Result<Copied> {
        let (id, shown) = (&record.id, job.place.shown(name));
        let failed =
            |error: io::Error| Fault::from_error(Code::BackupCopyFailed, format!("{id} -> {shown}"), error);
        let mut work = Work {
            meter: job.meter(record, Say::CopyStarted { id: id.clone() }),
            cancel: job.cancel,
            failed: &failed,
        };
        let mut draft = job.place.begin(name, record.size).map_err(failed)?;
        let written = self.write_copy(record, draft.as_mut(), job.recipients, &mut work);
        let (hash, size) = match written {
            Ok(written) => written,
            Err(fault) => {
                let Err(also) = draft.discard() else { return Err(fault) };
                let detail =
                    format!("{}; and what was written is left: {}", fault.detail(), failed(also).detail());
                return Err(Fault::new(fault.code(), fault.object(), detail));
            }
        };
        draft.keep().map_err(failed)?;
        let copied = Copied { backup: id.clone(), path: shown.clone(), size, hash };
        self.note(&copied, &job.to.to, name)?;
        Ok(copied)
    }

    /// Writes the copy and reads it back; its hash and length.
    fn write_copy(
        &self,
        record: &Record,
        draft: &mut dyn Draft,
        recipients: &[age::x25519::Recipient],
        work: &mut Work<'_>,
    ) -> Result<(Digest, u64)> {
        let source = self.path_of(record);
        let mut input = Hashing::new(File::open(&source).at(&source)?);
        let mut out = Hashing::new(&mut *draft);
        if recipients.is_empty() {
            work.pour(&mut input, &source, &mut out)?;
        } else {
            let all = recipients.iter().map(|one| one as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(all)
                .map_err(|error| (work.failed)(io::Error::other(error)))?;
            let mut sealed = encryptor.wrap_output(&mut out).map_err(work.failed)?;
            work.pour(&mut input, &source, &mut sealed)?;
            sealed.finish().map_err(work.failed)?;
        }
        let (_, read, _) = input.finish();
        if Some(read) != record.hash {
            let cause = format!("its hash is {read}, which is not the recorded one");
            return Err(Fault::new(Code::BackupCorrupt, source.display(), cause));
        }
        let (draft, written, size) = out.finish();
        draft.settle().map_err(work.failed)?;
        let mut back = draft.read_back().map_err(work.failed)?;
        if digest(back.as_mut(), work.cancel, work.failed, &mut |_| {})? != (written, size) {
            return Err((work.failed)(io::Error::other("what was read back is not what was written")));
        }
        Ok((written, size))
    }

    fn note(&self, copied: &Copied, place: &str, name: &str) -> Result<()> {
        let at = time_text(OffsetDateTime::now_utc());
        self.store.with(|db| {
            db.execute(
                "INSERT OR REPLACE INTO backup_copies (backup, place, name, size, hash, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![copied.backup, place, name, copied.size as i64, copied.hash.to_string(), at],
            )
            .map(drop)
        })
    }
}

impl Job<'_> {
    fn size_of(&self, name: &str) -> Result<Option<u64>> {
        self.place.size_of(name).map_err(|error| self.unseen(name, error))
    }

    /// Reads the file `name`, which is there; none where it is another than the archive.
    fn compare(&self, record: &Record, name: &str) -> Result<Option<Copied>> {
        let mut meter = self.meter(record, Say::CopyCompared { id: record.id.clone() });
        let unseen = |error| self.unseen(name, error);
        let mut there = self.place.read(name).map_err(unseen)?;
        let (hash, size) = digest(there.as_mut(), self.cancel, &unseen, &mut |count| meter.add(count))?;
        let path = self.place.shown(name);
        Ok((record.hash == Some(hash)).then(|| Copied { backup: record.id.clone(), path, size, hash }))
    }

    fn unseen(&self, name: &str, error: io::Error) -> Fault {
        Fault::from_error(Code::BackupCopyFailed, self.place.shown(name), error)
    }

    fn meter(&self, record: &Record, say: Say) -> Meter {
        self.progress.meter(Step::CreatingBackup, say, Unit::Bytes, Some(record.size))
    }
}

struct Work<'a> {
    meter: Meter,
    cancel: &'a AtomicBool,
    /// A fault of the copy.
    failed: &'a dyn Fn(io::Error) -> Fault,
}

impl Work<'_> {
    fn pour(&mut self, input: &mut dyn Read, source: &Path, out: &mut dyn Write) -> Result<()> {
        let Self { meter, cancel, failed } = self;
        each_chunk(input, cancel, &|error| Fault::io(source, error), &mut |chunk| {
            meter.add(chunk.len() as u64);
            out.write_all(chunk).map_err(&**failed)
        })
    }
}

/// The hash and length of what `input` gives; `passed` is told how much at a time.
fn digest(
    input: &mut dyn Read,
    cancel: &AtomicBool,
    unreadable: &dyn Fn(io::Error) -> Fault,
    passed: &mut dyn FnMut(u64),
) -> Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    each_chunk(input, cancel, unreadable, &mut |chunk| {
        hasher.update(chunk);
        passed(chunk.len() as u64);
        Ok(())
    })?;
    Ok(hasher.finish())
}

fn each_chunk(
    input: &mut dyn Read,
    cancel: &AtomicBool,
    unreadable: &dyn Fn(io::Error) -> Fault,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Fault::new(Code::Interrupted, "backup copy", ""));
        }
        match fill(input, &mut buffer).map_err(unreadable)? {
            0 => return Ok(()),
            count => take(&buffer[..count])?,
        }
    }
}
