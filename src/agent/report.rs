//! Delivers the reports that wait in `state.db` to the configured address: oldest first, each until it is accepted,
//! and every attempt with the same `Idempotency-Key`, since a process may be killed after the server took one.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode, redirect};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{Code, Fault, Result};
use crate::state::StateLock;
use crate::upgrade::Installation;
use crate::upgrade::report::{self, Waiting};

/// What the server sees it by.
const KEY: &str = "Idempotency-Key";
/// No server makes a device wait longer.
const LONGEST_WAIT: u64 = 3600;

/// What became of the reports that waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivered {
    /// Accepted by the server.
    pub delivered: u64,
    /// Refused for good.
    pub refused: u64,
}

/// Delivers what waits, for at most `budget`. What is not delivered by then waits for the next call; an error is the
/// cause why the oldest of these could not be delivered now.
pub async fn deliver(installation: &Installation, budget: Duration) -> Result<Delivered> {
    let end = Instant::now() + budget;
    let mut sum = Delivered::default();
    if installation.settings.report.url.is_empty() || report::next(installation)?.is_none() {
        return Ok(sum);
    }
    // Two at once could deliver out of order. It is not the lock of the state: nobody should wait for a server.
    let _turn = match StateLock::acquire(&installation.layout.root().join("reports.lock"), "report") {
        Err(fault) if fault.code() == Code::Locked => return Ok(sum),
        taken => taken?,
    };
    let post = Post::new(installation)?;
    while let Some(waiting) = report::next(installation)? {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || must_wait(&waiting) {
            return Ok(sum);
        }
        match post.send(&waiting, left).await {
            Answer::Accepted => {
                report::done(installation, waiting.seq, None)?;
                sum.delivered += 1;
            }
            Answer::Refused(fault) => {
                // It would be refused for ever, and everything after it would wait as long.
                tracing::warn!(%fault, id = waiting.id, "a report was refused");
                report::done(installation, waiting.seq, Some(&fault.to_string()))?;
                sum.refused += 1;
            }
            Answer::Later { fault, wait_s } => {
                let next_at = wait_s.and_then(from_now);
                report::failed(installation, waiting.seq, &fault, next_at.as_deref())?;
                return Err(fault);
            }
        }
    }
    Ok(sum)
}

/// Whether the server asked for more time. One that is further away than any server may ask for means that the clock was
/// set since.
fn must_wait(waiting: &Waiting) -> bool {
    let next = waiting.next_at.as_ref().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    next.is_some_and(|next| {
        (0..LONGEST_WAIT as i64).contains(&(next - OffsetDateTime::now_utc()).whole_seconds())
    })
}

enum Answer {
    Accepted,
    Refused(Fault),
    Later { fault: Fault, wait_s: Option<u64> },
}

/// How reports are sent.
struct Post {
    client: Client,
    url: String,
    /// The address without what only the two of them may know.
    shown: String,
    token: Option<String>,
    timeout: Duration,
}

impl Post {
    fn new(installation: &Installation) -> Result<Self> {
        let settings = &installation.settings.report;
        let shown = shown(&settings.url);
        // A redirected POST becomes a GET.
        let client = installation
            .link()?
            .lead(Client::builder())
            .user_agent(concat!("compose-upgrade/", env!("CARGO_PKG_VERSION")))
            .referer(false)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| Fault::from_error(Code::SourceUnreachable, "(the HTTP client)", error))?;
        Ok(Self {
            client,
            url: settings.url.clone(),
            shown,
            token: report::token(installation)?,
            timeout: Duration::from_secs(settings.timeout_s),
        })
    }

    async fn send(&self, waiting: &Waiting, left: Duration) -> Answer {
        let mut request = self
            .client
            .post(&self.url)
            .timeout(left.min(self.timeout))
            .header(CONTENT_TYPE, "application/json")
            .header(KEY, &waiting.id)
            .body(waiting.body.clone());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let fault = Fault::from_error(Code::ReportFailed, &self.shown, error.without_url());
                return Answer::Later { fault, wait_s: None };
            }
        };
        let status = response.status();
        let wait_s = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let fault = || Fault::new(Code::ReportFailed, &self.shown, format!("the server answered {status}"));
        match status {
            status if status.is_success() => Answer::Accepted,
            // They speak of this report, not of the address or of who sends it.
            StatusCode::BAD_REQUEST
            | StatusCode::CONFLICT
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Answer::Refused(fault()),
            _ => Answer::Later { fault: fault(), wait_s },
        }
    }
}

fn shown(url: &str) -> String {
    let Ok(mut url) = url.parse::<reqwest::Url>() else { return "report.url".into() };
    // An address that cannot have them has none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

fn from_now(seconds: u64) -> Option<String> {
    let wait = time::Duration::seconds(seconds.min(LONGEST_WAIT) as i64);
    OffsetDateTime::now_utc().checked_add(wait)?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_address_are_not_shown() {
        assert_eq!(shown("https://me:secret@example.invalid/r?key=secret"), "https://example.invalid/r");
    }
}
