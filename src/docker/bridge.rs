//! Async streams as blocking readers, and blocking readers as async streams, with bounded memory.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bollard::container::LogOutput;
use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::Engine;
use crate::fault::{Code, Fault};

/// Pieces under way between the two sides; with [`PIECE`], what a bridge may hold in memory.
pub(super) const PIECES: usize = 8;
/// Bytes read at once from a blocking reader.
const PIECE: usize = 128 * 1024;
/// A request that moves nothing for this long is taken to hang.
const STALL: Duration = Duration::from_secs(600);

/// A byte stream of the engine, to be read by blocking code: inside `spawn_blocking` or on a thread of its
/// own, never on the async runtime's threads, where reading panics instead of deadlocking.
pub struct StreamReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl StreamReader {
    /// Moves `stream` from a task; dropping the reader ends that task.
    pub(super) fn new<E>(stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let (sender, pieces) = mpsc::channel(PIECES);
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(stream);
            while let Some(piece) = stream.next().await {
                let failed = piece.is_err();
                if sender.send(piece.map_err(io::Error::other)).await.is_err() || failed {
                    return;
                }
            }
        });
        Self { pieces, rest: Bytes::new() }
    }

    /// Of pieces that somebody else sends.
    pub(super) fn of(pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { pieces, rest: Bytes::new() }
    }

    /// Waits for the first piece, so that a request that is refused fails at once with its own error.
    pub(super) async fn primed<E>(
        mut stream: impl Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    ) -> Result<Self, E>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let first = stream.next().await.transpose()?.unwrap_or_default();
        let mut reader = Self::new(stream);
        reader.rest = first;
        Ok(reader)
    }
}

impl Read for StreamReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        self.rest.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// What is known of a blocking reader while the engine takes what it gives.
#[derive(Clone, Default)]
pub(super) struct Feed {
    pulse: Arc<AtomicU64>,
    broken: Arc<OnceLock<(Option<Code>, String, String)>>,
}

impl Feed {
    /// Why the reader failed, if it did: the fault to tell, where the engine only knows of a broken request. One
    /// that the reader itself named (a blob that is not the promised one) stays what it is; any other is of kind
    /// `code` and about `object`.
    pub(super) fn broken(&self, code: Code, object: &str) -> Option<Fault> {
        self.broken.get().map(|(own, about, cause)| match own {
            Some(own) => Fault::new(*own, about, cause),
            None => Fault::new(code, object, cause),
        })
    }

    /// Something moved.
    pub(super) fn beat(&self) {
        self.pulse.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs a request fed by the reader for as long as anything moves; `None` when nothing did for [`STALL`].
    /// How long it may take in all depends on sizes and disks that nobody knows.
    pub(super) async fn watch<F: Future>(&self, request: F) -> Option<F::Output> {
        let mut request = std::pin::pin!(request);
        let mut seen = self.pulse.load(Ordering::Relaxed);
        loop {
            match tokio::time::timeout(STALL, &mut request).await {
                Ok(output) => return Some(output),
                Err(_) => {
                    let now = self.pulse.load(Ordering::Relaxed);
                    if now == seen {
                        return None;
                    }
                    seen = now;
                }
            }
        }
    }
}

fn why(error: &io::Error) -> (Option<Code>, String, String) {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(fault) => (Some(fault.code()), fault.object().to_owned(), fault.detail().to_owned()),
        None => (None, String::new(), error.to_string()),
    }
}

/// A blocking reader as a stream; it is read on a blocking thread, which ends when the stream is dropped.
pub(super) fn stream_of(
    mut reader: impl Read + Send + 'static,
    mut moved: impl FnMut(u64) + Send + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Feed) {
    let (sender, receiver) = mpsc::channel(PIECES);
    let feed = Feed::default();
    let teller = feed.clone();
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..count]))).is_err() {
                        return;
                    }
                    teller.beat();
                    moved(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Set before it is sent: whoever sees the request fail finds the cause here. It is the only
                    // setter, and nobody listening is as good as having been told.
                    teller.broken.get_or_init(|| why(&error));
                    sender.blocking_send(Err(error)).ok();
                    return;
                }
            }
        }
    });
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    });
    (stream, feed)
}

/// What a process in a container writes.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
/// What it reads.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Gives `from` to a process, closes its input, and hands what it writes to `hear`, until it is silent for good. An error
/// that is the reader's is of `object`; the value is whether the process took everything.
pub(super) async fn converse(
    (mut output, mut input): (Output, Input),
    from: impl Read + Send + 'static,
    engine: &Engine,
    object: &str,
    mut hear: impl FnMut(Bytes),
) -> Result<io::Result<()>, Fault> {
    let (pieces, feed) = stream_of(from, |_| ());
    let feeding = async {
        let mut pieces = std::pin::pin!(pieces);
        while let Some(piece) = pieces.try_next().await? {
            input.write_all(&piece).await?;
        }
        input.shutdown().await
    };
    let listening = async {
        while let Some(piece) = output.try_next().await? {
            hear(piece.into_bytes());
        }
        Ok(())
    };
    let (fed, heard) = tokio::join!(feeding, listening);
    if let Some(fault) = feed.broken(Code::RestoreFailed, object) {
        return Err(fault);
    }
    heard.map_err(|error| engine.fault(object, error))?;
    Ok(fed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_survive_both_directions_and_are_counted() {
        let data: Vec<u8> = (0..1_000_000u32).map(|n| n as u8).collect();
        let counted = Arc::new(AtomicU64::new(0));
        let counter = counted.clone();
        let (stream, _) = stream_of(io::Cursor::new(data.clone()), move |count| {
            counter.fetch_add(count, Ordering::SeqCst);
        });
        let mut reader = StreamReader::new(stream);
        let back = tokio::task::spawn_blocking(move || {
            let mut back = Vec::new();
            reader.read_to_end(&mut back).map(|_| back)
        });
        assert_eq!(back.await.unwrap().unwrap(), data);
        assert_eq!(counted.load(Ordering::SeqCst), 1_000_000);
    }

    #[tokio::test]
    async fn an_error_on_one_side_is_one_on_the_other() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let (stream, feed) = stream_of(Broken, |_| ());
        let mut reader = StreamReader::new(stream);
        let read = tokio::task::spawn_blocking(move || reader.read(&mut [0; 8]).unwrap_err().to_string());
        assert_eq!(read.await.unwrap(), "broken");
        let fault = feed.broken(Code::ImageLoadFailed, "web").unwrap();
        assert_eq!((fault.code(), fault.object(), fault.detail()), (Code::ImageLoadFailed, "web", "broken"));
    }
}
