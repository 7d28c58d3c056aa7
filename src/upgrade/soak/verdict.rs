//! What a look at a container on probation means. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::docker::{Container, Health, State};
use crate::fault::Code;

/// Restarts within [`LOOP_WINDOW`] that make a crash loop.
const LOOP_RESTARTS: u64 = 3;
/// See [`LOOP_RESTARTS`].
const LOOP_WINDOW: Duration = Duration::from_secs(300);
/// Exit codes of a process that was told to end (SIGKILL, SIGTERM) or ended well: a person stopped it, as far as nothing
/// else is known.
const STOPPED: [i64; 3] = [0, KILLED, 143];
/// That of one that was ended by SIGKILL, which the kernel sends as well.
pub const KILLED: i64 = 137;

/// A container as it is seen now.
pub struct Seen<'a> {
    /// The container.
    pub container: &'a Container,
    /// How often the engine restarted it since the probation began.
    pub restarts: u64,
    /// When it ended, as far as the engine remembers, in seconds since 1970.
    pub deaths: &'a [i64],
    /// Whether somebody had the engine end it; none where that is not known.
    pub told_to_end: Option<bool>,
    /// How long ago the probation began.
    pub since: Duration,
    /// When it is over, in seconds since 1970: what happens later is none of its business.
    pub until: i64,
    /// It is over.
    pub over: bool,
}

/// What speaks against it.
pub fn judge(seen: &Seen<'_>) -> Option<(Code, String)> {
    let container = seen.container;
    if !seen.over && container.state == State::Running && container.health == Health::Unhealthy {
        return Some((Code::Unhealthy, "its healthcheck fails".into()));
    }
    if seen.restarts >= LOOP_RESTARTS && in_a_loop(seen) {
        return Some((Code::Exited, format!("it was restarted {} times", seen.restarts)));
    }
    // An engine that always restarts it would not leave it ended, unless a person stopped it.
    let always = matches!(container.restart_policy.as_str(), "always" | "unless-stopped");
    let ended = matches!(container.state, State::Exited | State::Dead);
    let in_time = !seen.over || ended_at(container).is_some_and(|at| at <= seen.until);
    if !ended || !in_time || always {
        return None;
    }
    // A child of one that was then told to end leaves that mark, too.
    if container.oom_killed && container.exit_code != 0 && seen.told_to_end != Some(true) {
        return Some((Code::Exited, "it was killed for want of memory".into()));
    }
    // Nobody sent that signal by the engine: the kernel did, or the process itself.
    let killed = container.exit_code == KILLED && seen.told_to_end == Some(false);
    let crashed = killed || !STOPPED.contains(&container.exit_code);
    crashed.then(|| (Code::Exited, format!("it exited with code {}", container.exit_code)))
}

/// The engine forgets events soon, and always knows the count: often enough for the time there was, or still at it.
fn in_a_loop(seen: &Seen<'_>) -> bool {
    let dense = seen.restarts.saturating_mul(LOOP_WINDOW.as_secs()) >= LOOP_RESTARTS * seen.since.as_secs();
    let in_time: Vec<i64> = seen.deaths.iter().copied().filter(|at| *at <= seen.until).collect();
    dense || (!seen.over && seen.container.state == State::Restarting) || crash_loop(&in_time)
}

