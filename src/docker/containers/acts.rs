//! What can be done to a container. Every act may be repeated: an interrupted upgrade repeats its last one.

use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::{
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::State;
use crate::docker::Engine;
use crate::docker::failure::status;
use crate::fault::{Code, Fault, Result};

/// The longest grace period a container's own declaration is believed to have.
const LONGEST_GRACE: Duration = Duration::from_secs(3600);
/// Attempts at what the engine now and then refuses though nothing speaks against it.
const TRIES: u32 = 5;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest log excerpt in a message.
const LOG_BYTES: usize = 4000;

impl Engine {
    /// Stops a container, killing it after `grace` (absent: what the container itself declares). One that does
    /// not run, or is gone, is fine.
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<()> {
        let mut options = StopContainerOptionsBuilder::default();
        if let Some(grace) = grace {
            let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
            options = options.t(i32::try_from(seconds).unwrap_or(i32::MAX));
        }
        let docker = self.patient(grace.unwrap_or(LONGEST_GRACE));
        let result = docker.stop_container(id, Some(options.build())).await;
        self.settled(id, result, &[304, 404]).await
    }

    /// Starts a container; one that runs is fine.
    pub async fn start(&self, id: &str) -> Result<()> {
        let Err(error) = self.docker.start_container(id, None::<StartContainerOptions>).await else {
            return Ok(());
        };
        if status(&error) == Some(304) {
            return Ok(());
        }
        let name = self.name_of(id).await;
        match &error {
            Error::DockerResponseServerError { message, .. } => Err(start_fault(&name, message)),
            _ => Err(self.fault_as(Code::ContainerFailed, &name, error)),
        }
    }

    /// Tells the engine when to start a container by itself (`no`, `always` …); one that is gone is fine. In the moment
    /// in which a container ends the engine refuses that, so it is tried more than once: one that crashes again and again
    /// is what this is for.
    pub async fn set_restart_policy(&self, id: &str, policy: &str) -> Result<()> {
        let name = policy.parse::<RestartPolicyNameEnum>();
        let name = name.map_err(|error| Fault::new(Code::ContainerFailed, id, error))?;
        let restart_policy = Some(RestartPolicy { name: Some(name), maximum_retry_count: None });
        let update = ContainerUpdateBody { restart_policy, ..Default::default() };
        let mut tries = TRIES;
        loop {
            let result = self.docker.update_container(id, update.clone()).await;
            if !is_tried_again(&mut tries, id, &result).await {
                return self.settled(id, result, &[404]).await;
            }
        }
    }

    /// Gives a container a name; fine where it has it already.
    pub async fn rename(&self, id: &str, name: &str) -> Result<()> {
        // The engine refuses a container its own name, and a foreign owner of the name must not be hidden by that.
        if self.container(id).await?.is_some_and(|container| container.name == name) {
            return Ok(());
        }
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let result = self.docker.rename_container(id, options).await;
        self.settled(id, result, &[]).await
    }

    /// Removes a container, stopping it by force; one that is gone is fine. Named volumes always stay.
    pub async fn remove(&self, id: &str, with_anonymous_volumes: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(with_anonymous_volumes).build();
        let result = self.docker.remove_container(id, Some(options)).await;
        match &result {
            // Somebody is already removing it.
            Err(error) if status(error) == Some(409) && error.to_string().contains("in progress") => Ok(()),
            _ => self.settled(id, result, &[404]).await,
        }
    }

    /// Freezes a container; one that is frozen, or does not run, is fine. The kernel now and then gives up freezing the
    /// processes of a busy machine, so it is tried more than once.
    pub async fn pause(&self, id: &str) -> Result<()> {
        let mut tries = TRIES;
        loop {
            if self.container(id).await?.map(|container| container.state) != Some(State::Running) {
                return Ok(());
            }
            let result = self.docker.pause_container(id).await;
            if !is_tried_again(&mut tries, id, &result).await {
                return self.settled(id, result, &[]).await;
            }
        }
    }

    /// Thaws a container; one that is not frozen is fine.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        match self.container(id).await?.map(|container| container.state) {
            Some(State::Paused) => {
                let result = self.docker.unpause_container(id).await;
                self.settled(id, result, &[]).await
            }
            _ => Ok(()),
        }
    }

    /// The last `lines` lines of a container's log, for error messages; empty where it cannot be read.
    pub async fn logs_tail(&self, id: &str, lines: u32) -> String {
        let tail = lines.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&tail).build();
        let mut stream = std::pin::pin!(self.docker.logs(id, Some(options)));
        let mut text = String::new();
        // The log only illustrates another failure, which must not be replaced by this one.
        while let Some(Ok(output)) = stream.next().await {
            text.push_str(&String::from_utf8_lossy(&output.into_bytes()));
        }
        tail_of(text.trim_end(), LOG_BYTES).to_owned()
    }

    /// The result of an act, where the statuses in `fine` mean that there was nothing to do.
    async fn settled(&self, id: &str, result: Result<(), Error>, fine: &[u16]) -> Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error) if status(&error).is_some_and(|status| fine.contains(&status)) => Ok(()),
            Err(error) => Err(self.fault_as(Code::ContainerFailed, &self.name_of(id).await, error)),
        }
    }
}

