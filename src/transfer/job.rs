//! One file on its way: its part file, its row in the ledger, and what was counted.

mod split;

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::answer::{Asked, Validator};
use super::extents::Extents;
use super::failure::Failure;
use super::fetch::{Fetched, FileRequest};
use super::ledger::{self, Row};
use super::location::Location;
use super::map;
use super::part::{self, Part, Promise};
use super::space;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step, Unit};
use crate::state::Store;

/// Chunks between the network and the disk; with the sizes the HTTP client hands out, a few MiB.
const QUEUE: usize = 64;

/// One call of `Fetcher::file`.
pub(super) struct Job<'a> {
    request: &'a FileRequest,
    store: &'a Arc<Store>,
    progress: &'a Progress,
    key: String,
    /// Shared with the blocking threads that read and write it.
    part: Arc<Mutex<Part>>,
    row: Option<Row>,
    length: u64,
    transferred: u64,
    resumed_from: Option<u64>,
    /// Whether the part held bytes from before when this attempt began.
    continuing: bool,
    /// Whether the part holds ranges of the file, not just its first bytes.
    in_ranges: bool,
    /// Whether this location cannot serve ranges, or not the same file each time.
    one_stream: bool,
    /// What of the file is wanted; none where that is all of it.
    only: Option<Extents>,
    /// Whether what the part holds was put there from elsewhere and is kept though nothing proves it yet.
    seeded: bool,
}

impl<'a> Job<'a> {
    /// Opens the part and what is known of it.
    pub(super) async fn open(
        request: &'a FileRequest,
        store: &'a Arc<Store>,
        progress: &'a Progress,
    ) -> Result<Self> {
        let key = key_of(request);
        let (destination, rows, row_key) = (request.destination.clone(), store.clone(), key.clone());
        let (part, row) = blocking(move || {
            let mut part = Part::open(&destination)?;
            let own = part.path().display().to_string();
            let row = ledger::load(&rows, &row_key)?.filter(|row| row.path == own);
            if let Some(Row { validator, length: Some(length), extents: Some(durable), .. }) = &row {
                let mut extents = durable.clone();
                // What was written since, if the machine has not been started again.
                extents.join(&map::read(part.path(), validator, *length).unwrap_or_default());
                extents.cut_to(*length);
                part.believe(extents)?;
            }
            Ok((part, row))
        })
        .await?;
        let (length, in_ranges) = (part.length(), part.extents().is_some());
        let part = Arc::new(Mutex::new(part));
        Ok(Self {
            request,
            store,
            progress,
            key,
            part,
            row,
            length,
            transferred: 0,
            resumed_from: None,
            continuing: false,
            in_ranges,
            one_stream: false,
            only: None,
            seeded: false,
        })
    }

    /// The file's name in messages.
    pub(super) fn name(&self) -> &str {
        &self.request.name
    }

    /// The promised length.
    pub(super) fn size(&self) -> Option<u64> {
        self.request.size
    }

    /// Whether the content was promised.
    pub(super) fn has_hash(&self) -> bool {
        self.request.expect.is_some()
    }

    /// Bytes that came over the network so far.
    pub(super) fn transferred(&self) -> u64 {
        self.transferred
    }

    /// Bytes in the part.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the part already is the file: a run that was killed between the last byte and the rename.
    pub(super) async fn is_whole(&mut self) -> Result<bool> {
        let promise = self.promise();
        let length = self.request.size.or(self.row.as_ref().and_then(|row| row.length));
        let whole = self.length > 0 && self.on_part(move |part| part.is_whole(&promise, length)).await?;
        if whole {
            self.resumed_from = Some(self.length);
        }
        Ok(whole)
    }

    /// What to ask `at` for so that the part is continued; none if nothing could prove the file the same.
    pub(super) fn asked(&mut self, at: &Location) -> Option<Asked> {
        let row = self.row.as_ref().filter(|row| row.address == at.to_string());
        let fits =
            !self.in_ranges && self.length > 0 && self.request.size.is_none_or(|size| self.length < size);
        self.continuing = fits && row.is_some();
        row.filter(|_| fits).map(|row| Asked {
            offset: self.length,
            length: row.length,
            validator: Some(row.validator.clone()),
        })
    }

    /// The server continues the part at `offset`.
    pub(super) fn continued(&mut self, offset: u64) {
        self.resumed_from.get_or_insert(offset);
        let name = self.request.name.clone();
        self.progress.note(Step::DownloadingUpdate, Say::DownloadResumed { name, at: offset });
    }

    /// `count` bytes arrived without passing through here.
    pub(super) fn count(&mut self, count: u64) {
        self.transferred += count;
        let say = Say::DownloadStarted { name: self.request.name.clone() };
        self.progress.meter(Step::DownloadingUpdate, say, Unit::Bytes, Some(count)).add(count);
    }

    /// Refuses a location whose file cannot be the promised one.
    pub(super) fn check_length(&self, at: &Location, found: u64) -> Result<(), Failure> {
        match self.request.size {
            Some(size) if size != found => {
                Err(Failure::refused(part::wrong_size(&self.request.name, &at.to_string(), size, found)))
            }
            _ => Ok(()),
        }
    }

