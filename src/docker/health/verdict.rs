//! What a look at a container means. Pure.

use std::time::Duration;

use time::OffsetDateTime;

use super::ReadyPolicy;
use super::view::View;
use crate::docker::{Health, State};
use crate::fault::Code;

/// The engine's own default for `retries`.
const GIVEN_UP: usize = 3;

/// A failure and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) code: Code,
    pub(super) cause: String,
}

impl Finding {
    fn new(code: Code, cause: impl Into<String>) -> Self {
        Self { code, cause: cause.into() }
    }

    /// The failure that this reason to wait becomes when there is no time left.
    pub(super) fn timed_out(self, timeout: Duration) -> Self {
        Self::new(self.code, format!("{} after {} s", self.cause, timeout.as_secs_f64()))
    }
}

/// What to do after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Good,
    /// Not yet; the finding holds if it stays so.
    Wait(Finding),
    /// It will not be.
    Failed(Finding),
}

/// Whether a started container is ready for the first time.
pub(super) fn first_ready(view: Option<&View>, policy: &ReadyPolicy) -> Verdict {
    let view = match known(view, policy) {
        Ok(view) => view,
        Err(finding) => return Verdict::Failed(finding),
    };
    if policy.one_shot {
        return match view.state {
            State::Exited if view.exit_code == 0 => Verdict::Good,
            State::Exited | State::Dead | State::Removing => Verdict::Failed(ended(view)),
            _ => Verdict::Wait(Finding::new(Code::HealthTimeout, "still has not ended")),
        };
    }
    match (view.state, view.health) {
        (State::Running, Health::None | Health::Healthy) => Verdict::Good,
        (State::Running, Health::Unhealthy) if policy.may_recover => {
            Verdict::Wait(Finding::new(Code::Unhealthy, "its healthcheck fails"))
        }
        (State::Running, Health::Unhealthy) => {
            Verdict::Failed(Finding::new(Code::Unhealthy, "its healthcheck fails"))
        }
        (State::Running, Health::Starting) => {
            Verdict::Wait(Finding::new(Code::HealthTimeout, "its healthcheck has not passed"))
        }
        // With a healthcheck, one that the engine restarts gets the time it was given to become healthy.
        (State::Restarting, Health::None) => Verdict::Failed(ended(view)),
        (State::Restarting, _) => Verdict::Wait(ended(view)),
        (State::Created, _) => Verdict::Wait(Finding::new(Code::HealthTimeout, "it was not started")),
        (State::Paused, _) => Verdict::Wait(Finding::new(Code::HealthTimeout, "it is paused")),
        (State::Exited | State::Dead | State::Removing, _) => Verdict::Failed(ended(view)),
    }
}

/// Whether a container that was ready before `since` is so now. While it counts as starting, the engine forgives every
/// failed check; one that answered once and has failed [`GIVEN_UP`] times since has no such excuse.
pub(super) fn ready_again(view: Option<&View>, policy: &ReadyPolicy, since: OffsetDateTime) -> Verdict {
    let failures = view.map_or(0, |view| view.failed_at.iter().filter(|at| **at > since).count());
    match first_ready(view, policy) {
        Verdict::Wait(_) if failures >= GIVEN_UP && !policy.may_recover && !policy.one_shot => {
            Verdict::Failed(Finding::new(Code::Unhealthy, "its healthcheck passed at first and fails now"))
        }
        verdict => verdict,
    }
}

