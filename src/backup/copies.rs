//! Copies of whole backups somewhere else, encrypted to age recipients where that is wanted, and the way back.
//!
//! Archives here lie beside the data they are of; it is what leaves the machine that needs encryption. Nothing that is
//! secret is needed to encrypt, so a thief of the machine gets no older copies with it.

mod bucket;
mod folder;
mod import;
mod place;

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
use super::write::{CHUNK, fill};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Meter, Progress, Step, Unit};
use crate::release::Digest;
use crate::release::digest::{Hasher, Hashing};
use crate::settings::CopySettings;

/// What the name of an encrypted copy ends with.
const AGE: &str = ".age";

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

impl BackupManager {
    /// Copies every whole backup that has no copy in `to.to`, or had one that is not there any more, oldest first, and
    /// reads each copy back. On an error nothing is left of that copy, those before it stay. Paths of `to` start at
    /// `root`. To be called on a blocking thread of a tokio runtime.
    pub fn copy(
        &self,
        to: &CopySettings,
        root: &Path,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Vec<Copied>> {
        let place = place::open(to, root)?;
        let uncopied = self.uncopied(to, place.as_ref())?;
        let mut copied = Vec::new();
        for record in &uncopied {
            copied.push(self.copy_one(record, to, place.as_ref(), progress, cancel)?);
        }
        Ok(copied)
    }

    fn uncopied(&self, to: &CopySettings, place: &dyn Place) -> Result<Vec<Record>> {
        let noted: Vec<(String, String, i64)> = self.store.with(|db| {
            db.prepare("SELECT backup, name, size FROM backup_copies WHERE place = ?1")?
                .query_map([&to.to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let mut uncopied = Vec::new();
        for record in self.list()?.into_iter().filter(|record| record.status == Status::Complete) {
            if let Some((_, name, size)) = noted.iter().find(|(id, ..)| *id == record.id) {
                let found = place
                    .size_of(name)
                    .map_err(|error| Fault::from_error(Code::BackupCopyFailed, place.shown(name), error))?;
                if found.and_then(|found| i64::try_from(found).ok()) == Some(*size) {
                    continue;
                }
            }
            uncopied.push(record);
        }
        Ok(uncopied)
    }

    fn copy_one(
        &self,
        record: &Record,
        to: &CopySettings,
        place: &dyn Place,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Copied> {
        let record = self.complete(&record.id)?;
        let id = &record.id;
        let recipients = to.read_recipients();
        let recipients = recipients.map_err(|cause| Fault::new(Code::ConfigInvalid, "backup.copy", cause))?;
        let name = if recipients.is_empty() { record.file.clone() } else { format!("{}{AGE}", record.file) };
        let shown = place.shown(&name);
        let failed =
            |error: io::Error| Fault::from_error(Code::BackupCopyFailed, format!("{id} -> {shown}"), error);
        let mut work = Work {
            meter: progress.meter(
                Step::CreatingBackup,
                Say::CopyStarted { id: id.clone() },
                Unit::Bytes,
                Some(record.size),
            ),
            cancel,
            failed: &failed,
        };
        let mut draft = place.begin(&name, record.size).map_err(failed)?;
        let written = self.write_copy(&record, draft.as_mut(), &recipients, &mut work);
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
        let copied = Copied { backup: record.id.clone(), path: shown.clone(), size, hash };
        self.note(&copied, &to.to, &name)?;
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
        let mut hasher = Hasher::new();
        each_chunk(back.as_mut(), work.cancel, work.failed, &mut |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        if hasher.finish() != (written, size) {
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
