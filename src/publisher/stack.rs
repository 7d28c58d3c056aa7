//! Chooses the files of a stack folder that make up a release.

use std::path::Path;

use super::settings::{RELEASE_TOML, ReleaseToml};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::bundle::link_stays_inside;
use crate::release::compose_files::default_compose_files;
use crate::release::globs::Globs;
use crate::release::info::FileInfo;
use crate::release::tree::{self, OWN_RELEASE_JSON};

/// The Compose files: those named, or those Compose would find.
pub(super) fn compose_files(stack: &Path, settings: &ReleaseToml) -> Result<Vec<String>> {
    if settings.compose.is_empty() {
        let found = default_compose_files(stack);
        return match found.is_empty() {
            true => Err(Fault::new(Code::ComposeInvalid, stack.display(), "there is no Compose file in it")),
            false => Ok(found),
        };
    }
    for file in &settings.compose {
        let path = stack.join(file);
        path.symlink_metadata().at(&path)?;
    }
    Ok(settings.compose.clone())
}

/// Every file that is packed, described.
///
/// Left out: `release.toml`, `.git`, the folder `out` where it lies inside, what `exclude` matches, what
/// `include` does not match where it is given, and the content of persisted folders. A persisted FILE such
/// as `.env` is packed: it is the template of a fresh install.
pub(super) fn files(
    stack: &Path,
    out: &Path,
    settings: &ReleaseToml,
    compose: &[String],
) -> Result<Vec<FileInfo>> {
    let persist = settings.persist();
    let exclude = patterns(stack, "exclude", &settings.exclude)?;
    let include = patterns(stack, "include", &settings.include)?;
    let inside = out_inside(stack, out);
    let always =
        |path: &str| [compose, &persist, &settings.config].iter().any(|list| list.iter().any(|p| p == path));
    let skip = |path: &str, is_dir: bool| {
        let top = matches!(path, RELEASE_TOML | OWN_RELEASE_JSON | ".git");
        let own = is_dir && (persist.iter().any(|own| own == path) || inside.as_deref() == Some(path));
        // A folder is entered even if no pattern matches it: one may match what is in it.
        let wanted = is_dir || always(path) || include.is_empty() || include.matches(path);
        top || own || !wanted || (!always(path) && exclude.matches(path))
    };
    let mut files = Vec::new();
    for path in tree::list(stack, skip)? {
        let Some(file) = tree::describe(stack, &path)? else { continue };
        let depth = path.matches('/').count();
        if let Some(target) = file.link.as_deref().filter(|target| !link_stays_inside(target, depth)) {
            let cause = format!("it links to {target}, outside the stack folder");
            return Err(Fault::new(Code::BundleUnsafe, stack.join(&path).display(), cause));
        }
        files.push(file);
    }
    for path in compose.iter().chain(&settings.config) {
        if !files.iter().any(|file| file.path == *path) {
            let cause = format!("{path} is named in {RELEASE_TOML}, but is not among the packed files");
            return Err(Fault::new(Code::ConfigInvalid, stack.join(RELEASE_TOML).display(), cause));
        }
    }
    Ok(files)
}

/// Where `out` is in `stack`, if it is.
fn out_inside(stack: &Path, out: &Path) -> Option<String> {
    let (stack, out) = (stack.canonicalize().ok()?, out.canonicalize().ok()?);
    Some(out.strip_prefix(stack).ok()?.to_str()?.to_owned())
}

fn patterns(stack: &Path, key: &str, globs: &[String]) -> Result<Globs> {
    Globs::new(globs).map_err(|(text, error)| {
        let cause = format!("{key}: {text:?}: {error}");
        Fault::new(Code::ConfigInvalid, stack.join(RELEASE_TOML).display(), cause)
    })
}
