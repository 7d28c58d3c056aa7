//! One file out of a local folder: copied and verified like one from the network.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use futures_util::TryStreamExt;
use tokio_util::io::ReaderStream;

use super::failure::Failure;
use super::http::too_large;
use super::job::{Job, blocking};
use super::location::Location;
use super::part;
use crate::fault::{Code, Fault};

const CHUNK: usize = 256 * 1024;

/// A fault on a file of the source: what is not there is refused, as a server would.
pub(super) fn trouble(path: &Path, error: io::Error) -> Failure {
    let absent = error.kind() == io::ErrorKind::NotFound;
    let fault = match absent {
        true => Fault::from_error(Code::SourceRefused, path.display(), error),
        false => Fault::io(path, error),
    };
    Failure::Refused { fault, absent }
}

/// Copies the file at `path` into the job's part, from its first byte: there is nothing to save by resuming.
pub(super) async fn copy(job: &mut Job<'_>, at: &Location, path: &Path) -> Result<(), Failure> {
    let file = File::open(path).map_err(|error| trouble(path, error))?;
    let metadata = file.metadata().map_err(|error| trouble(path, error))?;
    if !metadata.is_file() {
        let fault = Fault::new(Code::SourceRefused, path.display(), "it is not a file");
        return Err(Failure::refused(fault));
    }
    job.check_length(at, metadata.len())?;
    job.start_over(None).await?;
    let source = file.try_clone().map_err(|error| trouble(path, error))?;
    if job.on_part(move |part| part.reflink(&source)).await? {
        job.count(metadata.len());
        return Ok(());
    }
    job.check_space(metadata.len()).await?;
    let body = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK);
    job.pour(at, Some(metadata.len()), body.map_err(|error| trouble(path, error))).await?;
    let length = job.length();
    if length < metadata.len() {
        return Err(Failure::refused(part::wrong_size(job.name(), &at.to_string(), metadata.len(), length)));
    }
    Ok(())
}

/// Reads a small document.
pub(super) async fn document(at: &Location, limit: u64) -> Result<Vec<u8>, Failure> {
    let Some(path) = at.path().map(Path::to_owned) else {
        return Err(Failure::refused(Fault::new(Code::SourceRefused, at, "it is not a local path")));
    };
    let name = path.clone();
    let read = move || -> io::Result<Vec<u8>> {
        let mut document = Vec::new();
        File::open(&path)?.take(limit.saturating_add(1)).read_to_end(&mut document)?;
        Ok(document)
    };
    let document = blocking(move || Ok(read())).await?.map_err(|error| trouble(&name, error))?;
    if document.len() as u64 > limit {
        return Err(Failure::refused(too_large(at, document.len() as u64, limit)));
    }
    Ok(document)
}
