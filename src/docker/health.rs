//! Readiness and stability, from the engine's own events and states. A time-out is never a success.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerState;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::future::try_join_all;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::engine::{Engine, failed, status};
use crate::fault::{Code, Fault, Result};

/// Looked at this often in any case, should the event stream miss something.
const LOOK: Duration = Duration::from_millis(500);
/// Lines of a container's log that go into an error.
const LINES: usize = 5;

/// A container that must be and stay well.
#[derive(Debug, Clone)]
pub struct Stable {
    /// Its Compose service, for messages.
    pub service: String,
    /// Its ID.
    pub id: String,
    /// Its name, for messages.
    pub name: String,
    /// The engine's ID of the image it must run.
    pub image_id: Option<String>,
    /// It runs once and must exit 0.
    pub one_shot: bool,
    /// How long it must stay well.
    pub window: Duration,
    /// Until when it must be well at all.
    pub timeout: Duration,
}

/// What a container's state says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reading {
    /// Healthy, running without a healthcheck, or ended well as it should.
    Well,
    /// Not yet.
    Waiting(&'static str),
    /// It will not become well by itself.
    Bad(Code, String),
}

/// Reads a state. `one_shot` containers are well when they have exited 0.
fn read(state: &ContainerState, one_shot: bool) -> Reading {
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let code = state.exit_code.unwrap_or_default();
    match (status.as_str(), one_shot) {
        ("exited" | "dead", true) if code == 0 => Reading::Well,
        ("exited" | "dead", _) => Reading::Bad(Code::Exited, format!("it ended with exit code {code}")),
        ("restarting", _) => Reading::Bad(Code::Exited, format!("it restarts after exit code {code}")),
        ("running", true) => Reading::Waiting("running"),
        ("running", false) => match health(state).as_str() {
            "" | "none" | "healthy" => Reading::Well,
            "unhealthy" => Reading::Bad(Code::Unhealthy, last_check(state)),
            _ => Reading::Waiting("starting"),
        },
        ("paused", _) => Reading::Waiting("paused"),
        _ => Reading::Waiting("not started"),
    }
}

fn health(state: &ContainerState) -> String {
    let status = state.health.as_ref().and_then(|health| health.status);
    status.map(|status| status.to_string()).unwrap_or_default()
}

/// What the last healthcheck printed.
fn last_check(state: &ContainerState) -> String {
    let log = state.health.as_ref().and_then(|health| health.log.as_ref());
    let last = log.and_then(|log| log.last());
    let output = last.and_then(|check| check.output.as_deref()).unwrap_or_default().trim();
    let code = last.and_then(|check| check.exit_code).unwrap_or_default();
    let shown: String = output.chars().take(300).collect();
    format!("its healthcheck ends with {code} ({shown})")
}

impl Engine {
    /// Waits until a started container is ready for the first time: healthy, or running where it has no
    /// healthcheck, or ended with 0 where it runs once. The time-out counts from now.
    pub async fn wait_first_ready(&self, id: &str, timeout: Duration, one_shot: bool) -> Result<()> {
        let deadline = Instant::now() + timeout;
        let mut events = self.events_of(id);
        loop {
            let (state, _) = self.look(id).await?;
            match read(&state, one_shot) {
                Reading::Well => return Ok(()),
                Reading::Bad(code, cause) => return Err(self.complaint(id, code, &cause).await),
                Reading::Waiting(what) => {
                    if Instant::now() >= deadline {
                        let cause =
                            format!("still {what} after {} s; {}", timeout.as_secs_f32(), last_check(&state));
                        return Err(self.complaint(id, Code::HealthTimeout, &cause).await);
                    }
                }
            }
            next_look(&mut events, deadline).await;
        }
    }

    /// Verifies all of `containers` at once: each must become well in time, and then stay well, the same process
    /// of the planned image, for its whole window.
    pub async fn verify_stable(&self, containers: &[Stable]) -> Result<()> {
        try_join_all(containers.iter().map(|container| self.verify_one(container))).await.map(drop)
    }

