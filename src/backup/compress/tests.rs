use std::io::{self, Read, Write};
use std::sync::Arc;

use proptest::prelude::*;

use super::gzip::{BLOCK, ParallelGzip};
use super::pool::{Block, Pool, Work};
use super::*;
use crate::release::Digest;

/// Bytes of which about half repeat, so that they compress.
fn mixed(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_le_bytes());
        bytes.extend_from_slice(b"row \0\0\0");
    }
    bytes.truncate(length);
    bytes
}

fn packing(format: ArchiveFormat, level: u32, threads: usize) -> Packing {
    Packing { format, level, threads }
}

fn pack(bytes: &[u8], packing: &Packing, piece: usize) -> Vec<u8> {
    let mut out = Compressor::new(Vec::new(), packing).unwrap();
    bytes.chunks(piece.max(1)).for_each(|piece| out.write_all(piece).unwrap());
    out.finish().unwrap()
}

fn unpack(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let whole = (Digest::of(&bytes), bytes.len() as u64);
    let mut reader = ArchiveReader::new(io::Cursor::new(bytes));
    let mut out = Vec::new();
    reader.read_to_end(&mut out)?;
    assert_eq!(reader.finish()?, whole);
    Ok(out)
}

#[test]
fn every_size_around_a_block_comes_back() {
    for format in ArchiveFormat::ALL {
        for threads in [1, 2, 5] {
            for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 7 * BLOCK + 3] {
                let bytes = mixed(length, 7);
                let packed = pack(&bytes, &packing(format, 1, threads), 100_000);
                assert!(unpack(packed).unwrap() == bytes, "{format:?} {threads} {length}");
            }
        }
    }
}

#[test]
fn every_level_comes_back() {
    let bytes = mixed(BLOCK + 100, 3);
    for format in ArchiveFormat::ALL {
        for level in format.levels() {
            let packed = pack(&bytes, &packing(format, level, 2), BLOCK);
            assert!(unpack(packed).unwrap() == bytes, "{format:?} {level}");
        }
        let above = format.levels().end() + 1;
        let refused = Compressor::new(Vec::new(), &packing(format, above, 1)).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn everything_comes_back(
        runs in prop::collection::vec((any::<u8>(), 0usize..400_000, any::<bool>()), 0..6),
        piece in 1usize..300_000,
        threads in 1usize..5,
        zstd in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        for (seed, length, flat) in runs {
            let more = if flat { vec![seed; length] } else { mixed(length, seed.into()) };
            bytes.extend(more);
        }
        let format = ArchiveFormat::ALL[usize::from(zstd)];
        let packed = pack(&bytes, &packing(format, 3, threads), piece);
        prop_assert!(unpack(packed).unwrap() == bytes);
    }
}

#[test]
fn a_flush_brings_everything_to_the_sink() {
    let mut out = ParallelGzip::new(Vec::new(), 6, 2).unwrap();
    out.write_all(b"one").unwrap();
    out.flush().unwrap();
    out.write_all(b"two").unwrap();
    assert_eq!(unpack(out.finish().unwrap()).unwrap(), b"onetwo");
}

#[test]
fn what_older_releases_and_other_programs_wrote_is_read() {
    let bytes = mixed(300_000, 5);
    let member = |bytes: &[u8]| {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    };
    assert!(unpack(member(&bytes)).unwrap() == bytes);
    let (one, two) = bytes.split_at(77_777);
    assert!(unpack([member(one), member(&[]), member(two)].concat()).unwrap() == bytes);
    let frames = [zstd::encode_all(one, 3).unwrap(), zstd::encode_all(two, 19).unwrap()];
    assert!(unpack(frames.concat()).unwrap() == bytes);
}

#[test]
fn damage_is_an_error() {
    let bytes = mixed(BLOCK + 5_000, 9);
    for format in ArchiveFormat::ALL {
        let good = pack(&bytes, &packing(format, 6, 2), BLOCK);
        let lengths =
            (0..20).chain((20..good.len()).step_by(good.len() / 50)).chain(good.len() - 9..good.len());
        for length in lengths {
            // A cut between two members is no damage that gzip itself knows of; the hash of the file is.
            if let Ok(read) = unpack(good[..length].to_vec()) {
                assert_eq!((format, read.len()), (ArchiveFormat::TarGz, BLOCK), "cut to {length}");
            }
        }
        for tail in [&b"x"[..], b"\0", &[0; 5000], b"\x1f\x8b", b"PK\x03\x04 and more"] {
            unpack([&good, tail].concat()).unwrap_err();
        }
        for at in (0..good.len()).step_by(good.len() / 60) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            // Times and flags of the header matter to nobody; the content is never another.
            assert!(unpack(bad).is_err() || (format == ArchiveFormat::TarGz && at < 10), "byte {at}");
        }
    }
    unpack(b"PK\x03\x04 a zip".to_vec()).unwrap_err();
    assert_eq!(unpack(Vec::new()).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn content_that_was_not_asked_for_is_damage() {
    for format in ArchiveFormat::ALL {
        let packed = pack(b"content and more", &Packing::of(format), 99);
        let mut reader = ArchiveReader::new(io::Cursor::new(packed));
        reader.read_exact(&mut [0; 7]).unwrap();
        let error = reader.finish().unwrap_err();
        assert!(error.to_string().contains("follows its end"), "{error}");
    }
}

#[test]
fn a_window_that_would_take_much_memory_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&[7; 1000]).unwrap();
    unpack(encoder.finish().unwrap()).unwrap_err();
}

