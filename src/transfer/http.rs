//! One request: the whole file or its rest.

use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{ClientBuilder, RequestBuilder, Response, Url, redirect};

use super::answer::{self, Answer, Asked};
use super::failure::Failure;
use super::fetch::Policy;
use super::job::Job;
use super::limit::Trickle;
use super::link::Link;
use super::location::Location;
use crate::fault::{Code, Fault, Result};

const MOST_REDIRECTS: usize = 10;

/// What all requests go through.
pub(super) struct Client {
    client: reqwest::Client,
    link: Link,
}

impl Client {
    /// It drops credentials when a redirect leaves the host, and sends no `Referer`, which could carry an access token out
    /// of the query.
    pub(super) fn new(policy: &Policy, link: &Link) -> Result<Self> {
        Self::built(builder(policy), link)
    }

    /// For downloads over several connections: over HTTP/2 all requests would share one.
    pub(super) fn for_many(policy: &Policy, link: &Link) -> Result<Self> {
        Self::built(builder(policy).http1_only(), link)
    }

    fn built(builder: ClientBuilder, link: &Link) -> Result<Self> {
        let client = link.lead(builder).build();
        let client =
            client.map_err(|error| Fault::from_error(Code::SourceUnreachable, "(the HTTP client)", error))?;
        Ok(Self { client, link: link.clone() })
    }

    /// What it has in common with all others.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }
}

fn builder(policy: &Policy) -> ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("compose-upgrade/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(policy.connect_timeout)
        .read_timeout(policy.stall_timeout)
        .referer(false)
        .redirect(redirect::Policy::custom(follow))
}

fn follow(attempt: redirect::Attempt<'_>) -> redirect::Action {
    match may_follow(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(cause) => attempt.error(cause),
    }
}

/// Whether a redirect from the last of `previous` to `next` is followed.
fn may_follow(previous: &[Url], next: &Url) -> Result<(), &'static str> {
    if previous.last().is_some_and(|from| from.scheme() == "https") && next.scheme() != "https" {
        return Err("the server redirects from https to an unprotected address");
    }
    if previous.len() > MOST_REDIRECTS {
        return Err("too many redirects");
    }
    Ok(())
}

/// A request for the bytes as they are: a compressed transfer would have neither their hash nor their ranges.
pub(super) fn get(client: &Client, url: &Url) -> RequestBuilder {
    let request = client.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
    client.link.open(url, request)
}

/// Fetches the file, or what the job's part lacks of it, into the part by one stream. `answered` is an answer that is
/// there already, to a request for the whole file.
pub(super) async fn fetch(
    job: &mut Job<'_>,
    client: &Client,
    at: &Location,
    url: &Url,
    answered: Option<Response>,
) -> Result<(), Failure> {
    let asked = if answered.is_some() { None } else { job.asked(at) };
    // What answered already may yet turn out not to be the file, and what is there then stays.
    if asked.is_none() && answered.is_none() && job.length() > 0 {
        job.start_over(None).await?;
    }
    if let Some(size) = job.size() {
        job.check_space(size.saturating_sub(job.length())).await?;
    }
    let mut response = match answered {
        Some(response) => response,
        None => ask(client, at, url, asked.as_ref()).await?,
    };
    let mut first = None;
    let answer = answer::read(response.status(), response.headers(), asked.as_ref(), SystemTime::now());
    let length = match answer {
        Answer::Whole { length, validator } => {
            first = no_page(at, &mut response).await?;
            if let Some(length) = length {
                job.check_length(at, length)?;
                job.check_space(length.saturating_sub(job.length())).await?;
            }
            job.start_over(validator.map(|validator| (at, validator, length))).await?;
            length
        }
        Answer::Rest { length, .. } => {
            let offset = job.length();
            if job.size().is_some_and(|size| size != length) {
                return Err(job.useless(at, "the file there has another length").await);
            }
            job.check_space(length - offset).await?;
            job.on_part(|part| part.hash_all()).await?;
            job.continued(offset);
            Some(length)
        }
        Answer::Complete if job.has_hash() => return Ok(()),
        Answer::Complete | Answer::StartOver => {
            return Err(job.useless(at, "the server did not continue the same file").await);
        }
        Answer::Later { .. } | Answer::Refused { .. } => return Err(failed(at, answer)),
    };
    let body = Flow::new(client, at, response, first).stream();
    job.pour(at, length, body).await?;
    let have = job.length();
    match length.or(job.size()) {
        Some(whole) if have < whole => {
            let detail = format!("the connection ended after {have} of {whole} bytes");
            Err(Failure::passing(Fault::new(Code::DownloadFailed, at, detail)))
        }
        _ => Ok(()),
    }
}

/// A body on its way, held to the limit and expected to get on.
struct Flow {
    response: Response,
    /// What was read of it already.
    first: Option<Bytes>,
    at: Location,
    link: Link,
    trickle: Trickle,
    received: u64,
}

