//! Takes a package of the older kind apart, trusting nothing in it.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use super::super::bundle::{Limits, fault_of, link_stays_inside};
use super::super::info::is_safe_relative;
use super::super::tarball::{self, Section, TarKind};
use super::{Container, copy_capped};
use crate::fault::{Code, Fault, IoContext, Result};

/// Extracts `package` into the new folder `root`; `work` takes intermediate files.
pub(super) fn extract(package: &Path, root: &Path, work: &Path, limits: &Limits) -> Result<()> {
    fs::create_dir_all(root).at(root)?;
    let name = package.display().to_string();
    let mut sink = Sink { root, name: &name, limits, total: 0, links: Vec::new(), seen: BTreeSet::new() };
    match super::container(package)? {
        None => return Err(Fault::new(Code::BundleInvalid, name, "it is neither zip, tar.gz nor tar.zst")),
        Some(Container::Zip) => unzip(package, &mut sink)?,
        Some(kind) => {
            // First to disk, then by the headers: a compressed stream would have to be believed about the
            // length of its names while it is read.
            let plain = work.join("package.tar");
            decompress(package, kind, &plain, limits.total)?;
            untar(&plain, &mut sink)?;
            fs::remove_file(&plain).at(&plain)?;
        }
    }
    sink.finish()
}

/// Writes the decompressed content of `source`, at most `cap` bytes, to `target`.
pub(super) fn decompress(source: &Path, kind: Container, target: &Path, cap: u64) -> Result<()> {
    let name = source.display().to_string();
    let input = BufReader::new(File::open(source).at(source)?);
    let reader: Box<dyn Read> = match kind {
        Container::Zip => return Err(Fault::new(Code::BundleInvalid, name, "a zip where a tar should be")),
        Container::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Container::Zstd => {
            Box::new(zstd::Decoder::with_buffer(input).map_err(|error| fault_of(error, &name))?)
        }
    };
    let mut out = File::create(target).at(target)?;
    copy_capped(reader, &mut out, &name, cap).map(drop)
}

fn untar(plain: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let file = Arc::new(File::open(plain).at(plain)?);
    for entry in tarball::scan(&file, sink.name, sink.limits.entries)? {
        let path = entry.path.as_str();
        match entry.kind {
            TarKind::Directory => sink.directory(path)?,
            TarKind::File => {
                sink.file(path, entry.mode, Section::new(file.clone(), entry.offset, entry.length))?;
            }
            TarKind::Link(target) => sink.link(path, target)?,
            TarKind::HardLink(target) => return Err(sink.refused(path, &format!("a hard link to {target}"))),
            TarKind::Other(_) => return Err(sink.refused(path, "neither file, folder nor link")),
        }
    }
    Ok(())
}

fn unzip(package: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let invalid = |name: &str, error: zip::result::ZipError| match error {
        zip::result::ZipError::Io(error) => fault_of(error, name),
        other => Fault::from_error(Code::BundleInvalid, name, other),
    };
    let input = BufReader::new(File::open(package).at(package)?);
    let mut archive = zip::ZipArchive::new(input).map_err(|error| invalid(sink.name, error))?;
    if archive.len() > sink.limits.entries {
        return Err(Fault::new(Code::BundleTooLarge, sink.name, format!("{} entries", archive.len())));
    }
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).map_err(|error| invalid(sink.name, error))?;
        let path = String::from_utf8(entry.name_raw().to_vec())
            .map_err(|_| Fault::new(Code::BundleInvalid, sink.name, "a name is not UTF-8"))?;
        let mode = entry.unix_mode();
        // The file type in the Unix mode, where there is one: anything but file, folder and link is refused.
        match mode.map(|mode| mode & 0o170_000) {
            Some(0o120_000) => {
                let mut target = String::new();
                (&mut entry)
                    .take(4096)
                    .read_to_string(&mut target)
                    .map_err(|error| fault_of(error, &path))?;
                sink.link(&path, target)?;
            }
            _ if path.ends_with('/') => sink.directory(&path)?,
            None | Some(0 | 0o100_000) => sink.file(&path, mode.unwrap_or(0o644), &mut entry)?,
            _ => return Err(sink.refused(&path, "neither file, folder nor link")),
        }
    }
    Ok(())
}