/// Whether a container that was ready when it looked like `first` still is.
pub(super) fn within_window(first: Option<&View>, view: Option<&View>, policy: &ReadyPolicy) -> Verdict {
    let (first, view) = match (known(first, policy), known(view, policy)) {
        (Ok(first), Ok(view)) => (first, view),
        (Err(finding), _) | (_, Err(finding)) => return Verdict::Failed(finding),
    };
    if view.state != State::Running {
        return Verdict::Failed(ended(view));
    }
    if view.restart_count != first.restart_count || view.started_at != first.started_at {
        return Verdict::Failed(ended(view));
    }
    match view.health {
        Health::None => Verdict::Good,
        Health::Healthy if view.failing_streak == 0 => Verdict::Good,
        Health::Healthy => Verdict::Wait(Finding::new(Code::Unhealthy, "its healthcheck fails again")),
        Health::Starting => {
            Verdict::Wait(Finding::new(Code::HealthTimeout, "its healthcheck has not passed"))
        }
        Health::Unhealthy if policy.may_recover => {
            Verdict::Wait(Finding::new(Code::Unhealthy, "its healthcheck passed at first and fails now"))
        }
        Health::Unhealthy => {
            Verdict::Failed(Finding::new(Code::Unhealthy, "its healthcheck passed at first and fails now"))
        }
    }
}

/// The container is there and runs the planned image.
fn known<'a>(view: Option<&'a View>, policy: &ReadyPolicy) -> Result<&'a View, Finding> {
    let view = view.ok_or_else(|| Finding::new(Code::Exited, "its container is gone"))?;
    if !policy.image_ids.is_empty() && !policy.image_ids.contains(&view.image_id) {
        let cause = format!("{} runs, {} was planned", view.image_id, policy.image_ids.join(" or "));
        return Err(Finding::new(Code::ImageWrong, cause));
    }
    Ok(view)
}

