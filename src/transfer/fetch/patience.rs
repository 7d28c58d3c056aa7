//! How much is borne of one location.

use super::super::failure::Failure;
use super::super::job::Job;
use super::Fetcher;
use crate::messages::Say;
use crate::progress::Step;

/// An attempt that brought the part this much further than any before it starts the counting anew: a bad line
/// is not a dead one.
const HEADWAY: u64 = 1024 * 1024;
/// How often a part may turn out useless at one location before the location is given up.
const MOST_START_OVERS: u32 = 2;

/// What a location did so far.
pub(super) struct Patience {
    /// In a row and without headway.
    failures: u32,
    start_overs: u32,
    /// What was there at the most.
    furthest: u64,
}

impl Patience {
    /// With a location that was not tried yet.
    pub(super) fn new(job: &Job<'_>) -> Self {
        Self { failures: 0, start_overs: 0, furthest: job.length() }
    }

    /// Waits until another attempt is to be made after `failure`; where it is not, gives back what there is to say of that.
    pub(super) async fn bear(
        &mut self,
        fetcher: &Fetcher,
        job: &Job<'_>,
        failure: Failure,
    ) -> Result<(), Failure> {
        match failure {
            Failure::Passing { fault, wait } => {
                if job.length() >= self.furthest.saturating_add(HEADWAY) {
                    self.furthest = job.length();
                    self.failures = 0;
                }
                self.failures += 1;
                if self.failures >= fetcher.policy.attempts {
                    return Err(Failure::passing(fault));
                }
                fetcher.pause(Step::DownloadingUpdate, job.name(), self.failures, &fault, wait).await;
                Ok(())
            }
            Failure::StartOver(fault) => {
                self.start_overs += 1;
                if self.start_overs > MOST_START_OVERS {
                    return Err(Failure::refused(fault));
                }
                let text = fault.message(fetcher.progress.lang());
                fetcher.progress.warning(Step::DownloadingUpdate, Say::Warning { text });
                Ok(())
            }
            other => Err(other),
        }
    }
}