    async fn verify_one(&self, wanted: &Stable) -> Result<()> {
        let mut events = self.events_of(&wanted.id);
        self.wait_first_ready(&wanted.id, wanted.timeout, wanted.one_shot).await?;
        let (first, image) = self.look(&wanted.id).await?;
        if let Some(planned) = wanted.image_id.as_ref().filter(|planned| **planned != image) {
            let cause = format!("{} runs {image} instead of {planned}", wanted.name);
            return Err(Fault::new(Code::ImageWrong, &wanted.service, cause));
        }
        if wanted.one_shot {
            return Ok(());
        }
        let end = Instant::now() + wanted.window;
        loop {
            let (state, _) = self.look(&wanted.id).await?;
            if state.started_at != first.started_at {
                let cause = "it was restarted while it was watched";
                return Err(self.complaint(&wanted.id, Code::Exited, cause).await);
            }
            match read(&state, false) {
                Reading::Well => {}
                Reading::Bad(code, cause) => return Err(self.complaint(&wanted.id, code, &cause).await),
                Reading::Waiting(what) => {
                    let cause = format!("it was ready and is {what} again");
                    return Err(self.complaint(&wanted.id, Code::Unhealthy, &cause).await);
                }
            }
            if Instant::now() >= end {
                return Ok(());
            }
            next_look(&mut events, end).await;
        }
    }

    async fn look(&self, id: &str) -> Result<(ContainerState, String)> {
        match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
            Ok(details) => Ok((details.state.unwrap_or_default(), details.image.unwrap_or_default())),
            Err(error) if status(&error) == Some(404) => {
                Err(Fault::new(Code::Exited, id, "its container was removed"))
            }
            Err(error) => Err(failed(id, error)),
        }
    }

    async fn complaint(&self, id: &str, code: Code, cause: &str) -> Fault {
        let lines = self.last_lines(id, LINES).await;
        let lines =
            if lines.is_empty() { "it wrote no log".to_owned() } else { format!("its log ends: {lines}") };
        Fault::new(code, self.name_of(id).await, format!("{cause}; {lines}"))
    }

    fn events_of(&self, id: &str) -> impl Stream<Item = ()> + Send + Unpin + use<> {
        let filters = HashMap::from([("container".to_owned(), vec![id.to_owned()])]);
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        Box::pin(self.docker.events(Some(options)).map(drop))
    }
}

/// Until something happened to the container, or it is time to look anyway.
async fn next_look(events: &mut (impl Stream<Item = ()> + Unpin), deadline: Instant) {
    let until = deadline.min(Instant::now() + LOOK);
    tokio::select! {
        happened = events.next() => {
            // A stream that has ended (the engine restarts) would make this spin.
            if happened.is_none() {
                sleep_until(until).await;
            }
        }
        () = sleep_until(until) => {}
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerStateStatusEnum as Status, Health, HealthStatusEnum};

    use super::*;

    fn state(status: Status, code: i64, health: Option<HealthStatusEnum>) -> ContainerState {
        ContainerState {
            status: Some(status),
            exit_code: Some(code),
            health: health.map(|status| Health { status: Some(status), ..Health::default() }),
            ..ContainerState::default()
        }
    }

    #[test]
    fn every_state_is_read_as_documented() {
        let well = Reading::Well;
        let cases = [
            (state(Status::RUNNING, 0, None), false, well.clone()),
            (state(Status::RUNNING, 0, Some(HealthStatusEnum::HEALTHY)), false, well.clone()),
            (
                state(Status::RUNNING, 0, Some(HealthStatusEnum::STARTING)),
                false,
                Reading::Waiting("starting"),
            ),
            (state(Status::RUNNING, 0, None), true, Reading::Waiting("running")),
            (state(Status::EXITED, 0, None), true, well),
            (state(Status::CREATED, 0, None), false, Reading::Waiting("not started")),
        ];
        for (state, one_shot, expected) in cases {
            assert_eq!(read(&state, one_shot), expected, "{state:?}");
        }
        let bad = |state: ContainerState, one_shot| match read(&state, one_shot) {
            Reading::Bad(code, _) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(bad(state(Status::EXITED, 0, None), false), Code::Exited);
        assert_eq!(bad(state(Status::EXITED, 3, None), true), Code::Exited);
        assert_eq!(bad(state(Status::RESTARTING, 1, None), false), Code::Exited);
        assert_eq!(bad(state(Status::RUNNING, 0, Some(HealthStatusEnum::UNHEALTHY)), false), Code::Unhealthy);
    }
}
