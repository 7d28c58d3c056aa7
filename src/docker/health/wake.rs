//! Wakes a watcher when the engine tells of its container.

use std::collections::HashMap;
use std::pin::Pin;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt, TryStreamExt};

use crate::docker::Engine;
use crate::fault::Result;

/// How long to trust that no event means no change.
const POLL: Duration = Duration::from_secs(1);
/// As the engine's events tell it.
const SIGKILL: &str = "9";

/// The events of one container, with a slow poll behind them.
pub(super) struct Wake {
    events: Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>,
    silent: bool,
}

impl Wake {
    /// Listens to the events of `container`.
    pub(super) fn on(engine: &Engine, container: &str) -> Self {
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("container", vec![container]),
            // Not the exec events, of which every healthcheck makes three.
            ("event", vec!["health_status", "start", "restart", "die", "oom", "kill", "destroy"]),
        ]);
        // What happened between the last look and the subscription is told again; one look too many is cheap.
        let since = (time::OffsetDateTime::now_utc().unix_timestamp() - 1).to_string();
        let options = EventsOptionsBuilder::default().since(&since).filters(&filters).build();
        Self { events: Box::pin(engine.docker.events(Some(options))), silent: false }
    }

    /// Returns when something happened, or when it is time for a look anyway.
    pub(super) async fn next(&mut self) {
        if self.silent {
            return tokio::time::sleep(POLL).await;
        }
        match tokio::time::timeout(POLL, self.events.next()).await {
            Ok(Some(Ok(_))) | Err(_) => {}
            // A broken event stream is no failure of the container; the look itself tells if the engine is gone.
            Ok(None | Some(Err(_))) => self.silent = true,
        }
    }
}

/// See [`Engine::deaths`].
pub(super) async fn deaths(engine: &Engine, container: &str, within: Duration) -> Result<Vec<i64>> {
    let events = past(engine, container, within, vec!["die"]).await?;
    let mut times: Vec<i64> = events.into_iter().filter_map(|event| event.time).collect();
    times.sort_unstable();
    Ok(times)
}

/// See [`Engine::was_told_to_end`].
pub(super) async fn was_told_to_end(
    engine: &Engine,
    container: &str,
    within: Duration,
) -> Result<Option<bool>> {
    let mut events = past(engine, container, within, vec!["start", "die", "kill", "stop"]).await?;
    let is = |event: &EventMessage, action: &str| event.action.as_deref() == Some(action);
    if let Some(last) = events.iter().rposition(|event| is(event, "start")) {
        events.drain(..=last);
    }
    if !events.iter().any(|event| is(event, "die")) {
        return Ok(None);
    }
    // A stop is told before the end or after it. Other signals only have a service read its settings again.
    let kills = |event: &EventMessage| {
        let attributes = event.actor.as_ref().and_then(|actor| actor.attributes.as_ref());
        is(event, "kill")
            && attributes.and_then(|all| all.get("signal")).is_some_and(|signal| signal == SIGKILL)
    };
    Ok(Some(events.iter().any(|event| is(event, "stop") || kills(event))))
}

/// What the engine still remembers of a container, oldest first.
async fn past(
    engine: &Engine,
    container: &str,
    within: Duration,
    what: Vec<&str>,
) -> Result<Vec<EventMessage>> {
    let filters =
        HashMap::from([("type", vec!["container"]), ("container", vec![container]), ("event", what)]);
    let now = time::OffsetDateTime::now_utc();
    let since = (now.unix_timestamp() - within.as_secs() as i64).to_string();
    // To the very moment: the engine cuts whole seconds off.
    let until = format!("{}.{:09}", now.unix_timestamp(), now.nanosecond());
    let options = EventsOptionsBuilder::default().since(&since).until(&until).filters(&filters).build();
    engine.docker.events(Some(options)).try_collect().await.map_err(|error| engine.fault(container, error))
}
