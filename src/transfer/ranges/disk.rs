//! The threads behind a download by ranges: one writes, one hashes after it, one makes it durable.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::fault::{Fault, IoContext, Result};
use crate::release::digest::Hasher;
use crate::state::Store;
use crate::transfer::extents::Extents;
use crate::transfer::job::joined;
use crate::transfer::ledger;
use crate::transfer::map::Map;
use crate::transfer::part::BLOCK;

/// Bytes between the network and the disk.
const QUEUE: u32 = 512 * 1024;
/// The map is written when the queue is empty, and no later than after this many bytes.
const BATCH: u64 = 256 * 1024;
/// Bytes are made durable when there are this many …
const KEEP_BYTES: u64 = 32 * 1024 * 1024;
/// … or when they are this old.
const KEEP_AFTER: Duration = Duration::from_secs(2);

/// What the threads work on.
pub(in crate::transfer) struct Begun {
    /// The part file.
    pub(in crate::transfer) file: Arc<File>,
    /// Its path, for messages.
    pub(in crate::transfer) path: PathBuf,
    /// What is in it.
    pub(in crate::transfer) extents: Extents,
    /// The hash of its first bytes.
    pub(in crate::transfer) hasher: Hasher,
    /// Where what is written is noted.
    pub(in crate::transfer) map: Option<Map>,
    /// Where what is durable is noted.
    pub(in crate::transfer) store: Arc<Store>,
    /// Under which key.
    pub(in crate::transfer) key: String,
}

/// The way of arrived bytes to the disk.
pub(super) struct Queue {
    sender: UnboundedSender<Chunk>,
    room: Arc<Semaphore>,
}

/// Room for bytes in the queue; dropped with them.
pub(super) type Room = OwnedSemaphorePermit;

struct Chunk {
    at: u64,
    bytes: Bytes,
    _room: Room,
}

/// Nobody takes bytes any more: a thread failed, and says why when it is joined.
#[derive(Debug)]
pub(super) struct Gone;

impl Queue {
    /// Waits until there is room for `count` bytes.
    pub(super) async fn room(&self, count: usize) -> Result<Room, Gone> {
        let count = u32::try_from(count).unwrap_or(QUEUE).min(QUEUE);
        self.room.clone().acquire_many_owned(count).await.map_err(|_| Gone)
    }

    /// Hands over bytes that belong to `at`. Does not wait, so that none are lost between being counted and being
    /// handed over.
    pub(super) fn send(&self, at: u64, bytes: Bytes, room: Room) -> Result<(), Gone> {
        self.sender.send(Chunk { at, bytes, _room: room }).map_err(|_| Gone)
    }
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Bytes may still come.
    Running,
    /// All bytes are written.
    Whole,
    /// The attempt ended before that; another may follow.
    Cut,
    /// Nobody waits for the threads any more.
    Abandoned,
}

struct State {
    written: Extents,
    unkept: u64,
    phase: Phase,
}

/// What the threads tell each other.
struct Board {
    state: Mutex<State>,
    /// The first gap moved, or the phase changed.
    front: Condvar,
    /// There is something to make durable, or the phase changed.
    keep: Condvar,
}

