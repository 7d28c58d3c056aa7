//! What the head of an HTTP answer means for a download. Pure: values in, decision out.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderName};

/// What proves that the file at an address is still the one a part was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Validator {
    /// A strong entity tag.
    ETag(String),
    /// A modification date that is old enough to be strong.
    LastModified(String),
}

impl Validator {
    /// The value for `If-Range`.
    pub(super) fn value(&self) -> &str {
        match self {
            Self::ETag(value) | Self::LastModified(value) => value,
        }
    }

    /// The strongest one in an answer. A date counts only when the server's clock was at least a second past
    /// it: within that second the file could have changed again (RFC 9110, 8.8.2.2).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        if let Some(tag) = text(headers, header::ETAG)
            && is_strong(tag)
        {
            return Some(Self::ETag(tag.to_owned()));
        }
        let modified = text(headers, header::LAST_MODIFIED)?;
        let date = httpdate::parse_http_date(text(headers, header::DATE)?).ok()?;
        let age = date.duration_since(httpdate::parse_http_date(modified).ok()?).ok()?;
        (age >= Duration::from_secs(1)).then(|| Self::LastModified(modified.to_owned()))
    }

    /// Whether an answer says that it is about another file.
    fn contradicted_by(&self, headers: &HeaderMap) -> bool {
        let named = match self {
            Self::ETag(_) => text(headers, header::ETAG),
            Self::LastModified(_) => text(headers, header::LAST_MODIFIED),
        };
        named.is_some_and(|named| named != self.value())
    }
}

fn is_strong(tag: &str) -> bool {
    tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"') && !tag[1..tag.len() - 1].contains('"')
}

/// What was asked for, when it was not the whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// The first byte wanted; what is before it is in the part.
    pub(super) offset: u64,
    /// The whole length, if it was told before.
    pub(super) length: Option<u64>,
    /// Sent as `If-Range`; none in the first request for a file of which nothing is known yet.
    pub(super) validator: Option<Validator>,
}

/// What to do with an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The body is the whole file.
    Whole { length: Option<u64>, validator: Option<Validator> },
    /// The body continues the part up to the byte before `end`; the whole file has `length` bytes.
    Rest { end: u64, length: u64 },
    /// The part already has every byte.
    Complete,
    /// The part is of no use; ask again for the whole.
    StartOver,
    /// It may work later.
    Later { cause: String, wait: Option<Duration> },
    /// It will not work here. `absent`: because there is no such file; `denied`: perhaps because of who asks, or when.
    Refused { cause: String, absent: bool, denied: bool },
}

/// Reads the head of an answer to a request for the whole file (`asked` is none) or for the rest of it.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    asked: Option<&Asked>,
    now: SystemTime,
) -> Answer {
    match (status, asked) {
        (StatusCode::OK, _) => whole(headers),
        (StatusCode::PARTIAL_CONTENT, Some(asked)) => rest(headers, asked),
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(asked)) => unsatisfiable(headers, asked),
        (StatusCode::PRECONDITION_FAILED, Some(_)) => Answer::StartOver,
        _ if is_transient(status) => {
            let hears = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let wait = if hears { retry_after(headers, now) } else { None };
            Answer::Later { cause: format!("HTTP {status}"), wait }
        }
        _ => {
            let absent = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
            Answer::Refused { cause: format!("HTTP {status}"), absent, denied: is_denied(status) }
        }
    }
}

fn is_transient(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        _ => status.is_server_error(),
    }
}

/// What stores answer when a signed address has had its time; some call that a bad request.
fn is_denied(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::GONE
    )
}

/// Whether an answer calls itself a web page, as that of a captive portal does.
pub(super) fn is_called_page(headers: &HeaderMap) -> bool {
    let kind = text(headers, header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    kind.starts_with("text/html") || kind.starts_with("application/xhtml")
}

/// Whether a body begins as a web page does. Some servers call every file a page.
pub(super) fn begins_as_page(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'<')
}

/// Encodings were excluded in the request; an encoded body is not the file, and its ranges are not either.
fn encoding(headers: &HeaderMap) -> Option<&str> {
    text(headers, header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"))
}

fn whole(headers: &HeaderMap) -> Answer {
    match encoding(headers) {
        Some(encoding) => {
            let cause = format!("the answer is encoded ({encoding})");
            Answer::Refused { cause, absent: false, denied: false }
        }
        None => Answer::Whole { length: content_length(headers), validator: Validator::of(headers) },
    }
}

fn rest(headers: &HeaderMap, asked: &Asked) -> Answer {
    let Some(range) = text(headers, header::CONTENT_RANGE).and_then(ContentRange::parse) else {
        return Answer::StartOver; // several ranges (multipart), or none that can be read
    };
    let (Some((first, last)), Some(length)) = (range.bytes, range.length) else { return Answer::StartOver };
    let same_file = first == asked.offset
        && first <= last
        && last < length
        && encoding(headers).is_none()
        && asked.length.is_none_or(|known| known == length)
        && content_length(headers).is_none_or(|count| count == last - first + 1)
        && !asked.validator.as_ref().is_some_and(|validator| validator.contradicted_by(headers));
    if same_file { Answer::Rest { end: last + 1, length } } else { Answer::StartOver }
}

fn unsatisfiable(headers: &HeaderMap, asked: &Asked) -> Answer {
    let range = text(headers, header::CONTENT_RANGE).and_then(ContentRange::parse);
    match range {
        Some(ContentRange { bytes: None, length: Some(length) }) if length == asked.offset => {
            Answer::Complete
        }
        _ => Answer::StartOver,
    }
}

/// `bytes 5-9/10`, `bytes */10` or `bytes 5-9/*`.
#[derive(Debug, PartialEq, Eq)]
struct ContentRange {
    bytes: Option<(u64, u64)>,
    length: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, length) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
        let bytes = match range.trim() {
            "*" => None,
            range => {
                let (first, last) = range.split_once('-')?;
                Some((decimal(first)?, decimal(last)?))
            }
        };
        let length = match length.trim() {
            "*" => None,
            length => Some(decimal(length)?),
        };
        Some(Self { bytes, length })
    }
}

/// Digits only: `parse` alone would take a sign.
fn decimal(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    text(headers, header::CONTENT_LENGTH).and_then(decimal)
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = text(headers, header::RETRY_AFTER)?;
    match decimal(value) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => httpdate::parse_http_date(value).ok().map(|at| at.duration_since(now).unwrap_or_default()),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

#[cfg(test)]
mod tests;
