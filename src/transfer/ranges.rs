//! One file over several connections.
//!
//! The first request asks for the first piece, and its answer tells whether the server can do this: 206, a strong
//! validator and the length. Otherwise it is told to go on with one stream. From then on every request carries the
//! validator; an answer about anything else ends the attempt, so two versions are never spliced.
//!
//! ```text
//! flight.rs  one connection           disk.rs  writes, hashes, makes durable
//! plan.rs    who fetches what (pure)  crew.rs  how many connections (pure)
//! ```

mod crew;
mod disk;
mod flight;
mod plan;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use reqwest::header::RANGE;
use reqwest::{Client, Response, StatusCode, Url};
use tokio_util::sync::CancellationToken;

use super::answer::{self, Answer, Asked, Validator};
use super::failure::Failure;
use super::http;
use super::job::Job;
use super::location::Location;
use crate::fault::Code;
use crate::progress::Meter;
use crew::Crew;
pub(super) use disk::Begun;
use disk::Disk;
use flight::{Body, Errand};
use plan::{Plan, SMALLEST_PIECE};

/// Below this many bytes one connection is as fast.
pub(super) const WORTHWHILE: u64 = 8 * 1024 * 1024;
/// How often the rate is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How a file, or what is missing of it, can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// By one stream.
    OneStream,
    /// By ranges, if the server can.
    Probe,
    /// By ranges, with this proof, of a file of this length.
    Continue { validator: Validator, length: u64 },
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
    let (validator, length, first) = match way {
        Way::OneStream => return Ok(Split::OneStream(None)),
        Way::Continue { validator, length } => (validator, length, None),
        Way::Probe => {
            job.check_room(job.size().unwrap_or(0)).await?;
            match probe(client, at, url).await? {
                Probed::Ranges { validator, length, body } => (validator, length, Some(body)),
                Probed::OneStream(response) => {
                    job.only_one_stream();
                    return Ok(Split::OneStream(response));
                }
            }
        }
    };
    if first.is_some() {
        job.check_length(at, length)?;
    } else if job.size().is_some_and(|size| size != length) {
        return Err(job.useless(at, "the file there has another length").await);
    }
    job.check_room(length).await?;
    let begun = job.begin(at, &validator, length, first.is_some()).await?;
    let missing = begun.extents.missing(length);
    let mut meter = job.meter(length);
    meter.skip(length - missing.total());
    let (disk, queue) = Disk::start(begun);
    let errand = Errand {
        client,
        at,
        url,
        validator: &validator,
        length,
        queue: &queue,
        plan: Mutex::new(Plan::new(missing, connections)),
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
            crew.observe(errand.plan().received(), flights.len(), now);
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

enum Probed {
    Ranges { validator: Validator, length: u64, body: Body },
    OneStream(Option<Response>),
}

/// Asks for the first piece.
async fn probe(client: &Client, at: &Location, url: &Url) -> Result<Probed, Failure> {
    let response = http::get(client, url)
        .header(RANGE, format!("bytes=0-{}", SMALLEST_PIECE - 1))
        .send()
        .await
        .map_err(|error| Failure::of_client(Code::SourceUnreachable, at, error))?;
    let asked = Asked { offset: 0, length: None, validator: None };
    match answer::read(response.status(), response.headers(), Some(&asked), SystemTime::now()) {
        Answer::Whole { .. } => Ok(Probed::OneStream(Some(response))),
        Answer::Rest { end, length } => Ok(match Validator::of(response.headers()) {
            Some(validator) => Probed::Ranges { validator, length, body: Body { response, end } },
            None => Probed::OneStream(None),
        }),
        Answer::Complete | Answer::StartOver => Ok(Probed::OneStream(None)),
        // A server that does not understand the question may still have the file.
        Answer::Refused { .. } if is_question_refused(response.status()) => Ok(Probed::OneStream(None)),
        other => Err(http::failed(at, other)),
    }
}

fn is_question_refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED)
}