/// Takes some bytes, then none.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = buffer.len().min(self.0);
        self.0 -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_sink_is_told_and_nothing_is_written_after_it() {
    let bytes = mixed(4 * BLOCK, 1);
    for format in ArchiveFormat::ALL {
        for room in [0, 1, 100_000, 700_000] {
            let mut out = Compressor::new(Full(room), &packing(format, 1, 3)).unwrap();
            let written = out.write_all(&bytes);
            let again = written.is_err().then(|| out.write_all(&bytes));
            let finished = out.finish().map(drop);
            let first = written.and(finished).unwrap_err();
            assert_eq!(first.kind(), io::ErrorKind::StorageFull, "{format:?} {room}");
            assert!(again.is_none_or(|again| again.is_err()), "{format:?} {room}");
        }
    }
}

/// Works until its turn comes to panic or fail; holds on to something that is free when its thread has ended.
struct Fragile {
    _held: Arc<()>,
    left: usize,
    panics: bool,
}

impl Work for Fragile {
    fn work(&mut self, block: &mut Block) -> io::Result<()> {
        if self.left == 0 {
            assert!(!self.panics, "a panic on purpose");
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.left -= 1;
        block.output.clone_from(&block.input);
        Ok(())
    }
}

fn fragile(threads: usize, left: usize, panics: bool) -> (ParallelGzip<Vec<u8>>, Arc<()>) {
    let held = Arc::new(());
    let workers = (0..threads).map(|_| Fragile { _held: held.clone(), left, panics }).collect();
    (ParallelGzip::with(Vec::new(), Pool::new::<Fragile>(workers).unwrap(), threads), held)
}

#[test]
fn a_thread_that_panics_or_fails_is_an_error_and_not_a_hang() {
    let bytes = mixed(20 * BLOCK, 1);
    for threads in [1, 3] {
        for panics in [false, true] {
            let (mut out, held) = fragile(threads, 2, panics);
            let written = out.write_all(&bytes);
            written.and(out.finish().map(drop)).unwrap_err();
            assert_eq!(Arc::strong_count(&held), 1, "a thread was left");
        }
    }
}

#[test]
fn a_writer_that_is_dropped_leaves_no_thread() {
    for blocks in [0, 1, 9] {
        let (mut out, held) = fragile(4, usize::MAX, false);
        out.write_all(&mixed(blocks * BLOCK + 10, 1)).unwrap();
        assert_eq!(Arc::strong_count(&held), 5);
        drop(out);
        assert_eq!(Arc::strong_count(&held), 1, "a thread was left");
    }
}

#[test]
fn a_reader_that_is_dropped_leaves_no_thread() {
    struct Held(io::Cursor<Vec<u8>>, #[allow(dead_code)] Arc<()>);
    impl Read for Held {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    for format in ArchiveFormat::ALL {
        let packed = pack(&mixed(9 * BLOCK, 1), &packing(format, 1, 2), BLOCK);
        for length in [0, 1, BLOCK] {
            let held = Arc::new(());
            let mut reader = ArchiveReader::new(Held(io::Cursor::new(packed.clone()), held.clone()));
            reader.read_exact(&mut vec![0; length]).unwrap();
            drop(reader);
            assert_eq!(Arc::strong_count(&held), 1, "a thread was left");
        }
    }
}

#[test]
fn settings_become_a_packing() {
    let mut settings = BackupSettings::default();
    assert_eq!(Packing::from(&settings), Packing::default());
    settings.format = ArchiveFormat::TarZst;
    assert_eq!(Packing::from(&settings), packing(ArchiveFormat::TarZst, 3, 0));
    (settings.level, settings.threads) = (Some(9), 2);
    assert_eq!(Packing::from(&settings), packing(ArchiveFormat::TarZst, 9, 2));
}
