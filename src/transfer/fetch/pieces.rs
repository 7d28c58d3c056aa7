//! Only some bytes of a file, where that is all that is wanted of it.
//!
//! Nothing here knows a hash: whoever wants pieces has to verify them, and can ask for those again that are wrong.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use url::Url;

use super::super::answer::{self, Answer, Asked, Validator};
use super::super::extents::Extents;
use super::super::failure::Failure;
use super::super::http;
use super::super::job::{Job, blocking, key_of};
use super::super::ledger;
use super::super::location::Location;
use super::super::map;
use super::super::part;
use super::super::ranges::{self, Split, Way};
use super::super::speeds;
use super::patience::Patience;
use super::{Fetcher, FileRequest, give_up};
use crate::durable;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::Step;

/// What became of a request for pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// The file they are in, each where it is in the whole one, durable; none where no location serves pieces of the
    /// file that was asked for.
    pub part: Option<PathBuf>,
    /// Bytes that came over the network in this call.
    pub transferred: u64,
}

impl Fetcher {
    /// Fetches the bytes `wanted` of a file, whose length must be known, and nothing else of it. What is there of them
    /// from before is not fetched again, but for what is `distrusted`. They stay beside the request's destination until
    /// somebody renames or removes them.
    pub async fn pieces(
        &self,
        request: &FileRequest,
        wanted: &[Range<u64>],
        distrusted: &[Range<u64>],
    ) -> Result<Pieces> {
        let name = || request.name.clone();
        let mut job = Job::open(request, &self.store, &self.progress).await?;
        job.only(wanted.iter().cloned().collect(), distrusted.iter().cloned().collect::<Extents>()).await?;
        self.progress.note(Step::DownloadingUpdate, Say::DownloadStarted { name: name() });
        let mut failed = None;
        let mut refused = false;
        for location in speeds::order(&self.store, &request.locations)? {
            match self.pieces_at(&mut job, location).await {
                Ok(true) => {
                    self.progress.note(Step::DownloadingUpdate, Say::DownloadFinished { name: name() });
                    let part = Some(part::path_for(&request.destination));
                    return Ok(Pieces { part, transferred: job.transferred() });
                }
                Ok(false) => refused = true,
                Err(Failure::Fatal(fault)) => return give_up(&mut job, fault).await,
                Err(failure) => {
                    let fault = failure.into_fault();
                    let text = fault.message(self.progress.lang());
                    self.progress.warning(Step::DownloadingUpdate, Say::Warning { text });
                    failed = Some(fault);
                }
            }
        }
        match failed {
            Some(fault) if !refused => give_up(&mut job, fault).await,
            _ => {
                job.tidy().await?;
                Ok(not_served(&job))
            }
        }
    }

    /// Gives the pieces of `request` its destination's name. Who does so has verified them.
    pub async fn keep_pieces(&self, request: &FileRequest) -> Result<()> {
        let destination = request.destination.clone();
        self.end_pieces(request, move |part| durable::rename(part, &destination)).await
    }

    /// Removes the pieces of `request`; they need not be there.
    pub async fn drop_pieces(&self, request: &FileRequest) -> Result<()> {
        self.end_pieces(request, durable::remove_file).await
    }

    async fn end_pieces(
        &self,
        request: &FileRequest,
        end: impl FnOnce(&Path) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (part, store, key) = (part::path_for(&request.destination), self.store.clone(), key_of(request));
        blocking(move || {
            ledger::forget(&store, &key)?;
            map::remove(&part)?;
            end(&part)
        })
        .await
    }

    /// Whether `at` has given what is wanted; not where it does not serve pieces.
    async fn pieces_at(&self, job: &mut Job<'_>, at: &Location) -> Result<bool, Failure> {
        let Some(url) = at.url() else { return Ok(false) };
        let mut patience = Patience::new(job);
        let connections = self.link.connections(self.policy.connections);
        job.moved_on();
        loop {
            let way = job.way(at, connections);
            if way == Way::OneStream {
                return Ok(false);
            }
            match ranges::fetch(job, self.many()?, connections, at, url, way).await {
                Ok(Split::Done) => return Ok(true),
                Ok(Split::OneStream(_)) => return Ok(false),
                Err(failure) => patience.bear(self, job, failure).await?,
            }
        }
    }

    /// Reads one small range of a file of `length` bytes into memory; none where the location does not serve ranges, or
    /// not so that two of them can be known to be of the same file, or where the file has another length.
    pub async fn piece(&self, at: &Location, range: Range<u64>, length: u64) -> Result<Option<Vec<u8>>> {
        let Some(url) = at.url() else { return Ok(None) };
        let mut failures = 0;
        loop {
            match self.ask_piece(at, url, &range, length).await {
                Ok(piece) => return Ok(piece),
                Err(Failure::Passing { fault, wait }) => {
                    self.ask_again(at, &mut failures, fault, wait).await?;
                }
                Err(failure) => return Err(failure.into_fault()),
            }
        }
    }

    async fn ask_piece(
        &self,
        at: &Location,
        url: &Url,
        range: &Range<u64>,
        length: u64,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let mut response = ranges::ask(&self.client, at, url, range, None).await?;
        let asked = Asked { offset: range.start, length: Some(length), validator: None };
        match answer::read(response.status(), response.headers(), Some(&asked), SystemTime::now()) {
            Answer::Rest { end, .. } if end >= range.end && Validator::of(response.headers()).is_some() => {}
            Answer::Refused { .. } if ranges::is_question_refused(response.status()) => return Ok(None),
            Answer::Rest { .. } | Answer::Whole { .. } | Answer::Complete | Answer::StartOver => {
                return Ok(None);
            }
            other => return Err(http::failed(at, other)),
        }
        let want = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut piece = Vec::new();
        while piece.len() < want {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| Failure::of_client(Code::DownloadFailed, at, error))?;
            let Some(chunk) = chunk else {
                let cause = format!("the connection ended after {} of {want} bytes", piece.len());
                return Err(Failure::passing(Fault::new(Code::DownloadFailed, at, cause)));
            };
            self.link.received(chunk.len()).await;
            piece.extend_from_slice(&chunk[..chunk.len().min(want - piece.len())]);
        }
        Ok(Some(piece))
    }
}

/// No location served pieces.
fn not_served(job: &Job<'_>) -> Pieces {
    Pieces { part: None, transferred: job.transferred() }
}
