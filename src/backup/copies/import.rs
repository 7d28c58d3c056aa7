//! Takes an archive, or an encrypted copy of one, in again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::name::{AGE, archive_of};
use super::{Copied, each_chunk, place};
use crate::backup::record::{Record, Status};
use crate::backup::{BackupManager, recover, remove_file};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::Digest;
use crate::release::digest::Hashing;
use crate::settings::{CopySettings, CopyTarget};

/// What the name of an archive that is being taken in ends with.
const PART: &str = ".import.part";

const KNOWN: &str = "it is there already; see 'client backup list'";

/// What is to be taken in.
pub struct ImportRequest<'a> {
    /// A file, or `s3://BUCKET/PREFIX/NAME`.
    pub from: &'a Path,
    /// How a bucket is reached.
    pub settings: &'a CopySettings,
    /// Where paths of `settings` start.
    pub root: &'a Path,
    /// A file with age identities.
    pub identities: Option<&'a Path>,
    /// The project that the backup has to be of.
    pub project: &'a str,
}

impl ImportRequest<'_> {
    fn wrong(&self, cause: impl std::fmt::Display) -> Fault {
        Fault::new(Code::Usage, self.from.display(), cause)
    }

    fn unreadable(&self, error: impl std::error::Error + Send + Sync + 'static) -> Fault {
        Fault::from_error(Code::BackupCorrupt, self.from.display(), error)
    }

    /// The bucket and prefix that `name` is in; none where it is a file.
    fn in_bucket(&self, name: &str) -> Option<String> {
        let address = self.from.to_str().filter(|text| text.starts_with("s3://"))?;
        Some(address.strip_suffix(name)?.to_owned())
    }

    /// Whether it comes from where the settings have backups copied to.
    fn is_copy(&self) -> bool {
        let Ok(Some(place)) = self.settings.target() else { return false };
        let name = self.from.file_name().unwrap_or_default().to_string_lossy();
        match (place, self.in_bucket(&name)) {
            (CopyTarget::Folder(folder), None) => {
                let real = |path: &Path| path.canonicalize().ok();
                let parent = real(self.from).and_then(|file| file.parent().map(Path::to_owned));
                parent.is_some() && parent == real(&folder)
            }
            (place, Some(to)) => {
                let of = CopySettings { to, ..self.settings.clone() };
                of.target() == Ok(Some(place))
            }
            _ => false,
        }
    }

    /// Writes the archive that `input` is, or holds encrypted, to `out`.
    fn pour(
        &self,
        input: &mut dyn Read,
        sealed: bool,
        out: &File,
        path: &Path,
        cancel: &AtomicBool,
    ) -> Result<()> {
        let mut out = out;
        let mut write = |chunk: &[u8]| out.write_all(chunk).at(path);
        if !sealed {
            return each_chunk(input, cancel, &|error| Fault::io(self.from, error), &mut write);
        }
        let Some(keys) = self.identities else {
            return Err(self.wrong("it is encrypted; name the file with your age identity by --identity"));
        };
        let text = keys.to_string_lossy().into_owned();
        let identities = age::IdentityFile::from_file(text).at(keys)?.into_identities();
        let identities =
            identities.map_err(|error| Fault::new(Code::Usage, keys.display(), error.to_string()))?;
        let decryptor =
            age::Decryptor::new(io::BufReader::new(input)).map_err(|error| self.unreadable(error))?;
        let opened = decryptor.decrypt(identities.iter().map(|key| key.as_ref() as &dyn age::Identity));
        let mut opened = opened.map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => {
                self.wrong(format!("none of the identities in {} opens it", keys.display()))
            }
            error => self.unreadable(error),
        })?;
        each_chunk(&mut opened, cancel, &|error| self.unreadable(error), &mut write)
    }
}