impl Flow {
    fn new(client: &Client, at: &Location, response: Response, first: Option<Bytes>) -> Self {
        let (link, trickle) = (client.link.clone(), client.link.trickle());
        Self { response, first, at: at.clone(), link, trickle, received: 0 }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        let chunk = match self.first.take() {
            Some(chunk) => Some(chunk),
            None => {
                let chunk = self.response.chunk().await;
                chunk.map_err(|error| Failure::of_client(Code::DownloadFailed, &self.at, error))?
            }
        };
        let Some(chunk) = chunk else { return Ok(None) };
        self.received += chunk.len() as u64;
        if !self.trickle.is_enough(self.received, Instant::now()) {
            return Err(Failure::trickle(&self.at));
        }
        self.link.received(chunk.len()).await;
        Ok(Some(chunk))
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, Failure>> {
        stream::try_unfold(self, |mut flow| async move { Ok(flow.next().await?.map(|chunk| (chunk, flow))) })
    }
}

/// Refuses a web page in place of the file before anything is done with it. What had to be read of the body to tell is
/// handed back.
async fn no_page(at: &Location, response: &mut Response) -> Result<Option<Bytes>, Failure> {
    if !answer::is_called_page(response.headers()) {
        return Ok(None);
    }
    let chunk = response.chunk().await;
    let chunk = chunk.map_err(|error| Failure::of_client(Code::DownloadFailed, at, error))?;
    match &chunk {
        Some(body) if answer::begins_as_page(body) => Err(page(at, response)),
        _ => Ok(chunk),
    }
}

/// A page came; says whose, where somebody else sent it.
pub(super) fn page(at: &Location, response: &Response) -> Failure {
    let from = Location::parse(response.url().as_str()).map(|from| from.to_string()).unwrap_or_default();
    let cause = if from == at.to_string() { String::new() } else { format!("it led to {from}") };
    Failure::refused(Fault::new(Code::WebPage, at, cause))
}

/// Asks for the whole file, or for the rest of it.
async fn ask(client: &Client, at: &Location, url: &Url, asked: Option<&Asked>) -> Result<Response, Failure> {
    let mut request = get(client, url);
    if let Some(Asked { offset, validator, .. }) = asked {
        request = request.header(RANGE, format!("bytes={offset}-"));
        if let Some(validator) = validator {
            request = request.header(IF_RANGE, validator.value());
        }
    }
    request.send().await.map_err(|error| Failure::of_client(Code::SourceUnreachable, at, error))
}

/// Fetches a small document into memory.
pub(super) async fn document(
    client: &Client,
    at: &Location,
    url: &Url,
    limit: u64,
) -> Result<Vec<u8>, Failure> {
    let mut response = get(client, url)
        .send()
        .await
        .map_err(|error| Failure::of_client(Code::SourceUnreachable, at, error))?;
    let length = match answer::read(response.status(), response.headers(), None, SystemTime::now()) {
        Answer::Whole { length, .. } => length,
        other => return Err(failed(at, other)),
    };
    if let Some(length) = length.filter(|length| *length > limit) {
        return Err(Failure::refused(too_large(at, length, limit)));
    }
    let first = no_page(at, &mut response).await?;
    let mut flow = Flow::new(client, at, response, first);
    let mut document = Vec::new();
    while let Some(chunk) = flow.next().await? {
        document.extend_from_slice(&chunk);
        if document.len() as u64 > limit {
            return Err(Failure::refused(too_large(at, document.len() as u64, limit)));
        }
    }
    Ok(document)
}

/// The fault of a document over its limit.
pub(super) fn too_large(at: &Location, found: u64, limit: u64) -> Fault {
    Fault::new(Code::DocumentTooLarge, at, format!("it has at least {found} bytes, {limit} are allowed"))
}

/// The failure in an answer that has no body for us.
pub(super) fn failed(at: &Location, answer: Answer) -> Failure {
    match answer {
        Answer::Later { cause, wait } => {
            Failure::Passing { fault: Fault::new(Code::SourceUnreachable, at, cause), wait }
        }
        Answer::Refused { cause, absent, denied } => Failure::answered_no(at, cause, absent, denied),
        Answer::Whole { .. } | Answer::Rest { .. } | Answer::Complete | Answer::StartOver => {
            Failure::refused(Fault::new(Code::SourceRefused, at, "the answer does not fit the request"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_bounded_and_never_leave_tls() {
        let url = |text: &str| text.parse::<Url>().unwrap();
        for (from, to, followed) in [
            ("https://a/x", "https://b/x", true),
            ("http://a/x", "https://b/x", true),
            ("http://a/x", "http://b/x", true),
            ("https://a/x", "http://a/x", false),
        ] {
            assert_eq!(may_follow(&[url(from)], &url(to)).is_ok(), followed, "{from} to {to}");
        }
        let chain = vec![url("http://a/"); MOST_REDIRECTS];
        assert!(may_follow(&chain, &url("http://a/")).is_ok());
        let longer = vec![url("http://a/"); MOST_REDIRECTS + 1];
        assert!(may_follow(&longer, &url("http://a/")).is_err());
    }
}
