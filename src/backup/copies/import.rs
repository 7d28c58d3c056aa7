//! Takes an archive, or an encrypted copy of one, in again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::name::{AGE, archive_of};
use super::{each_chunk, place};
use crate::backup::record::Record;
use crate::backup::{BackupManager, recover, remove_file};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::settings::CopySettings;

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
        let mut opened = opened.map_err(|error| self.unreadable(error))?;
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
        let path = self.folder.join(&plain);
        if path.try_exists().at(&path)? {
            return Err(request.wrong("it is there already; see 'client backup list'"));
        }
        let part = self.folder.join(format!("{plain}.part"));
        let taken = self.take_in(request, &name, &part, cancel).and_then(|()| {
            let record = Record { file: plain, ..recover::examine(&part, cancel)? };
            if record.project != request.project {
                return Err(request.wrong(format!("it is a backup of the project {}", record.project)));
            }
            if self.list()?.iter().any(|other| other.id == record.id) {
                return Err(request.wrong(format!("backup {} is there already", record.id)));
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
        request: &ImportRequest<'_>,
        name: &str,
        part: &Path,
        cancel: &AtomicBool,
    ) -> Result<()> {
        remove_file(part)?;
        let create = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(part).at(part);
        let sealed = name.ends_with(AGE);
        let bucket = request.from.to_str().filter(|text| text.starts_with("s3://"));
        let Some(folder) = bucket.and_then(|address| address.strip_suffix(name)) else {
            let mut input = File::open(request.from).at(request.from)?;
            let out = create()?;
            request.pour(&mut input, sealed, &out, part, cancel)?;
            return out.sync_all().at(part);
        };
        let settings = CopySettings { to: folder.to_owned(), ..request.settings.clone() };
        let place = place::open(&settings, request.root)?;
        let mut input = place.read(name).map_err(|error| Fault::io(request.from, error))?;
        let out = create()?;
        request.pour(input.as_mut(), sealed, &out, part, cancel)?;
        out.sync_all().at(part)
    }
}
