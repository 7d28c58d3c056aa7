//! One connection: asks for what its claim wants until the claim is satisfied.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use reqwest::{Response, Url};
use tokio_util::sync::CancellationToken;

use super::NOT_THE_SAME;
use super::disk::{Gone, Queue};
use super::plan::Plan;
use super::start::ask;
use super::stride::Stride;
use crate::fault::{Code, Fault};
use crate::transfer::answer::{self, Answer, Asked, Validator};
use crate::transfer::failure::Failure;
use crate::transfer::http::{self, Client};
use crate::transfer::location::Location;

/// What all connections of a download share.
pub(super) struct Errand<'a> {
    pub(super) client: &'a Client,
    pub(super) at: &'a Location,
    pub(super) url: &'a Url,
    pub(super) validator: &'a Validator,
    pub(super) length: u64,
    pub(super) queue: &'a Queue,
    pub(super) plan: Mutex<Plan>,
    /// How much a request asks for.
    pub(super) stride: Stride,
    /// Bytes that came over the network.
    pub(super) network: AtomicU64,
}

/// An answer whose head has been read; its body goes up to the byte before `end`.
pub(super) struct Body {
    pub(super) response: Response,
    pub(super) end: u64,
}

impl From<Gone> for Failure {
    /// Never shown: the thread that is gone says why.
    fn from(_: Gone) -> Self {
        Self::Fatal(Fault::new(Code::Io, "the download", "it cannot be written"))
    }
}

impl Errand<'_> {
    /// The plan; a panic while the lock was held is passed on by the runtime.
    pub(super) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Fetches what claim `id` wants, or until it is told to `stop`. `first` is an answer that is there already.
    pub(super) async fn fly(
        &self,
        id: usize,
        first: Option<Body>,
        stop: CancellationToken,
    ) -> (usize, Result<(), Failure>) {
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            outcome = self.fetch(id, first) => outcome,
        };
        (id, outcome)
    }

    async fn fetch(&self, id: usize, first: Option<Body>) -> Result<(), Failure> {
        if let Some(body) = first {
            self.receive(id, body).await?;
        }
        loop {
            let begun = Instant::now();
            let wanted = self.plan().wanted(id);
            if wanted.is_empty() {
                return Ok(());
            }
            let end = wanted.end.min(wanted.start.saturating_add(self.stride.bytes()));
            let body = self.ask(wanted.start..end).await?;
            let answered = Instant::now();
            self.receive(id, body).await?;
            let bytes = self.plan().wanted(id).start.saturating_sub(wanted.start);
            self.stride.learn(answered - begun, answered.elapsed(), bytes);
        }
    }

    async fn ask(&self, wanted: Range<u64>) -> Result<Body, Failure> {
        let response = ask(self.client, self.at, self.url, &wanted, Some(self.validator)).await?;
        let asked = Asked {
            offset: wanted.start,
            length: Some(self.length),
            validator: Some(self.validator.clone()),
        };
        match answer::read(response.status(), response.headers(), Some(&asked), SystemTime::now()) {
            Answer::Rest { end, .. } => Ok(Body { response, end }),
            // The network wants a new login, which says nothing of the file.
            Answer::Whole { .. } if answer::is_called_page(response.headers()) => {
                Err(http::page(self.at, &response))
            }
            Answer::Whole { .. } | Answer::Complete | Answer::StartOver => {
                Err(Failure::StartOver(Fault::new(Code::DownloadFailed, self.at, NOT_THE_SAME)))
            }
            other => Err(http::failed(self.at, other)),
        }
    }

    /// Takes a body in, as far as the claim wants it and the head of the answer vouches for it.
    async fn receive(&self, id: usize, body: Body) -> Result<(), Failure> {
        let Body { mut response, end } = body;
        loop {
            let chunk = response.chunk().await;
            let chunk = chunk.map_err(|error| Failure::of_client(Code::DownloadFailed, self.at, error))?;
            let Some(mut chunk) = chunk else {
                let wanted = self.plan().wanted(id);
                if wanted.start >= end.min(wanted.end) {
                    return Ok(());
                }
                let cause = format!("the connection ended at byte {} of {end}", wanted.start);
                return Err(Failure::passing(Fault::new(Code::DownloadFailed, self.at, cause)));
            };
            self.network.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            self.client.link().received(chunk.len()).await;
            let room = self.queue.room(chunk.len()).await?;
            let (at, taken, left) = {
                let mut plan = self.plan();
                let vouched = end.saturating_sub(plan.wanted(id).start).min(chunk.len() as u64);
                let (at, taken) = plan.arrived(id, vouched, Instant::now());
                (at, taken, plan.wanted(id))
            };
            // It is at most the chunk's own length, so it fits.
            chunk.truncate(usize::try_from(taken).unwrap_or(usize::MAX));
            self.queue.send(at, chunk, room)?;
            if left.is_empty() || left.start >= end {
                return Ok(());
            }
        }
    }
}
