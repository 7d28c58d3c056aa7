//! One request: the whole file or its rest.

use std::time::SystemTime;

use futures_util::TryStreamExt;
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, RANGE};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response, Url, redirect};

use super::answer::{self, Answer, Asked};
use super::failure::Failure;
use super::fetch::Policy;
use super::job::Job;
use super::location::Location;
use crate::fault::{Code, Fault, Result};

const MOST_REDIRECTS: usize = 10;

/// The client all requests go through. It drops credentials when a redirect leaves the host, and sends no
/// `Referer`, which could carry an access token out of the query.
pub(super) fn client(policy: &Policy) -> Result<Client> {
    built(builder(policy))
}

/// The client of downloads over several connections: over HTTP/2 all requests would share one.
pub(super) fn client_for_many(policy: &Policy) -> Result<Client> {
    built(builder(policy).http1_only())
}

fn builder(policy: &Policy) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("compose-upgrade/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(policy.connect_timeout)
        .read_timeout(policy.stall_timeout)
        .referer(false)
        .redirect(redirect::Policy::custom(follow))
}

fn built(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Fault::from_error(Code::SourceUnreachable, "(the HTTP client)", error))
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
    client.get(url.clone()).header(ACCEPT_ENCODING, "identity")
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
    if asked.is_none() && job.length() > 0 {
        job.start_over(None).await?;
    }
    if let Some(size) = job.size() {
        job.check_space(size.saturating_sub(job.length())).await?;
    }
    let response = match answered {
        Some(response) => response,
        None => ask(client, at, url, asked.as_ref()).await?,
    };
    let answer = answer::read(response.status(), response.headers(), asked.as_ref(), SystemTime::now());
    let length = match answer {
        Answer::Whole { length, validator } => {
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
    let from = at.clone();
    let body = response.bytes_stream();
    let body = body.map_err(move |error| Failure::of_client(Code::DownloadFailed, &from, error));
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
    let mut document = Vec::new();
    loop {
        let chunk = response.chunk().await;
        match chunk.map_err(|error| Failure::of_client(Code::DownloadFailed, at, error))? {
            Some(chunk) => document.extend_from_slice(&chunk),
            None => return Ok(document),
        }
        if document.len() as u64 > limit {
            return Err(Failure::refused(too_large(at, document.len() as u64, limit)));
        }
    }
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
        Answer::Refused { cause, absent } => {
            Failure::Refused { fault: Fault::new(Code::SourceRefused, at, cause), absent }
        }
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
