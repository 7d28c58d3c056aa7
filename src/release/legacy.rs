//! Packages of the older kind: a `.zip`, `.tar.gz` or `.tar.zst` with the stack in `docker/` and its images as
//! `docker/images/*.tar[.gz]` (`*-amd64.tar` and `*-arm64.tar` where there is one per architecture).
//!
//! They are turned into what everything else works with: a full package into a bundle, a patch package into
//! a release folder. What they do not say (health, persisted paths …) gets the defaults.

mod extract;
mod patch;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::bundle::{BundleSummary, Limits, fault_of, pack};
use super::compose_files::default_compose_files;
use super::dockersave::SavedImages;
use super::info::{DEFAULT_PERSIST, ImageInfo};
use super::operations::lies_in;
use super::{ReleaseInfo, Version, tree};
use crate::fault::{Code, Fault, IoContext, Result};

pub use patch::apply_legacy_patch;

/// The folder of the stack in a package.
const STACK: &str = "docker";
/// The folder of the image archives in the stack.
const IMAGES: &str = "images";

/// How a package of the older kind is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Zip,
    Gzip,
    Zstd,
}

/// Whether the file `package` is of the older kind, by its content. Anything else should be opened as a
/// bundle, which says what is wrong with it.
pub fn is_legacy(package: &Path) -> Result<bool> {
    Ok(container(package)?.is_some())
}

