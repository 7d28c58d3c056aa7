//! Attempts, mirrors and retries.

mod patience;
mod pieces;

use patience::Patience;
pub use pieces::Pieces;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use url::Url;

use super::backoff::Backoff;
use super::failure::Failure;
use super::http::{self, Client};
use super::job::{Job, blocking};
use super::link::Link;
use super::local;
use super::location::Location;
use super::part::{self, Promise};
use super::ranges::{self, Split, Way};
use super::speeds;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step};
use crate::release::Digest;
use crate::settings::DownloadSettings;
use crate::state::Store;

/// How patient downloads are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Attempts at one location, in a row and without headway, before it is given up.
    pub attempts: u32,
    /// Connections for one file at most; 1: one stream.
    pub connections: usize,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub stall_timeout: Duration,
    /// The waits between attempts.
    pub backoff: Backoff,
}

impl From<&DownloadSettings> for Policy {
    fn from(settings: &DownloadSettings) -> Self {
        Self {
            attempts: settings.attempts.max(1),
            connections: settings.connections.max(1),
            connect_timeout: Duration::from_secs(settings.connect_timeout_s),
            stall_timeout: Duration::from_secs(settings.stall_timeout_s),
            backoff: Backoff::default(),
        }
    }
}

/// A file to fetch.
#[derive(Debug, Clone)]
pub struct FileRequest {
    /// Where it is: the first that works is used.
    pub locations: Vec<Location>,
    /// What it is called in messages.
    pub name: String,
    /// Where it goes. Whatever has this name is whole.
    pub destination: PathBuf,
    /// What its content must hash to, if that is known.
    pub expect: Option<Digest>,
    /// Its length, if that is known.
    pub size: Option<u64>,
}

/// Bytes of a file that are here already, in other files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seed {
    /// They do not overlap.
    pub pieces: Vec<SeedPiece>,
}

/// Some bytes of a [`Seed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedPiece {
    /// The file they are in.
    pub path: PathBuf,
    /// Where they begin in it.
    pub at: u64,
    /// Where they belong.
    pub range: Range<u64>,
    /// What they hash to, where that is known: others are not taken.
    pub hash: Option<Digest>,
}

impl Seed {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.range.end - piece.range.start).sum()
    }
}

/// A file that was fetched and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// The hash of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Bytes that came over the network, or out of the source folder, in this call.
    pub transferred: u64,
    /// How many bytes from before were continued and kept; the first one after them, where they have no gaps.
    pub resumed_from: Option<u64>,
    /// It was here already.
    pub cached: bool,
}

/// Gets documents and files.
pub struct Fetcher {
    store: Arc<Store>,
    policy: Policy,
    progress: Progress,
    link: Link,
    client: Client,
    /// Made with the first large file.
    many: OnceLock<Client>,
}

impl Fetcher {
    /// By the way out that the operator set, and as patiently.
    pub fn new(store: Arc<Store>, policy: Policy, link: &Link, progress: Progress) -> Result<Self> {
        let client = Client::new(&policy, link)?;
        Ok(Self { store, policy, progress, link: link.clone(), client, many: OnceLock::new() })
    }

    /// By the way out that the environment names, without limits and credentials.
    pub fn with_policy(store: Arc<Store>, policy: Policy, progress: Progress) -> Result<Self> {
        Self::new(store, policy, &Link::plain(), progress)
    }

    /// Reads a small document. One over `limit` bytes is `Code::DocumentTooLarge`.
    pub async fn document(&self, at: &Location, limit: u64) -> Result<Vec<u8>> {
        self.read(at, limit).await.map_err(|(fault, _)| fault)
    }

    /// Like [`Fetcher::document`], but none where the source says that there is no such document.
    pub async fn document_if_present(&self, at: &Location, limit: u64) -> Result<Option<Vec<u8>>> {
        match self.read(at, limit).await {
            Ok(document) => Ok(Some(document)),
            Err((_, true)) => Ok(None),
            Err((fault, false)) => Err(fault),
        }
    }

    /// The document, or why not and whether that is because it is absent.
    async fn read(&self, at: &Location, limit: u64) -> Result<Vec<u8>, (Fault, bool)> {
        let mut failures = 0;
        loop {
            let outcome = match at.url() {
                Some(url) => http::document(&self.client, at, url, limit).await,
                None => local::document(at, limit).await,
            };
            match outcome {
                Ok(document) => return Ok(document),
                Err(Failure::Refused { fault, absent }) => return Err((fault, absent)),
                Err(Failure::Fatal(fault) | Failure::StartOver(fault)) => return Err((fault, false)),
                Err(Failure::Passing { fault, wait }) => {
                    self.ask_again(at, &mut failures, fault, wait).await.map_err(|fault| (fault, false))?;
                }
            }
        }
    }

    /// Fetches a file. What is returned has the promised hash and length and lies at its destination.
    pub async fn file(&self, request: &FileRequest) -> Result<Fetched> {
        self.file_from(request, &Seed::default()).await
    }

