//! The first request: whether the server can serve ranges, and still has the file that the part is of.

use std::ops::Range;
use std::time::SystemTime;

use reqwest::header::{IF_RANGE, RANGE};
use reqwest::{Response, StatusCode, Url};

use super::Way;
use super::flight::Body;
use super::stride::LEAST;
use crate::fault::Code;
use crate::transfer::answer::{self, Answer, Asked, Validator};
use crate::transfer::failure::Failure;
use crate::transfer::http::{self, Client};
use crate::transfer::job::Job;
use crate::transfer::location::Location;

/// What the first answer says.
pub(super) enum Start {
    /// By ranges; `first` is the answer for what comes first, and `anew` is whether what is in the part goes.
    Ranges { validator: Validator, length: u64, first: Option<Body>, anew: bool },
    /// By one stream, which may be here already.
    OneStream(Option<Response>),
}

/// Finds out how to begin.
pub(super) async fn start(
    job: &mut Job<'_>,
    client: &Client,
    at: &Location,
    url: &Url,
    way: Way,
) -> Result<Start, Failure> {
    match way {
        Way::OneStream => Ok(Start::OneStream(None)),
        Way::Probe => probe(job, client, at, url).await,
        Way::Continue { validator, length, elsewhere } => {
            if job.size().is_some_and(|size| size != length) {
                return Err(job.useless(at, "the file there has another length").await);
            }
            job.check_room(length).await?;
            let Some(lacking) = job.first_lacking(length, LEAST).await? else {
                return Ok(Start::Ranges { validator, length, first: None, anew: false });
            };
            resume(job, client, (at, url), (validator, length), lacking, elsewhere).await
        }
    }
}

async fn resume(
    job: &mut Job<'_>,
    client: &Client,
    (at, url): (&Location, &Url),
    (validator, length): (Validator, u64),
    lacking: Range<u64>,
    elsewhere: bool,
) -> Result<Start, Failure> {
    let asked = Asked { offset: lacking.start, length: Some(length), validator: Some(validator.clone()) };
    let response = ask(client, at, url, &lacking, Some(&validator)).await?;
    let found = Validator::of(response.headers());
    match answer::read(response.status(), response.headers(), Some(&asked), SystemTime::now()) {
        // Another location has to say by itself that it has the same file.
        Answer::Rest { end, .. } if !elsewhere || found.as_ref() == Some(&validator) => {
            let first = Some(Body { response, end });
            Ok(Start::Ranges { validator, length, first, anew: false })
        }
        // The same file, whole: it serves no ranges any more.
        Answer::Whole { .. } if found.is_none() || found == Some(validator) => {
            Ok(Start::OneStream(Some(response)))
        }
        // It has another one.
        Answer::Whole { .. } => probe(job, client, at, url).await,
        Answer::Rest { .. } | Answer::Complete | Answer::StartOver if elsewhere => {
            probe(job, client, at, url).await
        }
        Answer::Rest { .. } | Answer::Complete | Answer::StartOver => {
            job.only_one_stream();
            Err(job.useless(at, super::NOT_THE_SAME).await)
        }
        other => Err(http::failed(at, other)),
    }
}

/// Asks for the first piece of a file of which nothing is known.
async fn probe(job: &mut Job<'_>, client: &Client, at: &Location, url: &Url) -> Result<Start, Failure> {
    job.check_room(job.size().unwrap_or(0)).await?;
    let size = job.size().unwrap_or(u64::MAX);
    let anew = !job.is_seeded();
    let first =
        if anew { job.wanted(size).take_first(LEAST) } else { job.first_lacking(size, LEAST).await? };
    let Some(first) = first else { return Ok(Start::OneStream(None)) };
    let response = ask(client, at, url, &first, None).await?;
    let asked = Asked { offset: first.start, length: None, validator: None };
    match answer::read(response.status(), response.headers(), Some(&asked), SystemTime::now()) {
        Answer::Whole { .. } => Ok(Start::OneStream(Some(response))),
        Answer::Rest { end, length } => {
            let Some(validator) = Validator::of(response.headers()) else {
                return Ok(Start::OneStream(None));
            };
            job.check_length(at, length)?;
            job.check_room(length).await?;
            Ok(Start::Ranges { validator, length, first: Some(Body { response, end }), anew })
        }
        Answer::Complete | Answer::StartOver => Ok(Start::OneStream(None)),
        // A server that does not understand the question may still have the file.
        Answer::Refused { .. } if is_question_refused(response.status()) => Ok(Start::OneStream(None)),
        other => Err(http::failed(at, other)),
    }
}

/// Asks for a range; `validator` is for what the part has already.
pub(in crate::transfer) async fn ask(
    client: &Client,
    at: &Location,
    url: &Url,
    range: &Range<u64>,
    validator: Option<&Validator>,
) -> Result<Response, Failure> {
    let last = range.end.saturating_sub(1);
    let mut request = http::get(client, url).header(RANGE, format!("bytes={}-{last}", range.start));
    if let Some(validator) = validator {
        request = request.header(IF_RANGE, validator.value());
    }
    request.send().await.map_err(|error| Failure::of_client(Code::SourceUnreachable, at, error))
}

/// Whether the server may not have understood that it was asked for a range.
pub(in crate::transfer) fn is_question_refused(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED)
}
