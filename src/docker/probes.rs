//! Checks from outside the containers, as a release declares them. Each is repeated until it passes or its
//! time is up.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::engine::{Engine, failed};
use crate::fault::{Code, Fault, Result};
use crate::release::info::Probe;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(250);

impl Engine {
    /// Runs all probes; `containers` are the `(service, container ID)` that commands can run in.
    pub async fn run_probes(&self, probes: &[Probe], containers: &[(String, String)]) -> Result<()> {
        for probe in probes {
            self.run_probe(probe, containers).await?;
        }
        Ok(())
    }

    async fn run_probe(&self, probe: &Probe, containers: &[(String, String)]) -> Result<()> {
        let deadline = Instant::now() + Duration::from_millis(probe.timeout_ms);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let cause = match timeout(left, self.try_probe(probe, containers)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(cause)) => cause,
                Err(_) => format!("no answer within {} ms", probe.timeout_ms),
            };
            if Instant::now() + PAUSE >= deadline {
                return Err(Fault::new(Code::ProbeFailed, &probe.name, cause));
            }
            sleep(PAUSE).await;
        }
    }

    async fn try_probe(&self, probe: &Probe, containers: &[(String, String)]) -> Result<(), String> {
        if let Some(address) = &probe.http {
            return try_http(address, probe.expect_status).await;
        }
        if let Some(address) = &probe.tcp {
            return TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| format!("{address}: {error}"));
        }
        let command = probe.command.as_ref().ok_or("the probe declares neither http nor tcp nor command")?;
        let service = probe.service.as_ref().ok_or("a command needs a service to run in")?;
        let container = containers.iter().find(|(name, _)| name == service);
        let (_, id) = container.ok_or_else(|| format!("there is no container of {service}"))?;
        match self.exec(id, command).await {
            Ok(0) => Ok(()),
            Ok(code) => Err(format!("{} ends with exit code {code}", command.join(" "))),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// Runs a command in a container and gives its exit code.
    pub async fn exec(&self, id: &str, command: &[String]) -> Result<i64> {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(id, options).await.map_err(|error| failed(id, error))?;
        let options = None::<bollard::exec::StartExecOptions>;
        let started = self.docker.start_exec(&exec.id, options).await.map_err(|error| failed(id, error))?;
        if let StartExecResults::Attached { mut output, .. } = started {
            while let Some(chunk) = output.next().await {
                chunk.map_err(|error| failed(id, error))?;
            }
        }
        let result = self.docker.inspect_exec(&exec.id).await.map_err(|error| failed(id, error))?;
        result.exit_code.ok_or_else(|| Fault::new(Code::EngineFailed, id, "the engine gave no exit code"))
    }
}

async fn try_http(address: &str, expected: Option<u16>) -> Result<(), String> {
    let response = reqwest::get(address).await.map_err(|error| format!("{address}: {error}"))?;
    let status = response.status();
    let fits = expected.map_or_else(|| status.is_success(), |wanted| status.as_u16() == wanted);
    if fits { Ok(()) } else { Err(format!("{address} answers {status}")) }
}