fn ended(view: &View) -> Finding {
    let mut cause = match view.state {
        State::Running => "it was restarted".to_owned(),
        State::Paused => "it was paused".to_owned(),
        _ => format!("it exited with code {}", view.exit_code),
    };
    if view.restart_count > 0 {
        cause.push_str(&format!(", restarts: {}", view.restart_count));
    }
    if !view.error.is_empty() {
        cause.push_str(&format!(": {}", view.error));
    }
    Finding::new(Code::Exited, cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: State, health: Health) -> View {
        View {
            state,
            health,
            failing_streak: 0,
            failed_at: Vec::new(),
            last_check: None,
            exit_code: 0,
            error: String::new(),
            restart_count: 0,
            started_at: "t1".to_owned(),
            first_answer: Duration::ZERO,
            image_id: "sha256:1".to_owned(),
        }
    }

    fn policy(one_shot: bool) -> ReadyPolicy {
        let second = Duration::from_secs(1);
        ReadyPolicy {
            timeout: second,
            patient: false,
            may_recover: false,
            stability: second,
            one_shot,
            image_ids: vec!["sha256:1".into()],
        }
    }

    /// `good`, `wait CODE` or `failed CODE`.
    fn short(verdict: Verdict) -> String {
        match verdict {
            Verdict::Good => "good".to_owned(),
            Verdict::Wait(finding) => format!("wait {}", finding.code.name()),
            Verdict::Failed(finding) => format!("failed {}", finding.code.name()),
        }
    }

    #[test]
    fn the_first_answer() {
        use Health::*;
        use State::*;
        let table = [
            (Running, None, "good"),
            (Running, Healthy, "good"),
            (Running, Starting, "wait HEALTH_TIMEOUT"),
            (Running, Unhealthy, "failed UNHEALTHY"),
            (Restarting, None, "failed EXITED"),
            (Restarting, Starting, "wait EXITED"),
            (Created, Starting, "wait HEALTH_TIMEOUT"),
            (Paused, None, "wait HEALTH_TIMEOUT"),
            (Exited, None, "failed EXITED"),
            (Exited, Healthy, "failed EXITED"),
            (Dead, None, "failed EXITED"),
        ];
        for (state, health, expected) in table {
            let verdict = first_ready(Some(&view(state, health)), &policy(false));
            assert_eq!(short(verdict), expected, "{state:?} {health:?}");
        }
        assert_eq!(short(first_ready(Option::None, &policy(false))), "failed EXITED");
    }

    #[test]
    fn one_that_answered_once_and_never_again_is_not_waited_for() {
        let since = OffsetDateTime::UNIX_EPOCH;
        let failed = |count: i64| View {
            failed_at: (1..=count).map(|second| since + time::Duration::seconds(second)).collect(),
            ..view(State::Running, Health::Starting)
        };
        assert_eq!(short(ready_again(Some(&failed(2)), &policy(false), since)), "wait HEALTH_TIMEOUT");
        assert_eq!(short(ready_again(Some(&failed(3)), &policy(false), since)), "failed UNHEALTHY");
        let later = since + time::Duration::hours(1);
        assert_eq!(short(ready_again(Some(&failed(3)), &policy(false), later)), "wait HEALTH_TIMEOUT");
        let well = View { failed_at: failed(3).failed_at, ..view(State::Running, Health::Healthy) };
        assert_eq!(short(ready_again(Some(&well), &policy(false), since)), "good");
    }

    #[test]
    fn a_service_that_was_only_disturbed_may_recover() {
        let policy = ReadyPolicy { may_recover: true, ..policy(false) };
        let (well, ill) = (view(State::Running, Health::Healthy), view(State::Running, Health::Unhealthy));
        assert_eq!(short(first_ready(Some(&ill), &policy)), "wait UNHEALTHY");
        assert_eq!(short(within_window(Some(&well), Some(&ill), &policy)), "wait UNHEALTHY");
        assert_eq!(short(within_window(Some(&well), Some(&well), &policy)), "good");
        let ended = view(State::Exited, Health::Unhealthy);
        assert_eq!(short(within_window(Some(&well), Some(&ended), &policy)), "failed EXITED");
    }

    #[test]
    fn a_one_shot_is_judged_by_its_exit_code() {
        for (state, exit_code, expected) in [
            (State::Exited, 0, "good"),
            (State::Exited, 1, "failed EXITED"),
            (State::Running, 0, "wait HEALTH_TIMEOUT"),
            (State::Restarting, 1, "wait HEALTH_TIMEOUT"),
            (State::Created, 0, "wait HEALTH_TIMEOUT"),
        ] {
            let view = View { exit_code, ..view(state, Health::None) };
            assert_eq!(short(first_ready(Some(&view), &policy(true))), expected, "{state:?} {exit_code}");
        }
    }

    #[test]
    fn another_image_is_never_good() {
        let wrong = View { image_id: "sha256:2".into(), ..view(State::Running, Health::Healthy) };
        assert_eq!(short(first_ready(Some(&wrong), &policy(false))), "failed IMAGE_WRONG");
        assert_eq!(short(within_window(Some(&wrong), Some(&wrong), &policy(false))), "failed IMAGE_WRONG");
        let any = ReadyPolicy { image_ids: vec![], ..policy(false) };
        assert_eq!(short(first_ready(Some(&wrong), &any)), "good");
    }

    #[test]
    fn the_window() {
        let healthy = view(State::Running, Health::Healthy);
        let running = view(State::Running, Health::None);
        for (first, now, expected) in [
            (&running, running.clone(), "good"),
            (&healthy, healthy.clone(), "good"),
            (&healthy, View { failing_streak: 1, ..healthy.clone() }, "wait UNHEALTHY"),
            (&healthy, View { health: Health::Unhealthy, ..healthy.clone() }, "failed UNHEALTHY"),
            (&healthy, View { health: Health::Starting, ..healthy.clone() }, "wait HEALTH_TIMEOUT"),
            (&running, View { restart_count: 1, ..running.clone() }, "failed EXITED"),
            (&running, View { started_at: "t2".into(), ..running.clone() }, "failed EXITED"),
            (&running, view(State::Exited, Health::None), "failed EXITED"),
            (&running, view(State::Restarting, Health::None), "failed EXITED"),
            (&running, view(State::Paused, Health::None), "failed EXITED"),
        ] {
            assert_eq!(short(within_window(Some(first), Some(&now), &policy(false))), expected, "{now:?}");
        }
    }
}