    /// Refuses when the disk has no room for `need` more bytes.
    pub(super) async fn check_space(&self, need: u64) -> Result<()> {
        let name = self.request.name.clone();
        let folder = match self.request.destination.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => std::path::PathBuf::from("."),
        };
        blocking(move || space::check(&folder, &name, need)).await
    }

    /// Empties the part and remembers what will prove the file at `at` the same, if anything will. The part is
    /// emptied first: a row must never vouch for bytes that came before it.
    pub(super) async fn start_over(
        &mut self,
        proof: Option<(&Location, Validator, Option<u64>)>,
    ) -> Result<()> {
        self.continuing = false;
        self.resumed_from = None;
        let row = proof.map(|(at, validator, length)| {
            let path = part::path_for(&self.request.destination).display().to_string();
            Row { path, address: at.to_string(), validator, length, extents: None }
        });
        let known = self.row.is_some();
        self.row = row.clone();
        let (store, key) = (self.store.clone(), self.key.clone());
        self.on_part(move |part| {
            part.clear()?;
            match row {
                Some(row) => ledger::save(&store, &key, &row),
                None if known => ledger::forget(&store, &key),
                None => Ok(()),
            }
        })
        .await
    }

    /// The part cannot be continued: empties it and says so.
    pub(super) async fn useless(&mut self, at: &Location, cause: &str) -> Failure {
        match self.start_over(None).await {
            Ok(()) => Failure::StartOver(Fault::new(Code::DownloadFailed, at, cause)),
            Err(fault) => Failure::Fatal(fault),
        }
    }

    /// Writes a body into the part, on a thread of its own so that neither disk nor hash holds up the runtime.
    /// When this future is dropped the thread writes what it was given and ends.
    pub(super) async fn pour(
        &mut self,
        at: &Location,
        total: Option<u64>,
        body: impl Stream<Item = Result<Bytes, Failure>>,
    ) -> Result<(), Failure> {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE);
        let part = self.part.clone();
        let writer = spawn_blocking(move || {
            let mut part = lock(&part);
            while let Some(chunk) = receiver.blocking_recv() {
                part.write(&chunk)?;
            }
            Ok(part.length())
        });
        let say = Say::DownloadStarted { name: self.request.name.clone() };
        let total = total.or(self.request.size);
        let mut meter = self.progress.meter(Step::DownloadingUpdate, say, Unit::Bytes, total);
        meter.skip(self.length);
        let mut body = std::pin::pin!(body);
        let outcome = loop {
            let chunk = match body.next().await {
                None => break Ok(()),
                Some(Err(failure)) => break Err(failure),
                Some(Ok(chunk)) => chunk,
            };
            let count = chunk.len() as u64;
            self.transferred += count;
            if let Some(size) = self.request.size.filter(|size| meter.done() + count > *size) {
                let found = meter.done() + count;
                let origin = at.to_string();
                break Err(Failure::refused(part::wrong_size(&self.request.name, &origin, size, found)));
            }
            if sender.send(chunk).await.is_err() {
                break Ok(()); // the writer failed, and says why below
            }
            meter.add(count);
        };
        drop(sender);
        self.length = joined(writer.await)?;
        if matches!(outcome, Err(Failure::Refused { .. })) {
            self.start_over(None).await?;
        }
        outcome
    }

    /// Checks the part and gives it its name. What breaks the promise after having been continued gets another
    /// chance from the first byte, because the old bytes may be the culprit.
    pub(super) async fn finish(&mut self, at: &Location) -> Result<Fetched, Failure> {
        let (promise, destination) = (self.promise(), self.request.destination.clone());
        let (name, origin) = (self.request.name.clone(), at.to_string());
        let (store, key) = (self.store.clone(), self.key.clone());
        let finished = self
            .on_part(move |part| {
                let finished = part.finish(&promise, &destination, &name, &origin);
                let broken = finished.as_ref().err().is_some_and(is_broken_promise);
                if finished.is_ok() || broken {
                    ledger::forget(&store, &key)?;
                }
                finished
            })
            .await;
        match finished {
            Ok((digest, size)) => Ok(Fetched {
                path: self.request.destination.clone(),
                digest,
                size,
                transferred: self.transferred,
                resumed_from: self.resumed_from,
                cached: false,
            }),
            Err(fault) if is_broken_promise(&fault) => {
                self.row = None;
                self.resumed_from = None;
                if self.continuing { Err(Failure::StartOver(fault)) } else { Err(Failure::refused(fault)) }
            }
            Err(fault) => Err(Failure::Fatal(fault)),
        }
    }

    /// Leaves no empty part file behind.
    pub(super) async fn tidy(&mut self) -> Result<()> {
        self.on_part(|part| part.discard_if_empty()).await
    }

    fn promise(&self) -> Promise {
        Promise { hash: self.request.expect, size: self.request.size }
    }

    /// Runs `work` on the part, off the runtime, and takes note of its new length.
    pub(super) async fn on_part<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Part) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let part = self.part.clone();
        let (result, length, in_ranges) = blocking(move || {
            let mut part = lock(&part);
            let result = work(&mut part);
            Ok((result, part.length(), part.extents().is_some()))
        })
        .await?;
        self.length = length;
        self.in_ranges = in_ranges;
        result
    }
}

/// What the ledger knows a request by.
pub(super) fn key_of(request: &FileRequest) -> String {
    match (&request.expect, request.locations.first()) {
        (Some(hash), _) => hash.to_string(),
        (None, Some(location)) => location.to_string(),
        (None, None) => request.name.clone(),
    }
}

fn is_broken_promise(fault: &Fault) -> bool {
    matches!(fault.code(), Code::HashMismatch | Code::SizeMismatch)
}

/// A panic while the lock was held is passed on where the thread is joined, so the poison says nothing new.
fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs blocking work off the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(spawn_blocking(work).await)
}

/// What a blocking thread ended with; its panic goes on here.
pub(super) fn joined<T>(outcome: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    match outcome {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Fault::new(Code::Interrupted, "the download", "the program is ending")),
    }
}
