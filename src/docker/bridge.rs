//! Between blocking readers and async streams, with a bounded number of chunks in flight.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

const CHUNK: usize = 128 * 1024;
const IN_FLIGHT: usize = 8;

/// Reads `reader` on a blocking thread; a read error ends the stream with it.
pub fn stream_of(
    mut reader: impl Read + Send + 'static,
    mut seen: impl FnMut(u64) + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut buffer = BytesMut::zeroed(CHUNK);
            let item = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    seen(count as u64);
                    buffer.truncate(count);
                    Ok(buffer.freeze())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            // The receiver is gone when the request has ended; there is nobody left to tell.
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

/// A blocking reader over `stream`; to be read off the async runtime.
pub fn reader_of<E>(
    stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Read + Send + 'static
where
    E: std::error::Error + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    tokio::spawn(async move {
        let mut stream = std::pin::pin!(stream);
        while let Some(item) = stream.next().await {
            let item = item.map_err(io::Error::other);
            let failed = item.is_err();
            if sender.send(item).await.is_err() || failed {
                return;
            }
        }
    });
    ChannelReader { receiver, rest: Bytes::new() }
}

struct ChannelReader {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.receiver.blocking_recv() {
                Some(item) => self.rest = item?,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_over_comes_back() {
        let data: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let stream = stream_of(io::Cursor::new(data.clone()), |_| {});
        let mut reader = reader_of(stream);
        let read = tokio::task::spawn_blocking(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        assert!(read.await.unwrap().unwrap() == data);
    }

    #[tokio::test]
    async fn an_error_arrives_as_an_error() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("bad blob"))
            }
        }
        let items: Vec<_> = stream_of(Broken, |_| {}).collect().await;
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].as_ref().unwrap_err().to_string(), "bad blob");
    }
}