    /// Like [`Fetcher::file`], but what `seed` has of it is not fetched.
    pub async fn file_from(&self, request: &FileRequest, seed: &Seed) -> Result<Fetched> {
        let name = || request.name.clone();
        if let Some(cached) = cached(request).await? {
            self.progress.note(Step::DownloadingUpdate, Say::DownloadCached { name: name() });
            return Ok(cached);
        }
        self.progress.note(Step::DownloadingUpdate, Say::DownloadStarted { name: name() });
        let mut job = Job::open(request, &self.store, &self.progress).await?;
        // Opening the part waits for whoever else fetches the same file.
        if let Some(cached) = cached(request).await? {
            job.tidy().await?;
            self.progress.note(Step::DownloadingUpdate, Say::DownloadCached { name: name() });
            return Ok(cached);
        }
        if !seed.pieces.is_empty()
            && let Err(fault) = job.seed(seed).await
        {
            return give_up(&mut job, fault).await;
        }
        let fetched = self.try_locations(&mut job, &request.locations).await?;
        self.progress.note(Step::DownloadingUpdate, Say::DownloadFinished { name: name() });
        Ok(fetched)
    }

    /// Tries the locations, the one that promises to be the fastest first.
    async fn try_locations(&self, job: &mut Job<'_>, locations: &[Location]) -> Result<Fetched> {
        let (mut failed, mut expired): (Vec<&Location>, _) = (Vec::new(), None);
        let mut order = speeds::order(&self.store, locations)?.into_iter().peekable();
        while let Some(location) = order.next() {
            let (begun, had) = (Instant::now(), job.transferred());
            let fault = match self.try_location(job, location).await {
                Ok(fetched) => {
                    // A failure is the server's where another one does better.
                    failed.iter().try_for_each(|at| speeds::failed(&self.store, at))?;
                    if !self.link.is_limited() {
                        let came = job.transferred() - had;
                        speeds::gave(&self.store, location, came, begun.elapsed())?;
                    }
                    return Ok(fetched);
                }
                Err(Failure::Fatal(fault)) => return give_up(job, fault).await,
                Err(failure) => failure.into_fault(),
            };
            let is_last = order.peek().is_none();
            if !is_last {
                let text = fault.message(self.progress.lang());
                self.progress.warning(Step::DownloadingUpdate, Say::Warning { text });
            }
            match fault.code() {
                // A new address for this one is worth more than what the others say.
                Code::LinkExpired => expired = Some(fault),
                _ if is_last => return give_up(job, expired.unwrap_or(fault)).await,
                _ => failed.push(location),
            }
        }
        let none = || Fault::new(Code::DownloadFailed, job.name(), "no address is known");
        let fault = expired.unwrap_or_else(none);
        give_up(job, fault).await
    }

    /// Tries one location until it has given the file or is given up.
    async fn try_location(&self, job: &mut Job<'_>, at: &Location) -> Result<Fetched, Failure> {
        let mut patience = Patience::new(job);
        job.moved_on();
        loop {
            match self.attempt(job, at).await {
                Err(failure) => patience.bear(self, job, failure).await?,
                done => return done,
            }
        }
    }

    async fn attempt(&self, job: &mut Job<'_>, at: &Location) -> Result<Fetched, Failure> {
        if !job.is_whole().await? {
            match (at.url(), at.path()) {
                (Some(url), _) => self.over_http(job, at, url).await?,
                (None, Some(path)) => local::copy(job, at, path).await?,
                (None, None) => {}
            }
        }
        job.finish(at).await
    }

    async fn over_http(&self, job: &mut Job<'_>, at: &Location, url: &Url) -> Result<(), Failure> {
        let connections = self.link.connections(self.policy.connections);
        let way = job.way(at, connections);
        let answered = match way {
            Way::OneStream => None,
            way => match ranges::fetch(job, self.many()?, connections, at, url, way).await? {
                Split::Done => return Ok(()),
                Split::OneStream(answered) => answered,
            },
        };
        http::fetch(job, &self.client, at, url, answered).await
    }

    fn many(&self) -> Result<&Client> {
        if let Some(client) = self.many.get() {
            return Ok(client);
        }
        let client = Client::for_many(&self.policy, &self.link)?;
        Ok(self.many.get_or_init(|| client))
    }

    /// Waits until a small question that failed is asked again; gives the fault back where it was asked often enough.
    async fn ask_again(
        &self,
        at: &Location,
        failures: &mut u32,
        fault: Fault,
        wait: Option<Duration>,
    ) -> Result<()> {
        *failures += 1;
        if *failures >= self.policy.attempts {
            return Err(fault);
        }
        self.pause(Step::CheckingUpdates, &at.to_string(), *failures, &fault, wait).await;
        Ok(())
    }

    async fn pause(&self, step: Step, name: &str, failures: u32, fault: &Fault, asked: Option<Duration>) {
        let wait = self.policy.backoff.wait(failures, rand::random(), asked);
        let cause = fault.message(self.progress.lang());
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let say = Say::DownloadRetry { name: name.to_owned(), attempt: failures, wait_ms, cause };
        self.progress.warning(step, say);
        tokio::time::sleep(wait).await;
    }
}

/// The file, if it is at its destination already.
async fn cached(request: &FileRequest) -> Result<Option<Fetched>> {
    let promise = Promise { hash: request.expect, size: request.size };
    let destination = request.destination.clone();
    let found = blocking(move || part::verify_existing(&destination, &promise)).await?;
    Ok(found.map(|(digest, size)| Fetched {
        path: request.destination.clone(),
        digest,
        size,
        transferred: 0,
        resumed_from: None,
        cached: true,
    }))
}

/// The fault of a download that failed everywhere; that an empty part could not be removed is added to it.
async fn give_up<T>(job: &mut Job<'_>, fault: Fault) -> Result<T> {
    match job.tidy().await {
        Ok(()) => Err(fault),
        Err(other) => {
            let detail = format!("{}; and {other}", fault.detail());
            Err(Fault::new(fault.code(), fault.object(), detail))
        }
    }
}
