//! Blocks of bytes worked on by several threads and given back in the order they came.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What goes in and what comes out; both are kept together so that neither is allocated anew for each block.
#[derive(Default)]
pub struct Block {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
}

/// What one thread does to a block: fill the output from the input.
pub trait Work: Send + 'static {
    fn work(&mut self, block: &mut Block) -> io::Result<()>;
}

/// A block on its way, and where it is awaited.
struct Job {
    block: Block,
    done: SyncSender<io::Result<Block>>,
}

/// The threads. They end when this is dropped: each at the end of the block it is at, or of one that waited.
pub struct Pool {
    jobs: Option<Sender<Job>>,
    waiting: VecDeque<Receiver<io::Result<Block>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// A thread for each of `workers`.
    pub fn new<W: Work>(workers: Vec<W>) -> io::Result<Self> {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let mut pool = Self { jobs: Some(jobs), waiting: VecDeque::new(), threads: Vec::new() };
        for mut worker in workers {
            let queue = queue.clone();
            let thread = Builder::new().name("backup-pack".into()).spawn(move || {
                loop {
                    // One thread waits for the next block, the others for their turn to wait. The lock is held by
                    // nothing that can panic.
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(Job { mut block, done }) = next else { return };
                    let result = worker.work(&mut block).map(|()| block);
                    // Nobody awaits it any more when the archive was given up.
                    let _ = done.send(result);
                }
            })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Blocks that were handed in and not taken back.
    pub fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Hands in a block. The caller bounds how many are in flight.
    pub fn submit(&mut self, block: Block) -> io::Result<()> {
        let (done, result) = sync_channel(1);
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Job { block, done }).is_ok());
        if !sent {
            return Err(lost());
        }
        self.waiting.push_back(result);
        Ok(())
    }

    /// Waits for the block that was handed in first of those that are in flight; `None` where none is.
    pub fn take(&mut self) -> Option<io::Result<Block>> {
        let result = self.waiting.pop_front()?;
        // A thread that panics drops its end.
        Some(result.recv().unwrap_or_else(|_| Err(lost())))
    }
}

fn lost() -> io::Error {
    io::Error::other("a thread that compresses has failed")
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic was told where its block was awaited.
            let _ = thread.join();
        }
    }
}