/// Where entries go, with the sum of what came out so far.
struct Sink<'a> {
    root: &'a Path,
    name: &'a str,
    limits: &'a Limits,
    total: u64,
    /// Made last, so that nothing is ever written through one.
    links: Vec<(String, String)>,
    seen: BTreeSet<String>,
}

impl Sink<'_> {
    fn refused(&self, path: &str, cause: &str) -> Fault {
        Fault::new(Code::BundleUnsafe, path, format!("{}: {cause}", self.name))
    }

    /// The path without `./` at its start and `/` at its end; empty for the top folder itself.
    fn admit<'p>(&self, path: &'p str) -> Result<&'p str> {
        let mut bare = path.strip_suffix('/').unwrap_or(path);
        while let Some(rest) = bare.strip_prefix("./") {
            bare = rest;
        }
        match bare {
            "." | "" => Ok(""),
            _ if is_safe_relative(bare) => Ok(bare),
            _ => Err(self.refused(path, "the path is not allowed")),
        }
    }

    fn directory(&mut self, path: &str) -> Result<()> {
        let folder = self.root.join(self.admit(path)?);
        fs::create_dir_all(&folder).at(&folder)
    }

    fn file(&mut self, path: &str, mode: u32, reader: impl Read) -> Result<()> {
        let bare = self.admit(path)?;
        self.claim(bare)?;
        let target = self.parent(bare)?;
        let mut out =
            File::options().write(true).create_new(true).open(&target).map_err(|error| {
                match error.kind() {
                    io::ErrorKind::AlreadyExists => {
                        Fault::new(Code::BundleInvalid, self.name, format!("{path} is in twice"))
                    }
                    _ => Fault::io(&target, error),
                }
            })?;
        let cap = self.limits.member.min(self.limits.total - self.total);
        self.total += copy_capped(reader, &mut out, path, cap)?;
        // Archives made on Windows carry no mode at all.
        let mode = if mode & 0o777 == 0 { 0o644 } else { mode & 0o777 };
        fs::set_permissions(&target, Permissions::from_mode(mode)).at(&target)
    }

    fn link(&mut self, path: &str, target: String) -> Result<()> {
        let bare = self.admit(path)?;
        // A link must stay in `docker/`, the folder that becomes the release: its own depth does not count.
        let depth = bare.matches('/').count().saturating_sub(1);
        if !link_stays_inside(&target, depth) {
            return Err(self.refused(path, &format!("it links to {target}")));
        }
        self.claim(bare)?;
        self.links.push((bare.to_owned(), target));
        Ok(())
    }

    fn claim(&mut self, path: &str) -> Result<()> {
        match self.seen.insert(path.to_owned()) && !path.is_empty() {
            true => Ok(()),
            false => Err(Fault::new(Code::BundleInvalid, self.name, format!("{path} is in twice"))),
        }
    }

    /// The path in the folder, with the folders above it made.
    fn parent(&self, path: &str) -> Result<std::path::PathBuf> {
        let target = self.root.join(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        Ok(target)
    }

    fn finish(mut self) -> Result<()> {
        let links = std::mem::take(&mut self.links);
        let all: BTreeSet<&str> = links.iter().map(|(path, _)| path.as_str()).collect();
        for (path, to) in &links {
            let below = path.match_indices('/').any(|(at, _)| all.contains(&path[..at]));
            if below {
                return Err(self.refused(path, "it lies below a link"));
            }
            let target = self.parent(path)?;
            symlink(to, &target).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => self.refused(path, "a link where files are"),
                _ => Fault::io(&target, error),
            })?;
        }
        Ok(())
    }
}
