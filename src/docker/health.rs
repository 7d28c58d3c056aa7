//! Waiting until containers are ready, and proving that they stay so.
//!
//! The engine is asked, never guessed: its events wake the watcher, a look at the container decides, and a slow
//! poll stands behind in case an event was lost. What a look means is decided in [`verdict`], without I/O.

mod early;
mod verdict;
mod view;
mod wake;

use std::time::Duration;

use futures_util::future::try_join_all;
use time::OffsetDateTime;
use tokio::time::{Instant, timeout_at};

use self::verdict::{Finding, Verdict, first_ready, ready_again, within_window};
use self::view::View;
use self::wake::Wake;
use super::Engine;
use crate::fault::{Code, Fault, Result};

/// Lines of a container's log in a message.
const LOG_LINES: u32 = 10;

/// What it takes for a service to count as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyPolicy {
    /// It must be ready within this time from when the waiting began.
    pub timeout: Duration,
    /// Nobody chose the time-out: it gives way to a healthcheck that cannot have answered before.
    pub patient: bool,
    /// It ran before and was only disturbed (frozen for a backup, its neighbours swapped): unhealthy is not the last
    /// word until the time is up.
    pub may_recover: bool,
    /// It must keep running (and, with a healthcheck, healthy) this long.
    pub stability: Duration,
    /// It runs once and must exit 0.
    pub one_shot: bool,
    /// Engine IDs of the planned image, one of which must run; empty: any.
    pub image_ids: Vec<String>,
}

/// A container to verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The service, for messages.
    pub service: String,
    /// The engine's ID of the container.
    pub container: String,
    /// What is asked of it.
    pub policy: ReadyPolicy,
}

impl Engine {
    /// Waits until a started container is ready for the first time: healthy, or running where it has no
    /// healthcheck, or ended with 0 where it runs once. Gives the time it took. A time-out is a failure.
    ///
    /// The engine first asks a healthcheck when its interval is over, often 30 s. So the check's own command is
    /// also run here, and a container that passes it counts as ready for what is to follow;
    /// [`verify_stable`](Self::verify_stable) still wants the engine's word.
    pub async fn wait_ready(&self, watched: &Watched) -> Result<Duration> {
        let began = Instant::now();
        tokio::select! {
            ready = self.until_ready(watched, None) => ready.map(drop)?,
            () = self.passes_own_check(&watched.container) => {
                // It also has to run the planned image; the look itself judges that.
                if let Verdict::Failed(finding) =
                    first_ready(self.view(&watched.container).await?.as_ref(), &watched.policy)
                {
                    return Err(self.explain(watched, finding, None).await);
                }
            }
        }
        Ok(began.elapsed())
    }

    /// Watches all containers at once over their stability windows: each must be ready, must not end or be
    /// restarted, and a healthcheck must stay good, all through the window and at its end.
    ///
    /// A check that fails at the end of the window does not yet make a container unhealthy in the engine's eyes;
    /// the watch then goes on until the engine has decided, for at most the policy's time-out.
    pub async fn verify_stable(&self, watched: &[Watched]) -> Result<()> {
        // Each by itself, so that one that fails is not heard of only when the slowest is ready.
        let watch = |one| async move {
            let first = self.until_ready(one, Some(OffsetDateTime::now_utc())).await?;
            if one.policy.one_shot { Ok(()) } else { self.watch_window(one, first).await }
        };
        try_join_all(watched.iter().map(watch)).await.map(drop)
    }

    /// How the container looked when it was ready; `since` tells that it was ready before, and when.
    async fn until_ready(&self, watched: &Watched, since: Option<OffsetDateTime>) -> Result<Option<View>> {
        let began = Instant::now();
        let mut timeout = watched.policy.timeout;
        let mut wake = Wake::on(self, &watched.container);
        loop {
            let late = Instant::now() >= began + timeout;
            let view = self.view(&watched.container).await?;
            // A healthcheck that the engine asks every 30 s cannot have passed before.
            if watched.policy.patient {
                timeout = timeout.max(view.as_ref().map_or(Duration::ZERO, |view| view.first_answer));
            }
            let deadline = began + timeout;
            let verdict = match since {
                Some(since) => ready_again(view.as_ref(), &watched.policy, since),
                None => first_ready(view.as_ref(), &watched.policy),
            };
            match verdict {
                Verdict::Good => return Ok(view),
                Verdict::Failed(finding) => return Err(self.explain(watched, finding, view).await),
                Verdict::Wait(why) if late => {
                    let finding = why.timed_out(timeout);
                    return Err(self.explain(watched, finding, view).await);
                }
                // When the time runs out meanwhile, one more look decides.
                Verdict::Wait(_) => {
                    timeout_at(deadline, wake.next()).await.ok();
                }
            }
        }
    }

    async fn watch_window(&self, watched: &Watched, first: Option<View>) -> Result<()> {
        let mut wake = Wake::on(self, &watched.container);
        let window_end = Instant::now() + watched.policy.stability;
        let deadline = window_end + watched.policy.timeout;
        loop {
            // Taken before the look, which therefore shows the state at the end of the window or after it.
            let now = Instant::now();
            let view = self.view(&watched.container).await?;
            match within_window(first.as_ref(), view.as_ref(), &watched.policy) {
                Verdict::Failed(finding) => return Err(self.explain(watched, finding, view).await),
                Verdict::Good if now >= window_end => return Ok(()),
                Verdict::Wait(why) if now >= deadline => {
                    let finding = why.timed_out(watched.policy.stability + watched.policy.timeout);
                    return Err(self.explain(watched, finding, view).await);
                }
                Verdict::Good | Verdict::Wait(_) => {
                    let until = if now >= window_end { deadline } else { window_end };
                    timeout_at(until, wake.next()).await.ok();
                }
            }
        }
    }

    /// When a container ended within the last `within`, as far as the engine remembers, in seconds since 1970, oldest
    /// first.
    pub async fn deaths(&self, container: &str, within: Duration) -> Result<Vec<i64>> {
        wake::deaths(self, container, within).await
    }

    /// Whether a container that ended within the last `within` was told to by somebody who asked the engine for it
    /// (`docker stop`, `docker kill`, Compose); none where the engine has forgotten its end.
    pub async fn was_told_to_end(&self, container: &str, within: Duration) -> Result<Option<bool>> {
        wake::was_told_to_end(self, container, within).await
    }

    /// The fault with all that helps to find the cause: the last check's output and the end of the log.
    async fn explain(&self, watched: &Watched, finding: Finding, view: Option<View>) -> Fault {
        let mut detail = finding.cause;
        if let Some(check) = view.and_then(|view| view.last_check) {
            detail.push_str(&format!("; last check: {check}"));
        }
        if finding.code != Code::ImageWrong {
            detail = self.with_log(detail, &watched.container).await;
        }
        Fault::new(finding.code, &watched.service, detail)
    }

    /// `cause` and what the container's log said last: the container may be gone when somebody reads it.
    pub async fn with_log(&self, cause: String, container: &str) -> String {
        let log = self.logs_tail(container, LOG_LINES).await;
        if log.is_empty() { cause } else { format!("{cause}; log:\n{log}") }
    }
}
