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
    let filters =
        HashMap::from([("type", vec!["container"]), ("container", vec![container]), ("event", vec!["die"])]);
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let since = (now - within.as_secs() as i64).to_string();
    let options =
        EventsOptionsBuilder::default().since(&since).until(&now.to_string()).filters(&filters).build();
    let events: Vec<EventMessage> = engine
        .docker
        .events(Some(options))
        .try_collect()
        .await
        .map_err(|error| engine.fault(container, error))?;
    let mut times: Vec<i64> = events.into_iter().filter_map(|event| event.time).collect();
    times.sort_unstable();
    Ok(times)
}
