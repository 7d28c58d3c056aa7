//! Writes a bundle and its index. The same members in the same order give the same bytes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use super::super::digest::Hashing;
use super::super::info::is_safe_relative;
use super::super::{Digest, oci};
use super::{Encoding, IMAGES, Index, Member, Verified, ZST, fault_of, index_path};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};

/// Smaller blobs are stored as they are.
const WORTH_COMPRESSING: u64 = 4096;
/// Layers are packed once and fetched by many; beyond this level zstd gains little and takes much longer.
const LEVEL: i32 = 9;
const BLOCK: u64 = 512;

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSummary {
    /// The bundle.
    pub path: PathBuf,
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub hash: Digest,
    /// Its index.
    pub index_path: PathBuf,
    /// The digest of the index.
    pub index_hash: Digest,
}

/// Writes members one after the other; the bundle appears under its name only when it is finished.
pub struct BundleWriter {
    path: PathBuf,
    part: PathBuf,
    tar: Option<tar::Builder<File>>,
    members: Vec<Member>,
    taken: BTreeSet<String>,
}

impl BundleWriter {
    /// Begins the bundle `path`; what is there under this name stays until [`BundleWriter::finish`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let part = durable::part_of(&path)?;
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&part).at(&part)?;
        let tar = Some(tar::Builder::new(file));
        Ok(Self { path, part, tar, members: Vec::new(), taken: BTreeSet::new() })
    }

    /// Adds a file from memory.
    pub fn add_bytes(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        self.add_file(path, mode, bytes.len() as u64, Digest::of(bytes), bytes)
    }

    /// Adds a file as it is; `reader` must give `size` bytes with the digest `hash`.
    pub fn add_file(
        &mut self,
        path: &str,
        mode: u32,
        size: u64,
        hash: Digest,
        reader: impl Read,
    ) -> Result<()> {
        self.take(path)?;
        let mut header = header(tar::EntryType::Regular, mode, size);
        let part = self.part.clone();
        let tar = self.tar()?;
        let data = Verified::new(reader, path, size, hash);
        tar.append_data(&mut header, path, data).map_err(|error| fault_of(error, path))?;
        let end = tar.get_mut().stream_position().at(&part)?;
        let offset = end - size.next_multiple_of(BLOCK);
        let path = path.to_owned();
        let encoding = Encoding::None;
        self.members.push(Member { path, offset, length: size, encoding, size, hash, encoded_hash: hash });
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn add_link(&mut self, path: &str, target: &str) -> Result<()> {
        self.take(path)?;
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        self.tar()?.append_link(&mut header, path, target).map_err(|error| fault_of(error, path))
    }

    /// Adds the image blob `digest` of `size` bytes, compressed where that makes it smaller. `open` gives
    /// its content; it is called again where compression did not pay. A blob that is in already is skipped.
    pub fn add_blob<R: Read>(
        &mut self,
        digest: Digest,
        size: u64,
        mut open: impl FnMut() -> Result<R>,
    ) -> Result<()> {
        let path = format!("{IMAGES}/{}", oci::blob_path(&digest));
        if self.taken.contains(&path) {
            return Ok(());
        }
        if size >= WORTH_COMPRESSING {
            let data = Verified::new(open()?, &path, size, digest);
            if self.add_compressed(&path, size, digest, data)? {
                return Ok(());
            }
        }
        self.add_file(&path, 0o644, size, digest, open()?)
    }

    /// Whether compression paid; if not, nothing was added.
    fn add_compressed(&mut self, path: &str, size: u64, hash: Digest, mut data: impl Read) -> Result<bool> {
        let part = self.part.clone();
        let tar = self.tar()?;
        let file = tar.get_mut();
        // The name and length are known only after the data: room for the header is left and filled later.
        let start = file.stream_position().at(&part)?;
        file.write_all(&[0; BLOCK as usize]).at(&part)?;
        let (encoded_hash, length) =
            compress(&mut data, &mut *file, size).map_err(|error| fault_of(error, path))?;
        if length >= size {
            file.set_len(start).at(&part)?;
            file.seek(SeekFrom::Start(start)).at(&part)?;
            return Ok(false);
        }
        let mut header = header(tar::EntryType::Regular, 0o644, length);
        header.set_path(format!("{path}{ZST}")).map_err(|error| fault_of(error, path))?;
        header.set_cksum();
        let padding = length.next_multiple_of(BLOCK) - length;
        (|| {
            file.write_all(&[0; BLOCK as usize][..padding as usize])?;
            file.seek(SeekFrom::Start(start))?;
            file.write_all(header.as_bytes())?;
            file.seek(SeekFrom::End(0))
        })()
        .at(&part)?;
        self.take(path)?;
        let (path, offset, encoding) = (path.to_owned(), start + BLOCK, Encoding::Zstd);
        self.members.push(Member { path, offset, length, encoding, size, hash, encoded_hash });
        Ok(true)
    }

    /// How many bytes the member `path` takes; none where it is not in.
    pub(super) fn stored(&self, path: &str) -> Option<u64> {
        self.members.iter().find(|member| member.path == path).map(|member| member.length)
    }

    /// Ends the bundle, writes its index beside it, and makes both durable.
    pub fn finish(mut self) -> Result<BundleSummary> {
        let tar = self.tar.take().ok_or_else(|| already_finished(&self.path))?;
        let mut file = tar.into_inner().at(&self.part)?;
        file.sync_all().at(&self.part)?;
        file.rewind().at(&self.part)?;
        let (hash, size) = Digest::of_reader(file).at(&self.part)?;
        let index = Index { schema: 1, members: std::mem::take(&mut self.members) }.to_json();
        let index_path = index_path(&self.path);
        durable::write_atomic(&index_path, &index)?;
        durable::rename(&self.part, &self.path)?;
        Ok(BundleSummary { path: self.path.clone(), size, hash, index_path, index_hash: Digest::of(&index) })
    }

    fn tar(&mut self) -> Result<&mut tar::Builder<File>> {
        let path = &self.path;
        self.tar.as_mut().ok_or_else(|| already_finished(path))
    }

    fn take(&mut self, path: &str) -> Result<()> {
        if !is_safe_relative(path) {
            return Err(Fault::new(Code::BundleUnsafe, path, self.path.display()));
        }
        match self.taken.insert(path.to_owned()) {
            true => Ok(()),
            false => Err(Fault::new(Code::BundleInvalid, self.path.display(), format!("{path} is in twice"))),
        }
    }
}

impl Drop for BundleWriter {
    /// A bundle that was not finished leaves nothing behind.
    fn drop(&mut self) {
        if self.tar.take().is_some() {
            let _ = fs::remove_file(&self.part);
        }
    }
}

fn already_finished(path: &Path) -> Fault {
    Fault::new(Code::BundleInvalid, path.display(), "it is finished already")
}

/// Owner, group and time say nothing about a release, and would make two builds of it differ.
pub(super) fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn compress(data: &mut impl Read, out: &mut File, size: u64) -> io::Result<(Digest, u64)> {
    let mut encoder = zstd::Encoder::new(Hashing::new(out), LEVEL)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.include_contentsize(true)?;
    // At least one worker: the multi-threaded format does not depend on how many there are, but differs
    // from the single-threaded one.
    let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
    encoder.multithread(workers.min(16) as u32)?;
    io::copy(data, &mut encoder)?;
    let (_, digest, length) = encoder.finish()?.finish();
    Ok((digest, length))
}