fn container(package: &Path) -> Result<Option<Container>> {
    let mut magic = Vec::new();
    File::open(package).at(package)?.take(4).read_to_end(&mut magic).at(package)?;
    Ok(match magic[..] {
        [b'P', b'K', 3, 4] | [b'P', b'K', 5, 6] => Some(Container::Zip),
        [0x1f, 0x8b, ..] => Some(Container::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(Container::Zstd),
        _ => None,
    })
}

/// Turns the full package `package` into the bundle `bundle_out` for the architecture `arch` (in OCI terms).
/// `scratch` is a folder for intermediate files; it is emptied again.
pub fn convert(
    package: &Path,
    version: &Version,
    arch: &str,
    bundle_out: &Path,
    scratch: &Path,
) -> Result<BundleSummary> {
    let limits = Limits::default();
    let work = Scratch::create(scratch)?;
    let root = work.path.join("package");
    extract::extract(package, &root, &work.path, &limits)?;
    let stack = root.join(STACK);
    let name = package.display();
    let invalid = |cause: String| Fault::new(Code::BundleInvalid, name.to_string(), cause);
    let compose = match stack.is_dir() {
        true => default_compose_files(&stack),
        false => return Err(invalid(format!("there is no folder {STACK}/ in it"))),
    };
    if compose.is_empty() {
        return Err(invalid(format!("there is no Compose file in its folder {STACK}/")));
    }
    let (images, infos) = images(&stack.join(IMAGES), arch, &work.path, &limits)?;
    let mut files = Vec::new();
    for path in tree::list(&stack, |path, _| lies_in(path, IMAGES))? {
        files.extend(tree::describe(&stack, &path)?);
    }
    let info = ReleaseInfo {
        schema: 1,
        name: product_name(package),
        version: version.clone(),
        arch: if infos.is_empty() { "any".into() } else { arch.into() },
        compose,
        persist: DEFAULT_PERSIST.map(String::from).to_vec(),
        config: Vec::new(),
        images: infos,
        health: Default::default(),
        backup: Default::default(),
        hooks: Default::default(),
        services: Default::default(),
        files,
        migrates_data: false,
        requires: Default::default(),
    };
    pack(bundle_out, &info, &stack, |_| true, &images)
}

/// Reads the image archives in `folder` that are for `arch`.
fn images(folder: &Path, arch: &str, work: &Path, limits: &Limits) -> Result<(SavedImages, Vec<ImageInfo>)> {
    let mut images = SavedImages::none();
    if !folder.is_dir() {
        return Ok((images, Vec::new()));
    }
    for name in tree::list(folder, |_, _| false)? {
        let Some(stem) = archive_stem(&name).filter(|stem| for_arch(stem, arch)) else { continue };
        let path =
            plain_tar(&folder.join(&name), &work.join(format!("{}.tar", stem.replace('/', "_"))), limits)?;
        images.add_archive(&path, limits)?;
    }
    let mut infos = Vec::new();
    for image in images.iter() {
        if image.architecture != arch {
            let cause = format!("the image is for {}, this machine is {arch}", image.architecture);
            let label = image.tags.first().map_or_else(|| image.id.to_string(), |tag| tag.familiar());
            return Err(Fault::new(Code::NoPackage, arch, format!("{label}: {cause}")));
        }
        infos.extend(image.tags.iter().map(|tag| image.info(tag.familiar())));
    }
    infos.sort_by(|a, b| a.reference.cmp(&b.reference));
    infos.dedup_by(|a, b| a.reference == b.reference);
    Ok((images, infos))
}

/// `x` for `x.tar`, `x.tar.gz`, `x.tgz`; none for other files.
fn archive_stem(name: &str) -> Option<&str> {
    [".tar", ".tar.gz", ".tgz", ".tar.zst"].iter().find_map(|end| name.strip_suffix(end))
}

/// Whether an image archive is for `arch`; one that names no architecture is for all.
fn for_arch(stem: &str, arch: &str) -> bool {
    let named = [("amd64", "amd64"), ("x86_64", "amd64"), ("arm64", "arm64"), ("aarch64", "arm64")];
    let found = named
        .iter()
        .find(|(end, _)| stem.strip_suffix(end).is_some_and(|rest| rest.ends_with(['-', '_', '.'])));
    found.is_none_or(|(_, named)| *named == arch)
}

/// The archive itself where it is not compressed, else its content in `plain`.
fn plain_tar(archive: &Path, plain: &Path, limits: &Limits) -> Result<PathBuf> {
    let kind = container(archive)?;
    match kind {
        None => Ok(archive.to_owned()),
        Some(kind) => {
            extract::decompress(archive, kind, plain, limits.member)?;
            fs::remove_file(archive).at(archive)?;
            Ok(plain.to_owned())
        }
    }
}

/// The package's name without its ending.
fn product_name(package: &Path) -> String {
    let name = package.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let ends = [".zip", ".tar.gz", ".tgz", ".tar.zst"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name).to_owned()
}

/// A folder that goes away with the value.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes a fresh folder inside `parent`; what an interrupted run left there is removed.
    fn create(parent: &Path) -> Result<Self> {
        let path = parent.join("legacy");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Fault::io(path, error)),
            _ => {}
        }
        fs::create_dir_all(&path).at(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Copies at most `cap` bytes; more is a bomb.
fn copy_capped(reader: impl Read, out: &mut File, name: &str, cap: u64) -> Result<u64> {
    let copied =
        io::copy(&mut reader.take(cap.saturating_add(1)), out).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::new(Code::BundleTruncated, name, error),
            _ => fault_of(error, name),
        })?;
    match copied > cap {
        true => Err(Fault::new(Code::BundleTooLarge, name, format!("more than {cap} bytes"))),
        false => Ok(copied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_s_name_says_which_machine_it_is_for() {
        for (stem, amd, arm) in [
            ("web-amd64", true, false),
            ("web-arm64", false, true),
            ("web_1.0-x86_64", true, false),
            ("web-aarch64", false, true),
            ("web", true, true),
            ("charm64", true, true),
        ] {
            assert_eq!((for_arch(stem, "amd64"), for_arch(stem, "arm64")), (amd, arm), "{stem}");
        }
        assert_eq!(archive_stem("a-amd64.tar.gz"), Some("a-amd64"));
        assert_eq!(archive_stem("README.md"), None);
    }
}
