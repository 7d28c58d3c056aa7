//! Edits of files that nobody declared as editable: found, shown, and kept aside.

use std::fs;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::fault::{Fault, Result};
use crate::layout::Layout;
use crate::messages::Say;
use crate::release::Version;
use crate::release::tree::{Difference, verify_release};
use crate::upgrade::installation::Installation;
use crate::upgrade::releases;

/// Lines of a difference that go into a warning.
pub const SHORT: usize = 12;
/// Lines of a difference that are shown to who asks.
pub const LONG: usize = 200;
/// Larger files are named and not compared.
const LARGEST: u64 = 1 << 20;

/// A file of a release folder that is not as it was shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The release.
    pub version: Version,
    /// The file.
    pub path: String,
    /// What was changed, as a unified diff; empty where it is no text or its shipped form is not known.
    pub diff: String,
}

impl Edit {
    /// As a warning, with at most `lines` lines of the difference.
    pub fn say(&self, lines: usize) -> Say {
        let diff = shortened(&self.diff, lines);
        Say::Edited { version: self.version.to_string(), path: self.path.clone(), diff }
    }
}

/// The first `lines` lines of `diff`, and how many more there are.
pub fn shortened(diff: &str, lines: usize) -> String {
    let all = diff.lines().count();
    if all <= lines {
        return diff.trim_end().to_owned();
    }
    let first: Vec<&str> = diff.lines().take(lines).collect();
    format!("{}\n… (+{})", first.join("\n"), all - lines)
}

/// The files of the release `version` that a person changed or removed; what the release lets them edit is not
/// among them.
pub fn by_hand(installation: &Installation, version: &Version) -> Result<Vec<Edit>> {
    let layout = &installation.layout;
    let folder = layout.release(&version.to_string());
    let Some(info) = releases::info(layout, version)? else {
        return Ok(Vec::new());
    };
    let deviations = verify_release(&folder, &info, &releases::editable(&info, &installation.settings))?;
    let changed = deviations.into_iter().filter(|one| one.difference == Difference::Changed);
    changed
        .map(|one| {
            let diff = difference(&folder, &one.path)?;
            Ok(Edit { version: version.clone(), path: one.path, diff })
        })
        .collect()
}

fn difference(folder: &Path, path: &str) -> Result<String> {
    let shipped = text(&folder.join(releases::PRISTINE).join(path))?;
    let own = text(&folder.join(path))?;
    Ok(match (shipped, own) {
        (Some(shipped), Some(own)) => unified(path, &shipped, &own),
        _ => String::new(),
    })
}

/// A unified diff of the file at `path`.
pub fn unified(path: &str, shipped: &str, own: &str) -> String {
    let patch = diffy::create_patch(shipped, own).to_string();
    let body = patch.lines().skip_while(|line| !line.starts_with("@@"));
    let lines: Vec<&str> = body.collect();
    format!("--- {path} (as shipped)\n+++ {path}\n{}\n", lines.join("\n"))
}

/// Keeps the file at `path` of the release folder `folder` aside, beside whatever was kept before; where it is kept,
/// or none where there is no such file.
pub fn set_aside(layout: &Layout, version: &Version, folder: &Path, path: &str) -> Result<Option<PathBuf>> {
    let Some(own) = read(&folder.join(path))? else {
        return Ok(None);
    };
    keep(layout, version, path, &own).map(Some)
}

/// Keeps `own` aside as the edit of `path`; the place it has.
pub fn keep(layout: &Layout, version: &Version, path: &str, own: &[u8]) -> Result<PathBuf> {
    for place in places(layout, version, path) {
        match read(&place)? {
            Some(kept) if kept == own => return Ok(place),
            Some(_) => {}
            None => {
                releases::make_parent(&place)?;
                durable::write_private(&place, own)?;
                return Ok(place);
            }
        }
    }
    unreachable!("there is always one place more")
}

/// Whether the file at `path` is as it was when its edit was kept aside: then it is what ran, and no damage.
pub fn is_known(layout: &Layout, version: &Version, path: &str) -> Result<bool> {
    let Some(own) = read(&layout.release(&version.to_string()).join(path))? else {
        return Ok(false);
    };
    for place in places(layout, version, path) {
        match read(&place)? {
            Some(kept) if kept == own => return Ok(true),
            Some(_) => {}
            None => return Ok(false),
        }
    }
    Ok(false)
}

/// Where edits of `path` are kept: under its own name, then with a number.
fn places(layout: &Layout, version: &Version, path: &str) -> impl Iterator<Item = PathBuf> {
    let first = layout.shared().join("edits").join(version.to_string()).join(path);
    let numbered = first.clone();
    let more = (2_u64..).map(move |number| PathBuf::from(format!("{}.{number}", numbered.display())));
    std::iter::once(first).chain(more)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    use std::io::ErrorKind;
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Fault::io(path, error)),
    }
}

fn text(path: &Path) -> Result<Option<String>> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > LARGEST) {
        return Ok(None);
    }
    Ok(read(path)?.and_then(|bytes| String::from_utf8(bytes).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_reads_like_any_other_and_can_be_cut_short() {
        let diff = unified("compose.yaml", "a\nb\n", "a\nB\n");
        assert_eq!(diff, "--- compose.yaml (as shipped)\n+++ compose.yaml\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n");
        assert_eq!(
            shortened(&diff, 4),
            "--- compose.yaml (as shipped)\n+++ compose.yaml\n@@ -1,2 +1,2 @@\n a\n… (+2)"
        );
        assert_eq!(shortened(&diff, 9), diff.trim_end());
    }

    #[test]
    fn an_edit_that_is_kept_never_takes_the_place_of_another() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let version: Version = "1.0.0".parse().unwrap();
        let folder = layout.release("1.0.0");
        fs::create_dir_all(&folder).unwrap();
        let mut places = Vec::new();
        for content in ["one", "two", "one"] {
            fs::write(folder.join("a.conf"), content).unwrap();
            assert_eq!(is_known(&layout, &version, "a.conf").unwrap(), places.len() == 2);
            places.push(set_aside(&layout, &version, &folder, "a.conf").unwrap().unwrap());
            assert!(is_known(&layout, &version, "a.conf").unwrap());
        }
        assert_eq!(places[0], places[2]);
        assert_eq!(fs::read_to_string(&places[1]).unwrap(), "two");
        assert!(places[1].ends_with("shared/edits/1.0.0/a.conf.2"));
        assert_eq!(set_aside(&layout, &version, &folder, "absent").unwrap(), None);
    }
}
