//! Copies in a bucket of storage that speaks S3.
//!
//! A copy is sent in parts, each with its SHA-256, and is there as a whole or not at all. Where this process is killed
//! meanwhile, the parts stay unseen until the bucket's own rule for incomplete uploads removes them.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path as Key;
use object_store::{ClientOptions, Error, MultipartUpload, ObjectStoreExt};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::place::{self, Draft, Place};
use crate::fault::{Code, Fault, Result};
use crate::settings::CopySettings;

/// Bytes of one request: small enough to get through a slow line within [`REQUEST`], and for memory.
const PART: u64 = 8 << 20;
/// S3 takes 10,000 parts of one upload; encryption makes a file a little larger than was said.
const MOST_PARTS: u64 = 9_000;
/// Parts that are under way while the next is filled.
const AHEAD: usize = 2;
/// For one request: 8 MiB at 28 kB/s.
const REQUEST: Duration = Duration::from_secs(300);
const CONNECT: Duration = Duration::from_secs(10);
/// What storage that has no regions calls itself.
const ANY_REGION: &str = "us-east-1";

/// Keys below a prefix of a bucket.
pub(super) struct Bucket {
    store: AmazonS3,
    prefix: Key,
    shown: String,
    runtime: Handle,
}

impl Bucket {
    /// Does not yet connect. To be used on a blocking thread of a tokio runtime.
    pub(super) fn open(settings: &CopySettings, root: &Path, bucket: &str, prefix: &str) -> Result<Self> {
        let wrong = |cause: &dyn std::fmt::Display| Fault::new(Code::ConfigInvalid, "backup.copy", cause);
        let credentials = settings.credentials(root)?;
        let endpoint = settings.endpoint.as_deref();
        let options = ClientOptions::new()
            .with_timeout(REQUEST)
            .with_connect_timeout(CONNECT)
            .with_allow_http(endpoint.is_some_and(|address| address.starts_with("http://")));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(settings.region.as_deref().unwrap_or(ANY_REGION))
            .with_access_key_id(credentials.access_key_id)
            .with_secret_access_key(credentials.secret_access_key)
            .with_checksum_algorithm(Checksum::SHA256)
            .with_client_options(options);
        if let Some(token) = credentials.session_token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        Ok(Self {
            store: builder.build().map_err(|error| wrong(&error))?,
            prefix: Key::from(prefix),
            shown: format!(
                "s3://{bucket}/{}",
                if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
            ),
            runtime: Handle::try_current().map_err(|error| wrong(&error))?,
        })
    }

    fn key(&self, name: &str) -> Key {
        self.prefix.parts().chain([name.into()]).collect()
    }

    fn length(&self, key: &Key) -> io::Result<Option<u64>> {
        match self.runtime.block_on(self.store.head(key)) {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    fn reader(&self, key: Key) -> io::Result<Ranges<'_>> {
        let length = self.length(&key)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Ranges { bucket: self, key, left: 0..length, here: Bytes::new() })
    }
}

impl Place for Bucket {
    fn shown(&self, name: &str) -> String {
        format!("{}{name}", self.shown)
    }

    fn size_of(&self, name: &str) -> io::Result<Option<u64>> {
        self.length(&self.key(name))
    }

    fn begin(&self, name: &str, size: u64) -> io::Result<Box<dyn Draft + '_>> {
        let key = self.key(name);
        let part = PART.max(size.div_ceil(MOST_PARTS));
        let part = usize::try_from(part).map_err(io::Error::other)?;
        let upload = self.runtime.block_on(self.store.put_multipart(&key)).map_err(told)?;
        Ok(Box::new(Upload {
            bucket: self,
            key,
            upload,
            part,
            filled: vec![],
            sent: JoinSet::new(),
            whole: false,
        }))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.reader(self.key(name))?))
    }
}

struct Upload<'a> {
    bucket: &'a Bucket,
    key: Key,
    upload: Box<dyn MultipartUpload>,
    /// Bytes of a part.
    part: usize,
    /// Of the next part.
    filled: Vec<u8>,
    /// Parts that are under way: at most [`AHEAD`].
    sent: JoinSet<object_store::Result<()>>,
    /// The object is there. Before that, what is at its key is not of this upload.
    whole: bool,
}

impl Upload<'_> {
    fn send(&mut self) -> io::Result<()> {
        self.wait_for_less_than(AHEAD)?;
        let part = self.upload.put_part(std::mem::take(&mut self.filled).into());
        self.sent.spawn_on(part, &self.bucket.runtime);
        Ok(())
    }

    fn wait_for_less_than(&mut self, most: usize) -> io::Result<()> {
        while self.sent.len() >= most {
            match self.bucket.runtime.block_on(self.sent.join_next()) {
                Some(sent) => sent.map_err(io::Error::other)?.map_err(told)?,
                None => break,
            }
        }
        Ok(())
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filled.len() >= self.part {
            self.send()?;
        }
        let count = bytes.len().min(self.part - self.filled.len());
        self.filled.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Draft for Upload<'_> {
    fn settle(&mut self) -> io::Result<()> {
        if !self.filled.is_empty() {
            self.send()?;
        }
        self.wait_for_less_than(1)?;
        self.bucket.runtime.block_on(self.upload.complete()).map_err(told)?;
        self.whole = true;
        Ok(())
    }

    fn read_back(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.bucket.reader(self.key.clone())?))
    }

    fn keep(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }

    fn discard(mut self: Box<Self>) -> io::Result<()> {
        let runtime = &self.bucket.runtime;
        runtime.block_on(self.sent.shutdown());
        let gone = if self.whole {
            runtime.block_on(self.bucket.store.delete(&self.key))
        } else {
            runtime.block_on(self.upload.abort())
        };
        match gone {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(told(error)),
        }
    }
}

/// Reads an object by requests for ranges, so that each is short, and a failed one is asked for again by itself.
struct Ranges<'a> {
    bucket: &'a Bucket,
    key: Key,
    left: Range<u64>,
    here: Bytes,
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.here.has_remaining() && !self.left.is_empty() {
            let end = self.left.end.min(self.left.start + PART);
            let range = self.left.start..end;
            let asked = self.bucket.store.get_range(&self.key, range);
            self.here = self.bucket.runtime.block_on(asked).map_err(told)?;
            self.left.start = end;
        }
        let count = buffer.len().min(self.here.len());
        self.here.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// The outermost words of such an error say that there was one; the cause lies within. Where the storage could not be
/// reached after all tries, it says so by its kind.
fn told(error: Error) -> io::Error {
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
    let is_away = |cause: &HttpError| matches!(cause.kind(), HttpErrorKind::Connect | HttpErrorKind::Timeout);
    let away = causes.filter_map(|cause| cause.downcast_ref::<HttpError>()).any(is_away);
    io::Error::new(if away { place::AWAY } else { io::ErrorKind::Other }, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_that_cannot_be_reached_is_told_from_one_that_refuses() {
        let of = |kind| {
            let source = Box::new(HttpError::new(kind, io::Error::other("no route")));
            let error = told(Error::Generic { store: "S3", source });
            place::is_away(&Fault::from_error(Code::BackupCopyFailed, "x", error))
        };
        assert!(of(HttpErrorKind::Connect) && of(HttpErrorKind::Timeout));
        assert!(!of(HttpErrorKind::Decode) && !of(HttpErrorKind::Unknown));
    }
}
