//! Commands in a service's container that give data, or take it.

use std::io::Read;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::bridge::{Input, Output, converse};
use super::containers::tail_of;
use super::engine::UNLIMITED;
use super::{Engine, State};
use crate::fault::{Code, Fault, Result};

/// Longest output of a command in a message.
const OUTPUT_BYTES: usize = 1000;

impl Engine {
    /// Runs a command in a container and writes what it says on its standard output to `to`. Anything but an exit code of
    /// 0 is an error with the end of what it said on standard error.
    pub async fn exec_to(
        &self,
        container: &str,
        argv: &[String],
        to: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<()> {
        let (id, mut output, _input) = self.exec_begin(container, argv, false).await?;
        let mut said = String::new();
        while let Some(piece) = output.next().await {
            match piece.map_err(|error| self.fault(container, error))? {
                LogOutput::StdOut { message } => {
                    let written = to.write_all(&message).await;
                    written
                        .map_err(|error| failed(argv, format!("what it wrote could not be kept: {error}")))?;
                }
                other => keep_tail(&mut said, &other.into_bytes()),
            }
        }
        self.exec_ended(&id, argv, &said).await
    }

    /// Runs a command in a container with `from` on its standard input. Anything but an exit code of 0, and not taking
    /// all of the input, is an error with the end of what it said.
    pub async fn exec_from(
        &self,
        container: &str,
        argv: &[String],
        from: impl Read + Send + 'static,
    ) -> Result<()> {
        let (id, output, input) = self.exec_begin(container, argv, true).await?;
        let mut said = String::new();
        let hear = |piece: bytes::Bytes| keep_tail(&mut said, &piece);
        let fed = converse((output, input), from, self, container, hear).await?;
        self.exec_ended(&id, argv, &said).await?;
        fed.map_err(|error| failed(argv, format!("it did not take all of its input: {error}")))
    }

    /// A container of `service` in `project` that runs.
    pub async fn running_container(&self, project: &str, service: &str) -> Result<Option<String>> {
        let containers = self.containers(project).await?;
        let mut running = containers
            .into_iter()
            .filter(|one| one.service == service && one.state == State::Running && !one.one_off);
        Ok(running.next().map(|one| one.id))
    }

    async fn exec_begin(
        &self,
        container: &str,
        argv: &[String],
        input: bool,
    ) -> Result<(String, Output, Input)> {
        let fault = |error| self.fault(container, error);
        let options = CreateExecOptions {
            cmd: Some(argv.to_vec()),
            attach_stdin: Some(input),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let docker = self.patient(UNLIMITED);
        let exec = docker.create_exec(container, options).await.map_err(fault)?;
        match docker.start_exec(&exec.id, None::<StartExecOptions>).await.map_err(fault)? {
            StartExecResults::Attached { output, input } => Ok((exec.id, output, input)),
            StartExecResults::Detached => Err(failed(argv, "the engine let go of it".into())),
        }
    }

    async fn exec_ended(&self, id: &str, argv: &[String], said: &str) -> Result<()> {
        let ended = self.docker.inspect_exec(id).await.map_err(|error| self.fault(&argv.join(" "), error))?;
        let cause = match ended.exit_code {
            Some(0) => return Ok(()),
            Some(code) => format!("it exited with {code}: {}", said.trim()),
            None => format!("it was cut off: {}", said.trim()),
        };
        Err(failed(argv, cause))
    }
}

fn failed(argv: &[String], cause: String) -> Fault {
    Fault::new(Code::HookFailed, argv.join(" "), cause)
}

fn keep_tail(said: &mut String, more: &[u8]) {
    said.push_str(&String::from_utf8_lossy(more));
    *said = tail_of(said, OUTPUT_BYTES).to_owned();
}