impl BackupManager {
    /// Takes what `request` names in: it is read through and has a row then. On any error nothing of it is left. To be
    /// called on a blocking thread of a tokio runtime.
    pub fn import(&self, request: &ImportRequest<'_>, cancel: &AtomicBool) -> Result<Record> {
        let name =
            request.from.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let Some(plain) = archive_of(&name).map(str::to_owned) else {
            let cause = "it is no archive of a backup: the name ends neither with .tar.gz nor with .tar.zst";
            return Err(request.wrong(cause));
        };
        let _writer = self.lock_writer("backup import")?;
        self.forget_imports()?;
        let path = self.folder.join(&plain);
        if request.from.canonicalize().is_ok_and(|from| Some(from) == path.canonicalize().ok()) {
            return self.adopt(request, &path, cancel);
        }
        if path.try_exists().at(&path)? {
            if self.knows(&path)? {
                return Err(request.wrong(KNOWN));
            }
            let path = path.display();
            return Err(request.wrong(format!(
                "a file of that name is in the backups without a record; 'client backup import {path}' takes that one in"
            )));
        }
        let part = self.folder.join(format!("{plain}{PART}"));
        let taken = self.take_in(request, &name, &part, cancel).and_then(|(hash, size)| {
            let record = self.admit(request, Record { file: plain, ..recover::examine(&part, cancel)? })?;
            if request.is_copy() {
                // It need not be copied there again. Before it has a row: then nothing can fail any more.
                let path = request.from.display().to_string();
                self.note(
                    &Copied { backup: record.id.clone(), path, size, hash },
                    &request.settings.to,
                    &name,
                )?;
            }
            let path = self.path_of(&record);
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

    /// Gives an archive that lies where backups do, and has no row, one.
    fn adopt(&self, request: &ImportRequest<'_>, path: &Path, cancel: &AtomicBool) -> Result<Record> {
        if self.knows(path)? {
            return Err(request.wrong(KNOWN));
        }
        let record = self.admit(request, recover::examine(path, cancel)?)?;
        if self.path_of(&record) != path {
            let cause = format!(
                "backup {} has to be called {}; move it away, then import it",
                record.id, record.file
            );
            return Err(request.wrong(cause));
        }
        self.records().put(&record)?;
        Ok(record)
    }

    /// Whether a record names the file `path`.
    fn knows(&self, path: &Path) -> Result<bool> {
        Ok(self.list()?.iter().any(|record| self.path_of(record) == path))
    }

    /// The record that is to be written for an archive that was read through: of this project, and either new or that of
    /// a backup whose file is gone, which then has its file again.
    fn admit(&self, request: &ImportRequest<'_>, record: Record) -> Result<Record> {
        if record.project != request.project {
            return Err(request.wrong(format!("it is a backup of the project {}", record.project)));
        }
        let Some(known) = self.list()?.into_iter().find(|other| other.id == record.id) else {
            return Ok(record);
        };
        let there = self.path_of(&known);
        let is_gone =
            matches!(known.status, Status::Complete | Status::Failed) && !there.try_exists().at(&there)?;
        if !is_gone {
            return Err(request.wrong(format!("backup {} is there already", record.id)));
        }
        Ok(Record { file: known.file, target: known.target, ..record })
    }

    /// Removes what imports left that were killed. The writers' lock is held: none is under way.
    pub(in crate::backup) fn forget_imports(&self) -> Result<()> {
        for item in std::fs::read_dir(&self.folder).at(&self.folder)? {
            let path = item.at(&self.folder)?.path();
            if path.to_string_lossy().ends_with(PART) {
                remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The hash and length of what was read.
    fn take_in(
        &self,
        request: &ImportRequest<'_>,
        name: &str,
        part: &Path,
        cancel: &AtomicBool,
    ) -> Result<(Digest, u64)> {
        let take = |input: &mut dyn Read| {
            let mut input = Hashing::new(input);
            let out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).at(part)?;
            request.pour(&mut input, name.ends_with(AGE), &out, part, cancel)?;
            out.sync_all().at(part)?;
            // The hash is of all that is there, also of what nobody had to read.
            io::copy(&mut input, &mut io::sink()).map_err(|error| Fault::io(request.from, error))?;
            let (_, hash, size) = input.finish();
            Ok((hash, size))
        };
        let Some(folder) = request.in_bucket(name) else {
            return take(&mut File::open(request.from).at(request.from)?);
        };
        let settings = CopySettings { to: folder, ..request.settings.clone() };
        let place = place::open(&settings, request.root, &self.folder)?;
        take(place.read(name).map_err(|error| Fault::io(request.from, error))?.as_mut())
    }
}