/// Whether an act that ended with `result` is to be tried again, after waiting for that; one of `tries` is used up.
async fn is_tried_again(tries: &mut u32, id: &str, result: &Result<(), Error>) -> bool {
    *tries -= 1;
    match result {
        Err(error) if *tries > 0 && status(error) == Some(500) => {
            tracing::debug!(id, %error, "the engine refused, and is asked again");
            tokio::time::sleep(PAUSE).await;
            true
        }
        _ => false,
    }
}

/// The end of a text, at most `limit` bytes, cut between characters.
pub(in crate::docker) fn tail_of(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

fn start_fault(name: &str, message: &str) -> Fault {
    let taken = ["port is already allocated", "address already in use"];
    if !taken.iter().any(|sign| message.contains(sign)) {
        return Fault::new(Code::ContainerFailed, name, message.trim());
    }
    let detail = match port_in(message) {
        Some(port) => format!("port {port}: {}", message.trim()),
        None => message.trim().to_owned(),
    };
    Fault::new(Code::PortTaken, name, detail)
}

/// The port in `Bind for 0.0.0.0:8080 failed: …`, `listen tcp4 0.0.0.0:8080: bind: …` or (Engine 28)
/// `failed to bind host port 0.0.0.0:8080/tcp: …`, `… for 0.0.0.0:8080:172.17.0.2:80/tcp: …`.
fn port_in(message: &str) -> Option<u16> {
    let begin = [
        "Bind for ",
        "listen tcp4 ",
        "listen tcp6 ",
        "listen tcp ",
        "bind host port for ",
        "bind host port ",
    ]
    .iter()
    .find_map(|words| message.split_once(words))?
    .1;
    let after_host = if begin.starts_with('[') { begin.split_once("]:")? } else { begin.split_once(':')? }.1;
    let end = after_host.find(|c: char| !c.is_ascii_digit()).unwrap_or(after_host.len());
    after_host[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_by_its_number() {
        for (message, code, start) in [
            (
                "driver failed programming external connectivity on endpoint x (1a:2b): Bind for 0.0.0.0:8080 failed: port is already allocated",
                Code::PortTaken,
                "port 8080: ",
            ),
            (
                "Error starting userland proxy: listen tcp4 0.0.0.0:443: bind: address already in use",
                Code::PortTaken,
                "port 443: ",
            ),
            (
                "failed to bind host port for 0.0.0.0:80:172.17.0.2:81/tcp: address already in use",
                Code::PortTaken,
                "port 80: ",
            ),
            (
                "failed to bind host port [::]:8443/tcp: address already in use",
                Code::PortTaken,
                "port 8443: ",
            ),
            ("address already in use", Code::PortTaken, "address"),
            ("exec: \"nothing\": executable file not found", Code::ContainerFailed, "exec"),
        ] {
            let fault = start_fault("web", message);
            assert_eq!(fault.code(), code);
            assert!(fault.detail().starts_with(start), "{}", fault.detail());
        }
    }

    #[test]
    fn excerpts_are_cut_between_characters() {
        assert_eq!(tail_of("aäö", 3), "ö");
        assert_eq!(tail_of("abc", 10), "abc");
    }
}
