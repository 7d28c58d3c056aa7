//! A folder as a plain tar stream, written by a process that has nothing but that folder: in a container, with a volume
//! that is not a folder of the machine the backup is made on. The engine's own stream would lose nanoseconds and extended
//! attributes.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::encode::{self, BLOCK, padding};
use super::entry::{Entry, EntryKind, Mtime};
use super::inside::TOP;
use super::selection::Scope;
use super::walk;
use super::write::{CHUNK, Sink, Source, content};
use crate::fault::{IoContext, Result};

/// The name in it of a last file, with what a person should know, a line each. It cannot be a name of the data: it would
/// be that of an unfinished restore.
pub const NOTES: &str = ".compose-upgrade-restore-notes";

/// Writes what is at `target`, as far as `scope` has it, to `out`.
pub fn send_inside(target: &Path, scope: &Scope, out: &mut impl Write) -> Result<()> {
    let filter = scope.selection.filter(TOP)?;
    let mut tar = PlainTar { out, buffer: vec![0; CHUNK], notes: Vec::new() };
    walk::add(&mut tar, TOP, target, &filter)?;
    let notes = std::mem::take(&mut tar.notes).join("\n");
    if !notes.is_empty() {
        let entry = Entry {
            path: PathBuf::from(TOP).join(NOTES),
            kind: EntryKind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Mtime { seconds: 0, nanos: 0 },
            size: notes.len() as u64,
            link: PathBuf::new(),
            xattrs: Default::default(),
        };
        tar.append(&entry, &mut notes.as_bytes(), &target)?;
    }
    let out = tar.out;
    out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).at(target)
}

struct PlainTar<W> {
    out: W,
    buffer: Vec<u8>,
    notes: Vec<String>,
}

impl<W: Write> Sink for PlainTar<W> {
    fn append(&mut self, entry: &Entry, body: &mut dyn Read, source: &dyn Source) -> Result<bool> {
        let Self { out, buffer, .. } = self;
        let wrong = |error| crate::Fault::io(Path::new("standard output"), error);
        out.write_all(&encode::header(entry)).map_err(wrong)?;
        let whole =
            content(entry.size, body, source, buffer, &mut |chunk| out.write_all(chunk).map_err(wrong))?;
        out.write_all(&[0; BLOCK][..padding(entry.size) as usize]).map_err(wrong)?;
        Ok(whole)
    }

    fn warn(&mut self, text: String) {
        self.notes.push(text.replace('\n', " "));
    }
}
