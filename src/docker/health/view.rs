//! One look at a container.

use std::time::Duration;

use bollard::models::{ContainerInspectResponse, HealthConfig, HealthcheckResult};
use bollard::query_parameters::InspectContainerOptions;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::docker::Engine;
use crate::docker::containers::{Health, State, health, run_state, tail_of};
use crate::docker::failure::unless_absent;
use crate::fault::Result;

/// Longest check output in a message.
const OUTPUT_BYTES: usize = 1000;

/// What was seen of a container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) state: State,
    pub(super) health: Health,
    pub(super) failing_streak: i64,
    pub(super) last_check: Option<String>,
    /// When the checks began that failed last, one after the other; the newest first.
    pub(super) failed_at: Vec<OffsetDateTime>,
    pub(super) exit_code: i64,
    /// The engine's own words where it could not run it.
    pub(super) error: String,
    pub(super) restart_count: i64,
    pub(super) started_at: String,
    pub(super) image_id: String,
    /// By when the engine knows the first answer of its healthcheck; zero without one.
    pub(super) first_answer: Duration,
}

impl Engine {
    /// Looks at a container; `None` where it is gone.
    pub(super) async fn view(&self, id: &str) -> Result<Option<View>> {
        let found = unless_absent(self.docker.inspect_container(id, None::<InspectContainerOptions>).await);
        Ok(found.map_err(|error| self.fault(id, error))?.map(read))
    }
}

fn read(found: ContainerInspectResponse) -> View {
    let state = found.state.unwrap_or_default();
    let checks = state.health.unwrap_or_default();
    let config = found.config.and_then(|config| config.healthcheck);
    View {
        state: state.status.map_or(State::Dead, run_state),
        health: health(checks.status),
        failing_streak: checks.failing_streak.unwrap_or_default(),
        failed_at: checks.log.as_deref().map(failed_at).unwrap_or_default(),
        last_check: checks.log.and_then(|log| log.last().map(words)),
        exit_code: state.exit_code.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        restart_count: found.restart_count.unwrap_or_default(),
        started_at: state.started_at.unwrap_or_default(),
        image_id: found.image.unwrap_or_default(),
        first_answer: config.map_or(Duration::ZERO, |config| first_answer(&config)),
    }
}

fn failed_at(log: &[HealthcheckResult]) -> Vec<OffsetDateTime> {
    let failed = log.iter().rev().take_while(|check| check.exit_code.unwrap_or_default() != 0);
    failed.filter_map(|check| OffsetDateTime::parse(check.start.as_deref()?, &Rfc3339).ok()).collect()
}

/// The engine's defaults are an interval and a time-out of 30 s.
fn first_answer(config: &HealthConfig) -> Duration {
    if matches!(config.test.as_deref(), None | Some([]))
        || config.test.as_ref().is_some_and(|test| test[0] == "NONE")
    {
        return Duration::ZERO;
    }
    let or_default = |nanos: Option<i64>| match nanos {
        Some(nanos) if nanos > 0 => Duration::from_nanos(nanos.unsigned_abs()),
        _ => Duration::from_secs(30),
    };
    let grace = Duration::from_nanos(config.start_period.unwrap_or(0).max(0).unsigned_abs());
    grace + or_default(config.interval) + or_default(config.timeout)
}

fn words(check: &HealthcheckResult) -> String {
    let output = check.output.as_deref().unwrap_or_default().trim();
    let code = check.exit_code.unwrap_or_default();
    format!("exit {code} '{}'", tail_of(output, OUTPUT_BYTES))
}