impl Board {
    /// A panic while the lock was held is passed on where the thread is joined.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn enter(&self, phase: Phase) {
        self.lock().phase = phase;
        self.front.notify_all();
        self.keep.notify_all();
    }

    fn wrote(&self, ranges: Vec<Range<u64>>) -> Extents {
        let mut state = self.lock();
        let front = state.written.front();
        for range in ranges {
            state.unkept += range.end - range.start;
            state.written.add(range);
        }
        if state.written.front() > front {
            self.front.notify_all();
        }
        if state.unkept >= KEEP_BYTES {
            self.keep.notify_all();
        }
        state.written.clone()
    }

    /// Waits until there is something to hash from `at` on: up to where. None when nothing more is to be hashed.
    fn front_beyond(&self, at: u64) -> Option<u64> {
        let mut state = self.lock();
        loop {
            let front = state.written.front();
            match state.phase {
                Phase::Cut | Phase::Abandoned => return None,
                _ if front > at => return Some(front),
                Phase::Whole => return None,
                Phase::Running => {}
            }
            state = self.front.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Waits until what was written should be made durable: what, and whether that is all. None when nobody cares.
    fn to_keep(&self, since: Instant) -> Option<(Extents, bool)> {
        let mut state = self.lock();
        loop {
            let age = since.elapsed();
            let due = state.unkept >= KEEP_BYTES || (state.unkept > 0 && age >= KEEP_AFTER);
            match state.phase {
                Phase::Abandoned => return None,
                Phase::Running if !due => {}
                phase => {
                    state.unkept = 0;
                    return Some((state.written.clone(), phase != Phase::Running));
                }
            }
            let wait = KEEP_AFTER.saturating_sub(age);
            let wait = if state.unkept > 0 { wait } else { KEEP_AFTER };
            let waited = self.keep.wait_timeout(state, wait);
            state = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }
}

/// Tells the threads to leave when the download is dropped.
struct Leave(Arc<Board>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.enter(Phase::Abandoned);
    }
}

/// The threads.
pub(super) struct Disk {
    leave: Leave,
    writer: JoinHandle<Result<()>>,
    hasher: JoinHandle<Result<Hasher>>,
    keeper: JoinHandle<Result<()>>,
}

impl Disk {
    /// Starts them.
    pub(super) fn start(begun: Begun) -> (Self, Queue) {
        let Begun { file, path, extents, hasher, map, store, key } = begun;
        let state = State { written: extents, unkept: 0, phase: Phase::Running };
        let board = Arc::new(Board { state: Mutex::new(state), front: Condvar::new(), keep: Condvar::new() });
        let (sender, receiver) = mpsc::unbounded_channel();
        let own = || (file.clone(), path.clone(), board.clone());
        let (part, name, seen) = own();
        let writer = spawn_blocking(move || write(&part, &name, receiver, &seen, map));
        let (part, name, seen) = own();
        let hasher = spawn_blocking(move || hash(&part, &name, &seen, hasher));
        let (part, name, seen) = own();
        let keeper = spawn_blocking(move || keep(&part, &name, &seen, &store, &key));
        let queue = Queue { sender, room: Arc::new(Semaphore::new(QUEUE as usize)) };
        (Self { leave: Leave(board), writer, hasher, keeper }, queue)
    }

    /// Whether a thread has ended, which none does by itself unless it failed.
    pub(super) fn is_broken(&self) -> bool {
        self.writer.is_finished() || self.hasher.is_finished() || self.keeper.is_finished()
    }

    /// Waits until everything in the queue, which must have been dropped, is on the disk for good, and hashed if the
    /// file is `whole`. Says what is there, and its hash.
    pub(super) async fn end(self, whole: bool) -> Result<(Extents, Hasher)> {
        let Self { leave, writer, hasher, keeper } = self;
        let written = joined(writer.await);
        leave.0.enter(if whole && written.is_ok() { Phase::Whole } else { Phase::Cut });
        let (hasher, kept) = (joined(hasher.await), joined(keeper.await));
        written?;
        kept?;
        let extents = leave.0.lock().written.clone();
        Ok((extents, hasher?))
    }
}

fn write(
    file: &File,
    path: &Path,
    mut queue: UnboundedReceiver<Chunk>,
    board: &Board,
    mut map: Option<Map>,
) -> Result<()> {
    while let Some(first) = queue.blocking_recv() {
        let (mut next, mut ranges, mut bytes) = (Some(first), Vec::new(), 0);
        while let Some(chunk) = next {
            file.write_all_at(&chunk.bytes, chunk.at).at(path)?;
            let count = chunk.bytes.len() as u64;
            ranges.push(chunk.at..chunk.at + count);
            bytes += count;
            drop(chunk);
            next = if bytes < BATCH { queue.try_recv().ok() } else { None };
        }
        let written = board.wrote(ranges);
        if let Some(map) = &mut map {
            map.write(&written)?;
        }
    }
    Ok(())
}

fn hash(file: &File, path: &Path, board: &Board, mut hasher: Hasher) -> Result<Hasher> {
    let mut buffer = vec![0; BLOCK];
    while let Some(front) = board.front_beyond(hasher.length()) {
        let left = usize::try_from(front - hasher.length()).unwrap_or(usize::MAX);
        let want = left.min(buffer.len());
        match file.read_at(&mut buffer[..want], hasher.length()) {
            Ok(0) => return Err(Fault::io(path, ErrorKind::UnexpectedEof.into())),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::io(path, error)),
        }
    }
    Ok(hasher)
}

fn keep(file: &File, path: &Path, board: &Board, store: &Store, key: &str) -> Result<()> {
    let mut since = Instant::now();
    while let Some((written, last)) = board.to_keep(since) {
        file.sync_data().at(path)?;
        ledger::save_extents(store, key, &written)?;
        if last {
            break;
        }
        since = Instant::now();
    }
    Ok(())
}
