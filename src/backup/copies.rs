//! Copies of whole backups somewhere else, encrypted to age recipients where that is wanted, and the way back.
//!
//! Archives here lie beside the data they are of; it is what leaves the machine that needs encryption. Nothing that is
//! secret is needed to encrypt, so a thief of the machine gets no older copies with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use age::x25519::Recipient;
use rusqlite::params;
use time::OffsetDateTime;

use super::record::{Record, Status, time_text};
use super::write::{CHUNK, fill};
use super::{BackupManager, recover, remove_file};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Meter, Progress, Step, Unit};
use crate::release::Digest;
use crate::release::digest::{Hasher, Hashing};
use crate::settings::{ArchiveFormat, CopySettings};

/// What the name of an encrypted copy ends with.
const AGE: &str = ".age";

/// A copy that was written and read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The backup.
    pub backup: String,
    /// The file.
    pub path: PathBuf,
    /// Bytes of it.
    pub size: u64,
    /// Of the file as it is there.
    pub hash: Digest,
}

impl BackupManager {
    /// The whole backups that have no copy in `to.to`, or had one that is not there any more, oldest first.
    pub fn uncopied(&self, to: &CopySettings) -> Result<Vec<Record>> {
        let noted: Vec<(String, String, i64)> = self.store.with(|db| {
            db.prepare("SELECT backup, name, size FROM backup_copies WHERE place = ?1")?
                .query_map([&to.to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        let is_there = |name: &String, size: i64| {
            let found = Path::new(&to.to).join(name).metadata();
            found.is_ok_and(|file| file.is_file() && i64::try_from(file.len()) == Ok(size))
        };
        let copied: Vec<&String> =
            noted.iter().filter(|(_, name, size)| is_there(name, *size)).map(|(id, ..)| id).collect();
        let whole = self.list()?.into_iter().filter(|record| record.status == Status::Complete);
        Ok(whole.filter(|record| !copied.contains(&&record.id)).collect())
    }

    /// Copies a whole backup to the folder `to.to`, which has to be there, and reads the copy back. On any error nothing
    /// is left there.
    pub fn copy(
        &self,
        id: &str,
        to: &CopySettings,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Copied> {
        let record = self.complete(id)?;
        let failed = |cause: String| Fault::new(Code::BackupCopyFailed, format!("{id} -> {}", to.to), cause);
        let folder = Path::new(&to.to);
        if !folder.is_dir() {
            // Made here, it would be a folder on this very disk once the share is not mounted.
            return Err(failed("the folder is not there; is it mounted?".into()));
        }
        let recipients = to.read_recipients().map_err(failed)?;
        let name = if recipients.is_empty() { record.file.clone() } else { format!("{}{AGE}", record.file) };
        let (path, part) = (folder.join(&name), folder.join(format!("{name}.part")));
        let mut meter = progress.meter(
            Step::CreatingBackup,
            Say::CopyStarted { id: id.into() },
            Unit::Bytes,
            Some(record.size),
        );
        let mut work = Work { meter: &mut meter, cancel };
        let made = self.write_copy(&record, &part, &recipients, &mut work).and_then(|(hash, size)| {
            std::fs::rename(&part, &path).at(&path)?;
            durable::sync_parent(&path)?;
            Ok(Copied { backup: record.id.clone(), path, size, hash })
        });
        let copied = made.map_err(|fault| match (remove_file(&part), fault.code()) {
            (_, Code::Interrupted | Code::BackupCorrupt) | (Ok(()), Code::BackupCopyFailed) => fault,
            (Ok(()), _) => failed(fault.to_string()),
            (Err(also), _) => failed(format!("{fault}; and what was written is left: {also}")),
        })?;
        self.note(&copied, &to.to, &name)?;
        Ok(copied)
    }

    /// Writes the copy at `part` and reads it back; its hash and length.
    fn write_copy(
        &self,
        record: &Record,
        part: &Path,
        recipients: &[Recipient],
        work: &mut Work<'_>,
    ) -> Result<(Digest, u64)> {
        let source = self.path_of(record);
        let mut input = Hashing::new(File::open(&source).at(&source)?);
        remove_file(part)?;
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(part).at(part)?;
        let mut out = Hashing::new(file);
        if recipients.is_empty() {
            work.pour(&mut input, &mut out, part)?;
        } else {
            let all = recipients.iter().map(|one| one as &dyn age::Recipient);
            let encryptor = age::Encryptor::with_recipients(all)
                .map_err(|error| Fault::from_error(Code::BackupCopyFailed, part.display(), error))?;
            let mut sealed = encryptor.wrap_output(&mut out).at(part)?;
            work.pour(&mut input, &mut sealed, part)?;
            sealed.finish().at(part)?;
        }
        let (_, read, _) = input.finish();
        if Some(read) != record.hash {
            let cause = format!("its hash is {read}, which is not the recorded one");
            return Err(Fault::new(Code::BackupCorrupt, source.display(), cause));
        }
        let (file, written, size) = out.finish();
        file.sync_all().at(part)?;
        // From the disk, not from memory; where that cannot be asked for, from where the system has it.
        let _asked = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        let mut hasher = Hasher::new();
        read_all(&mut File::open(part).at(part)?, part, work.cancel, &mut |chunk| {
            hasher.update(chunk);
            Ok(())
        })?;
        let (back, _) = hasher.finish();
        if back != written {
            return Err(Fault::new(
                Code::BackupCopyFailed,
                part.display(),
                "what was read back is not what was written",
            ));
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

    /// Takes an archive, or an encrypted copy of one, in again: it is read through and has a row then. `identities` is a
    /// file with age identities. The backup has to be one of `project`.
    pub fn import(
        &self,
        file: &Path,
        identities: Option<&Path>,
        project: &str,
        cancel: &AtomicBool,
    ) -> Result<Record> {
        let wrong = |cause: &str| Fault::new(Code::Usage, file.display(), cause);
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let plain = name.strip_suffix(AGE).unwrap_or(&name).to_owned();
        if !ArchiveFormat::ALL.iter().any(|format| plain.ends_with(format.ending())) {
            return Err(wrong(
                "it is no archive of a backup: the name ends neither with .tar.gz nor with .tar.zst",
            ));
        }
        let _writer = self.lock_writer("backup import")?;
        let path = self.folder.join(&plain);
        if path.try_exists().at(&path)? {
            return Err(wrong("it is there already; see 'client backup list'"));
        }
        let part = self.folder.join(format!("{plain}.part"));
        let taken = self.take_in(file, name != plain, identities, &part, cancel).and_then(|()| {
            let record = Record { file: plain, ..recover::examine(&part, cancel)? };
            if record.project != project {
                return Err(wrong(&format!("it is a backup of the project {}", record.project)));
            }
            if self.list()?.iter().any(|other| other.id == record.id) {
                return Err(wrong(&format!("backup {} is there already", record.id)));
            }
            std::fs::rename(&part, &path).at(&path)?;
            durable::sync_parent(&path)?;
            self.records().put(&record)?;
            Ok(record)
        });
        if taken.is_err() {
            remove_file(&part)?;
        }
        taken
    }

    fn take_in(
        &self,
        file: &Path,
        encrypted: bool,
        identities: Option<&Path>,
        part: &Path,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let unreadable =
            |error: &dyn std::fmt::Display| Fault::new(Code::BackupCorrupt, file.display(), error);
        let input = File::open(file).at(file)?;
        remove_file(part)?;
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).at(part)?;
        let mut write = |chunk: &[u8]| out.write_all(chunk).at(part);
        if !encrypted {
            read_all(&mut &input, file, cancel, &mut write)?;
            return out.sync_all().at(part);
        }
        let Some(keys) = identities else {
            let cause = "it is encrypted; name the file with your age identity by --identity";
            return Err(Fault::new(Code::Usage, file.display(), cause));
        };
        let text = keys.to_string_lossy().into_owned();
        let keys = age::IdentityFile::from_file(text).at(keys)?.into_identities();
        let keys = keys.map_err(|error| unreadable(&error))?;
        let decryptor = age::Decryptor::new(io::BufReader::new(input)).map_err(|error| unreadable(&error))?;
        let opened = decryptor.decrypt(keys.iter().map(|key| key.as_ref() as &dyn age::Identity));
        let mut opened = opened.map_err(|error| unreadable(&error))?;
        read_all(&mut opened, file, cancel, &mut write)
            .map_err(|fault| if fault.code() == Code::Io { unreadable(&fault.detail()) } else { fault })?;
        out.sync_all().at(part)
    }
}

struct Work<'a> {
    meter: &'a mut Meter,
    cancel: &'a AtomicBool,
}

impl Work<'_> {
    fn pour(&mut self, input: &mut dyn Read, out: &mut dyn Write, shown: &Path) -> Result<()> {
        let meter = &mut *self.meter;
        read_all(input, shown, self.cancel, &mut |chunk| {
            meter.add(chunk.len() as u64);
            out.write_all(chunk).at(shown)
        })
    }
}

fn read_all(
    input: &mut dyn Read,
    shown: &Path,
    cancel: &AtomicBool,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Fault::new(Code::Interrupted, shown.display(), ""));
        }
        match fill(input, &mut buffer).at(shown)? {
            0 => return Ok(()),
            count => take(&buffer[..count])?,
        }
    }
}
