//! The exchange of a folder's content by a process that has nothing but that folder: in a container, with a volume
//! that is not a folder of the machine the restore runs on.
//!
//! The new content comes as a tar stream. A stream that ends too early, because its sender was killed, changes nothing;
//! what a run that was itself killed left is undone by the next one.

use std::io::Read;
use std::path::Path;

use super::decode::TarReader;
use super::restore::sweep;
use super::selection::Scope;
use super::unpack::{Place, Staged, StagedFolder, Unpacking, finish_unpacking, unpack};
use crate::fault::{Code, Fault, IoContext, Result};

/// The folder that names in the stream lie below.
pub const TOP: &str = "data";

/// Replaces what `scope` says of the folder `target` by what `input` brings, wholly or not at all. `attempt` tells it
/// from others. Gives what could not be kept.
pub fn exchange_inside(
    target: &Path,
    attempt: &str,
    scope: &Scope,
    input: &mut dyn Read,
) -> Result<Vec<String>> {
    sweep(target)?;
    let place = Place { path: target.to_owned(), scope: scope.clone(), cover: scope.cover(attempt)? };
    let mut unpacking = Unpacking::Waiting(place);
    let received = receive(&mut unpacking, target, attempt, input);
    let mut warnings = Vec::new();
    let (mut staged, failed) = finish_unpacking(vec![unpacking], &mut warnings);
    let nothing = || Fault::new(Code::RestoreFailed, target.display(), "the stream is empty");
    let result = match (received, failed, staged.pop()) {
        (Ok(()), None, Some(Staged::Folder(folder))) => return exchange(folder, warnings),
        (Err(fault), _, rest) | (Ok(()), Some(fault), rest) => (fault, rest),
        (Ok(()), None, rest) => (nothing(), rest),
    };
    let (fault, rest) = result;
    rest.map_or(Ok(()), Staged::revert)?;
    Err(fault)
}

fn receive(unpacking: &mut Unpacking, target: &Path, attempt: &str, input: &mut dyn Read) -> Result<()> {
    let mut reader = TarReader::new(input);
    while let Some(entry) = reader.advance().at(target)? {
        unpack(unpacking, attempt, TOP, &entry, &mut reader)?;
    }
    Ok(())
}

fn exchange(folder: StagedFolder, mut warnings: Vec<String>) -> Result<Vec<String>> {
    let StagedFolder { swap, place, root } = folder;
    let synced = swap
        .new_content()
        .and_then(|new| rustix::fs::syncfs(&new).map_err(std::io::Error::from).at(&place.path));
    match synced.and_then(|()| swap.exchange(&root)) {
        Ok(lost) => {
            warnings.extend(lost);
            swap.keep(&place.cover)?;
            swap.clean_up().map(|()| warnings)
        }
        Err(fault) => {
            swap.revert()?;
            Err(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use super::*;
    use crate::backup::outgoing::send_inside;
    use crate::backup::swap::{FolderSwap, STAGING};

    fn stream(folder: &Path) -> Vec<u8> {
        let mut tar = Vec::new();
        send_inside(folder, &Scope::default(), &mut tar).unwrap();
        tar
    }

    fn names(target: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(target)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_in_the_backup_is_gone_and_a_restore_that_was_cut_short_is_undone() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, target) = (scratch.path().join("from"), scratch.path().join("to"));
        for (folder, file, content) in
            [(&from, "kept", "restored"), (&target, "kept", "present"), (&target, "other", "present")]
        {
            fs::create_dir_all(folder.join("folder")).unwrap();
            fs::write(folder.join(file), content).unwrap();
        }
        let tar = stream(&from);

        let swap = FolderSwap::begin(&target, "one").unwrap();
        fs::write(swap.new_path().join("kept"), "half").unwrap();
        swap.exchange(&swap.former_root().unwrap()).unwrap();
        drop(swap);
        // Killed here. The next one brings the former data back first, and is itself cut off in the middle.
        for length in [0, 700, tar.len() - 600] {
            exchange_inside(&target, "two", &Scope::default(), &mut &tar[..length]).unwrap_err();
            assert_eq!(names(&target), ["folder", "kept", "other"]);
            assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "present");
        }
        exchange_inside(&target, "three", &Scope::default(), &mut &tar[..]).unwrap();
        assert_eq!(names(&target), ["folder", "kept"]);
        assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "restored");
        assert!(
            FolderSwap::left_over(&target, &OsString::from(format!("{STAGING}three"))).unwrap().is_none()
        );
    }
}
