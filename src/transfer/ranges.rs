//! One file over several connections.
//!
//! The first request asks for the first piece, and its answer tells whether the server can do this: 206, a strong
//! validator and the length. Otherwise the file comes by one stream. From then on every request carries the
//! validator; an answer about anything else ends the attempt, so two versions are never spliced.
//!
//! ```text
//! start.rs   the first request        flight.rs  one connection
//! plan.rs    who fetches what (pure)  crew.rs    how many connections (pure)
//! disk.rs    writes, hashes, durable  stride.rs  how much a request asks for (pure)
//! ```

mod crew;
mod disk;
mod flight;
mod plan;
mod start;
mod stride;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::{Response, Url};
use tokio_util::sync::CancellationToken;

use super::answer::Validator;
use super::failure::Failure;
use super::http::Client;
use super::job::Job;
use super::location::Location;
use crate::progress::Meter;
use crew::Crew;
pub(super) use disk::Begun;
use disk::Disk;
use flight::{Body, Errand};
use plan::Plan;
use start::{Start, start};
pub(super) use start::{ask, is_question_refused};
use stride::Stride;

/// Below this many bytes one connection is as fast.
pub(super) const WORTHWHILE: u64 = 8 * 1024 * 1024;
/// Why an attempt is of no use.
const NOT_THE_SAME: &str = "the server did not continue the same file";
/// How often the rate is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How a file, or what is missing of it, can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// By one stream.
    OneStream,
    /// By ranges, if the server can.
    Probe,
    /// By ranges, with this proof, of a file of this length; `elsewhere`: what is there came from another location.
    Continue { validator: Validator, length: u64, elsewhere: bool },
}

/// What became of it.
pub(super) enum Split {
    /// Every byte is in the part, and hashed.
    Done,
    /// The server cannot; where it sent the whole file instead, this is it.
    OneStream(Option<Response>),
}

/// Fetches what the part lacks over at most `connections` connections.
pub(super) async fn fetch(
    job: &mut Job<'_>,
    client: &Client,
    connections: usize,
    at: &Location,
    url: &Url,
    way: Way,
) -> Result<Split, Failure> {
    let (validator, length, first, anew) = match start(job, client, at, url, way).await? {
        Start::Ranges { validator, length, first, anew } => (validator, length, first, anew),
        Start::OneStream(response) => {
            job.only_one_stream();
            return Ok(Split::OneStream(response));
        }
    };
    let begun = job.begin(at, &validator, length, anew).await?;
    let wanted = job.wanted(length);
    let missing = wanted.without(&begun.extents);
    let mut meter = job.meter(length);
    meter.skip(wanted.total() - missing.total());
    let (disk, queue) = Disk::start(begun);
    let errand = Errand {
        client,
        at,
        url,
        validator: &validator,
        length,
        queue: &queue,
        plan: Mutex::new(Plan::new(missing, connections)),
        stride: Stride::new(),
        network: AtomicU64::new(0),
    };
    let outcome = work(&errand, first, connections, &disk, &mut meter).await;
    job.came(errand.network.into_inner());
    drop(queue);
    let (extents, hasher) = disk.end(outcome.is_ok()).await?;
    job.fetched(extents, hasher).await?;
    match outcome {
        Ok(()) => Ok(Split::Done),
        Err(Failure::StartOver(fault)) => {
            job.only_one_stream();
            Err(job.useless(at, fault.detail()).await)
        }
        Err(failure) => Err(failure),
    }
}

/// Lets connections work until the file is complete or the last of them failed.
async fn work(
    errand: &Errand<'_>,
    mut first: Option<Body>,
    most: usize,
    disk: &Disk,
    meter: &mut Meter,
) -> Result<(), Failure> {
    let mut flights = FuturesUnordered::new();
    let mut stops: BTreeMap<usize, CancellationToken> = BTreeMap::new();
    let mut crew = Crew::new(most, Instant::now());
    let mut tick = tokio::time::interval(TICK);
    let mut told = 0;
    let mut trickle = errand.client.link().trickle();
    loop {
        let received = errand.plan().received();
        if received > told {
            meter.add(received - told);
            told = received;
        }
        if errand.plan().is_done() {
            return Ok(());
        }
        while flights.len() < crew.wanted() {
            let Some(given) = errand.plan().give(Instant::now()) else { break };
            if let Some(stop) = given.emptied.and_then(|id| stops.remove(&id)) {
                stop.cancel();
            }
            let stop = CancellationToken::new();
            stops.insert(given.id, stop.clone());
            flights.push(errand.fly(given.id, first.take(), stop));
        }
        let ended = tokio::select! {
            Some(ended) = flights.next() => Some(ended),
            _ = tick.tick() => None,
        };
        let now = Instant::now();
        let Some((id, outcome)) = ended else {
            crew.observe(errand.plan().received(), flights.len(), errand.stride.latency(), now);
            if !trickle.is_enough(errand.plan().received(), now) {
                return Err(Failure::trickle(errand.at));
            }
            if disk.is_broken() {
                return Err(disk::Gone.into());
            }
            continue;
        };
        stops.remove(&id);
        errand.plan().give_back(id);
        match outcome {
            Ok(()) => {}
            Err(failure @ (Failure::StartOver(_) | Failure::Fatal(_))) => return Err(failure),
            // The server is not asked at once again by the same number of connections, and the last failure ends the
            // attempt: then it is waited for as with one stream.
            Err(failure) if flights.is_empty() => return Err(failure),
            Err(failure) => {
                let asked = match &failure {
                    Failure::Passing { wait, .. } => *wait,
                    _ => None,
                };
                tracing::debug!(others = flights.len(), "a connection failed: {}", failure.into_fault());
                crew.failed(flights.len(), asked, now);
            }
        }
    }
}
