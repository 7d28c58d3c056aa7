//! `<destination>.part.map`: which bytes of a part file were written, as the page cache has them.
//!
//! The row in the state database tells what survives a power cut, and that costs a sync. This file tells what survives
//! the process, and costs one write without any: pages that were written stay when a process is killed, and they stay
//! together with this file, or are lost together with it when the machine goes down. So it counts only while the
//! machine has not been started again. It is a hint; the hash of the whole file has the last word.
//!
//! Two slots are written in turn, each one line: the SHA-256 of the text, a space, the text (JSON). A slot that was torn
//! leaves the other one.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::answer::Validator;
use super::extents::Extents;
use crate::fault::{Fault, IoContext, Result};
use crate::release::Digest;

const SLOT: usize = 8192;
/// So many fit into a slot whatever their numbers are; the longest are kept.
const MOST_EXTENTS: usize = 160;
const SCHEMA: u32 = 1;

/// What is in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    schema: u32,
    /// Counts up; the slot with the higher one is the newer.
    turn: u64,
    /// Which start of the machine.
    boot: String,
    /// The hash of what proves the file the same; that itself could be of any length.
    validator: Digest,
    /// Bytes of the whole file.
    length: u64,
    extents: Extents,
}

/// The map of a download in progress.
pub(super) struct Map {
    path: PathBuf,
    file: File,
    record: Record,
}

/// `<part>.map`.
pub(super) fn path_for(part: &Path) -> PathBuf {
    let mut name = part.as_os_str().to_owned();
    name.push(".map");
    name.into()
}

/// Which start of the machine this is; none where the system does not say.
pub(super) fn boot() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Removes the map of `part`; there need not be one.
pub(super) fn remove(part: &Path) -> Result<()> {
    let path = path_for(part);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Fault::io(path, error)),
        _ => Ok(()),
    }
}

/// What was written of `part` since the machine was started, if its map is about this file and this start. What cannot
/// be read counts for nothing: it only saves work.
pub(super) fn read(part: &Path, validator: &Validator, length: u64) -> Option<Extents> {
    let boot = boot()?;
    let content = fs::read(path_for(part)).ok()?;
    let record = newest(&content)?;
    let fits = record.boot == boot && record.validator == digest(validator) && record.length == length;
    fits.then_some(record.extents)
}

fn newest(content: &[u8]) -> Option<Record> {
    content.chunks(SLOT).filter_map(parse).max_by_key(|record| record.turn)
}

fn parse(slot: &[u8]) -> Option<Record> {
    let line = slot.split(|byte| *byte == b'\n').next()?;
    let (sum, text) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if sum != Digest::of(text).hex() {
        return None;
    }
    serde_json::from_str(text).ok().filter(|record: &Record| record.schema == SCHEMA)
}

fn digest(validator: &Validator) -> Digest {
    Digest::of(validator.value())
}

impl Map {
    /// Begins the map of `part`; none where nobody could tell later whether it still counts.
    pub(super) fn create(
        part: &Path,
        validator: &Validator,
        length: u64,
        extents: &Extents,
    ) -> Result<Option<Self>> {
        let Some(boot) = boot() else { return Ok(None) };
        let path = path_for(part);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).at(&path)?;
        let validator = digest(validator);
        let record = Record { schema: SCHEMA, turn: 0, boot, validator, length, extents: Extents::default() };
        let mut map = Self { path, file, record };
        // Over both slots, so that nothing of a former map stays, and at once, so that later writes need no room.
        let mut slots = map.next(extents)?;
        slots.resize(SLOT, 0);
        slots.extend(map.next(extents)?);
        slots.resize(2 * SLOT, 0);
        map.file.write_all_at(&slots, 0).at(&map.path)?;
        Ok(Some(map))
    }

    /// Takes note of what has been written.
    pub(super) fn write(&mut self, extents: &Extents) -> Result<()> {
        let line = self.next(extents)?;
        let slot = (self.record.turn + 1) % 2 * SLOT as u64;
        self.file.write_all_at(&line, slot).at(&self.path)
    }

    /// The line of the next turn; odd turns belong into the first slot.
    fn next(&mut self, extents: &Extents) -> Result<Vec<u8>> {
        self.record.turn += 1;
        self.record.extents = extents.longest(MOST_EXTENTS);
        let text =
            serde_json::to_string(&self.record).map_err(|error| Fault::io(&self.path, error.into()))?;
        Ok(format!("{} {text}\n", Digest::of(&text).hex()).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene() -> (tempfile::TempDir, PathBuf, Validator) {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("x.part");
        (folder, part, Validator::ETag("\"a\"".into()))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (_folder, part, tag) = scene();
        assert_eq!(read(&part, &tag, 100), None);
        let mut map = Map::create(&part, &tag, 100, &Extents::prefix(5)).unwrap().unwrap();
        assert_eq!(read(&part, &tag, 100), Some(Extents::prefix(5)));
        for end in [10, 20, 30] {
            map.write(&Extents::prefix(end)).unwrap();
            assert_eq!(read(&part, &tag, 100), Some(Extents::prefix(end)));
        }
        assert_eq!(read(&part, &tag, 101), None, "another length");
        assert_eq!(read(&part, &Validator::ETag("\"b\"".into()), 100), None, "another file");
        remove(&part).unwrap();
        remove(&part).unwrap();
        assert_eq!(read(&part, &tag, 100), None);
    }

    #[test]
    fn a_torn_slot_leaves_the_other() {
        let (_folder, part, tag) = scene();
        let mut map = Map::create(&part, &tag, 100, &Extents::prefix(5)).unwrap().unwrap();
        map.write(&Extents::prefix(10)).unwrap();
        let whole = fs::read(path_for(&part)).unwrap();
        for at in 0..whole.len().min(SLOT) {
            let mut torn = whole.clone();
            torn[at] = b'#';
            fs::write(path_for(&part), &torn).unwrap();
            let found = read(&part, &tag, 100);
            assert!(
                found == Some(Extents::prefix(5)) || found == Some(Extents::prefix(10)),
                "{at}: {found:?}"
            );
        }
        fs::write(path_for(&part), &whole[..100]).unwrap();
        assert_eq!(read(&part, &tag, 100), None);
        fs::write(path_for(&part), [0xff; 20_000]).unwrap();
        assert_eq!(read(&part, &tag, 100), None);
    }

    #[test]
    fn any_number_of_extents_fits() {
        let (_folder, part, tag) = scene();
        let huge = |n: u64| u64::MAX - 3 * n;
        let many: Extents = (1..2000).map(|n| huge(n)..huge(n) + 2).collect();
        Map::create(&part, &tag, u64::MAX, &many).unwrap().unwrap();
        assert_eq!(read(&part, &tag, u64::MAX).unwrap().total(), 2 * MOST_EXTENTS as u64);
        let line = fs::read(path_for(&part)).unwrap();
        assert!(line[SLOT..].iter().position(|byte| *byte == b'\n').unwrap() < SLOT - 100);
    }

    #[test]
    fn the_frozen_form_is_read() {
        let content = include_bytes!("../../fixtures/download/v1.part.map");
        let record = newest(content).unwrap();
        let expected = Record {
            schema: 1,
            turn: 3,
            boot: "0f1e2d3c-4b5a-4697-8796-a5b4c3d2e1f0".into(),
            validator: Digest::of("\"1f-200\""),
            length: 20_000_000,
            extents: [0..8_388_608, 10_000_000..12_345_678].into_iter().collect(),
        };
        assert_eq!(record, expected);
    }
}
