//! Reads an archive of either format: a thread of its own reads, hashes and decompresses the file, so that whoever
//! compares the content has a processor to himself.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use flate2::bufread::MultiGzDecoder;

use crate::release::Digest;
use crate::release::digest::Hashing;

/// What is handed over at a time …
const CHUNK: usize = 128 * 1024;
/// … and how many of them wait.
const WAITING: usize = 4;
/// This release writes windows of 2 MiB. A person may have compressed an archive anew: `zstd` up to its level 19 takes
/// 8 MiB, which is still little to hold.
const LARGEST_WINDOW_LOG: u32 = 23;

/// The decompressed content of a file; all of the file is read and hashed by [`finish`](Self::finish). After an
/// error there is nothing more to read. Dropped, its thread has ended.
pub struct ArchiveReader<R: Read + Send + 'static = File> {
    state: State<R>,
    chunk: Vec<u8>,
    at: usize,
}

enum State<R> {
    /// Nothing was read yet.
    Ready(R),
    Running(Running),
    /// The content was read to its end: the digest and length of the file.
    Ended(Digest, u64),
    Failed,
}

struct Running {
    chunks: Receiver<Vec<u8>>,
    /// Where chunks go back to be filled again.
    spare: Sender<Vec<u8>>,
    thread: JoinHandle<io::Result<(Digest, u64)>>,
}

impl<R: Read + Send + 'static> ArchiveReader<R> {
    /// Reads nothing yet.
    pub fn new(file: R) -> Self {
        Self { state: State::Ready(file), chunk: Vec::new(), at: 0 }
    }

    /// The digest and length of the file, whose content has to have been read: more of it is damage.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        if !self.fill()? {
            return match self.state {
                State::Ended(digest, length) => Ok((digest, length)),
                _ => Err(failed_before()),
            };
        }
        Err(crate::backup::decode::invalid("something follows its end"))
    }

    /// Makes sure that there is something to give; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        while self.at == self.chunk.len() {
            match std::mem::replace(&mut self.state, State::Failed) {
                State::Ready(file) => self.state = State::Running(start(file)?),
                State::Running(running) => match running.chunks.recv() {
                    Ok(chunk) => {
                        let used = std::mem::replace(&mut self.chunk, chunk);
                        self.at = 0;
                        // At the end nobody takes them any more.
                        let _ = running.spare.send(used);
                        self.state = State::Running(running);
                    }
                    Err(_) => {
                        let crashed = |_| Err(io::Error::other("the thread that decompresses has failed"));
                        let (digest, length) = running.thread.join().unwrap_or_else(crashed)?;
                        self.state = State::Ended(digest, length);
                    }
                },
                ended @ State::Ended(..) => {
                    self.state = ended;
                    return Ok(false);
                }
                State::Failed => return Err(failed_before()),
            }
        }
        Ok(true)
    }
}

fn failed_before() -> io::Error {
    io::Error::other("reading has failed before")
}

impl<R: Read + Send + 'static> Read for ArchiveReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.fill()? {
            return Ok(0);
        }
        let ready = &self.chunk[self.at..];
        let count = buffer.len().min(ready.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.at += count;
        Ok(count)
    }
}

impl<R: Read + Send + 'static> Drop for ArchiveReader<R> {
    fn drop(&mut self) {
        if let State::Running(Running { chunks, thread, .. }) =
            std::mem::replace(&mut self.state, State::Failed)
        {
            // The thread ends at the next chunk that nobody takes; what it says of it is of no use.
            drop(chunks);
            let _ = thread.join();
        }
    }
}

fn start<R: Read + Send + 'static>(file: R) -> io::Result<Running> {
    let (sender, chunks) = sync_channel(WAITING);
    let (spare, used) = channel();
    let builder = Builder::new().name("backup-unpack".into());
    let thread = builder.spawn(move || decompress(Hashing::new(file), &sender, &used))?;
    Ok(Running { chunks, spare, thread })
}

/// Sends everything in `file`, which has to hold one archive and nothing after it.
fn decompress<R: Read>(
    file: Hashing<R>,
    chunks: &SyncSender<Vec<u8>>,
    used: &Receiver<Vec<u8>>,
) -> io::Result<(Digest, u64)> {
    let mut input = BufReader::with_capacity(CHUNK, file);
    let mut magic = [0; 4];
    input.read_exact(&mut magic)?;
    let mut input = Cursor::new(magic).chain(input);
    match magic {
        [0x1f, 0x8b, ..] => send(&mut MultiGzDecoder::new(&mut input), chunks, used)?,
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let mut decoder = zstd::Decoder::with_buffer(&mut input)?;
            decoder.window_log_max(LARGEST_WINDOW_LOG)?;
            send(&mut decoder, chunks, used)?;
        }
        _ => return Err(crate::backup::decode::invalid("it is neither gzip nor zstd")),
    }
    if !input.fill_buf()?.is_empty() {
        return Err(crate::backup::decode::invalid("something follows its end"));
    }
    let (_, digest, length) = input.into_inner().1.into_inner().finish();
    Ok((digest, length))
}

fn send(decoder: &mut dyn Read, chunks: &SyncSender<Vec<u8>>, used: &Receiver<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut chunk = used.try_recv().unwrap_or_default();
        chunk.resize(CHUNK, 0);
        let mut failed = None;
        let mut count = 0;
        // What came before an error is handed over: it says how far the archive is good.
        while count < CHUNK && failed.is_none() {
            match decoder.read(&mut chunk[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => failed = Some(error),
            }
        }
        chunk.truncate(count);
        if count > 0 && chunks.send(chunk).is_err() {
            return Err(io::Error::other("nobody reads any more"));
        }
        match failed {
            Some(error) => return Err(error),
            None if count < CHUNK => return Ok(()),
            None => {}
        }
    }
}