/// Seconds since 1970; none where the engine's text says nothing.
fn ended_at(container: &Container) -> Option<i64> {
    OffsetDateTime::parse(&container.finished_at, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// Whether three of these moments (seconds, ascending) lie within five minutes.
pub fn crash_loop(deaths: &[i64]) -> bool {
    let count = LOOP_RESTARTS as usize;
    deaths.windows(count).any(|some| some[count - 1] - some[0] <= LOOP_WINDOW.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(state: State, health: Health, policy: &str, exit_code: i64) -> Container {
        Container { state, health, exit_code, restart_policy: policy.into(), ..Container::default() }
    }

    #[test]
    fn what_speaks_against_a_version() {
        use Health::*;
        use State::*;
        let minutes = |count: u64| Duration::from_secs(count * 60);
        let table = [
            ("runs", container(Running, Healthy, "no", 0), 0, vec![], minutes(1), Option::None),
            (
                "unhealthy",
                container(Running, Unhealthy, "no", 0),
                0,
                vec![],
                minutes(1),
                Some(Code::Unhealthy),
            ),
            ("two restarts", container(Running, None, "always", 1), 2, vec![], minutes(1), Option::None),
            ("a loop", container(Running, None, "always", 1), 3, vec![], minutes(5), Some(Code::Exited)),
            ("three in a day", container(Running, None, "always", 1), 3, vec![], minutes(1440), Option::None),
            (
                "at it now",
                container(Restarting, None, "always", 1),
                3,
                vec![],
                minutes(60),
                Some(Code::Exited),
            ),
            (
                "a loop at the end",
                container(Running, None, "always", 1),
                3,
                vec![3000, 3100, 3250],
                minutes(60),
                Some(Code::Exited),
            ),
            (
                "far apart",
                container(Running, None, "always", 1),
                3,
                vec![0, 1000, 3000],
                minutes(60),
                Option::None,
            ),
            ("crashed", container(Exited, None, "no", 1), 0, vec![], minutes(1), Some(Code::Exited)),
            ("stopped by a person", container(Exited, None, "no", 137), 0, vec![], minutes(1), Option::None),
            (
                "stopped, its policy says",
                container(Exited, None, "always", 1),
                0,
                vec![],
                minutes(1),
                Option::None,
            ),
        ];
        for (what, container, restarts, deaths, since, expected) in table {
            let seen = Seen {
                container: &container,
                restarts,
                deaths: &deaths,
                told_to_end: Option::None,
                since,
                until: 4000,
                over: false,
            };
            assert_eq!(judge(&seen).map(|(code, _)| code), expected, "{what}");
        }
    }

    #[test]
    fn when_it_is_over_only_what_happened_in_time_counts() {
        use State::*;
        let ended =
            |at: &str| Container { finished_at: at.into(), ..container(Exited, Health::None, "no", 1) };
        let table = [
            ("unhealthy now", container(Running, Health::Unhealthy, "no", 0), 0, vec![], None),
            ("ended in time", ended("1970-01-01T00:10:00Z"), 0, vec![], Some(Code::Exited)),
            ("ended later", ended("1970-01-01T00:10:01Z"), 0, vec![], None),
            ("the engine does not say", ended(""), 0, vec![], None),
            (
                "a loop in time",
                container(Running, Health::None, "always", 1),
                3,
                vec![100, 200, 300],
                Some(Code::Exited),
            ),
            ("a loop later", container(Restarting, Health::None, "always", 1), 3, vec![700, 800, 900], None),
            (
                "a loop ever since",
                container(Running, Health::None, "always", 1),
                864,
                vec![],
                Some(Code::Exited),
            ),
        ];
        for (what, container, restarts, deaths, expected) in table {
            let since = Duration::from_secs(86400);
            let seen = Seen {
                container: &container,
                restarts,
                deaths: &deaths,
                told_to_end: None,
                since,
                until: 600,
                over: true,
            };
            assert_eq!(judge(&seen).map(|(code, _)| code), expected, "{what}");
        }
    }

    #[test]
    fn a_kill_that_nobody_asked_for_is_a_crash() {
        let killed = |policy, oom_killed| Container {
            oom_killed,
            ..container(State::Exited, Health::None, policy, KILLED)
        };
        let ended = Container { exit_code: 0, ..killed("no", true) };
        let table = [
            ("by a person", killed("no", false), Some(true), false),
            ("nobody knows by whom", killed("no", false), None, false),
            ("by the kernel of a machine without memory", killed("no", false), Some(false), true),
            ("for its own want of memory", killed("no", true), None, true),
            ("for that, and then stopped by a person", killed("always", true), Some(true), false),
            ("a child of it, and a person stopped it", killed("no", true), Some(true), false),
            ("a child of it, and it ended well", ended, None, false),
        ];
        for (what, container, told_to_end, speaks) in table {
            let since = Duration::from_secs(60);
            let (restarts, deaths, until) = (0, &[][..], 600);
            let seen =
                Seen { container: &container, restarts, deaths, told_to_end, since, until, over: false };
            assert_eq!(judge(&seen).is_some(), speaks, "{what}");
        }
    }
}
