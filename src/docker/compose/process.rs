//! Running Compose: no shell, no terminal, no prompt, no redirection by the caller's environment.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::docker::engine::endpoint;
use crate::fault::{Code, Fault, Result};

/// What a finished command left.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) success: bool,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

/// `docker compose` or `docker-compose`.
#[derive(Debug, Clone)]
pub(super) struct Program {
    words: Vec<String>,
}

impl Program {
    pub(super) fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    /// What it says of its version, or why it cannot be asked.
    pub(super) async fn version(&self) -> Result<String, String> {
        let mut command = self.command();
        command.args(["version", "--short"]);
        let answer = tokio::time::timeout(Duration::from_secs(30), command.output());
        let output = match answer.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("it did not answer within 30 s".to_owned()),
        };
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(stderr.lines().next().unwrap_or("it failed without a word").to_owned());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Runs it in `dir` until it ends; on time-out it is killed.
    pub(super) async fn run(
        &self,
        object: &str,
        args: &[String],
        dir: &Path,
        timeout: Duration,
    ) -> Result<Finished> {
        let mut command = self.command();
        command.args(args).current_dir(dir);
        tracing::debug!(program = %self, ?args, "running");
        let output = match tokio::time::timeout(timeout, command.output()).await {
            Ok(output) => output.map_err(|error| Fault::from_error(Code::ComposeFailed, object, error))?,
            Err(_) => {
                let detail = format!("'{self}' did not end within {} s", timeout.as_secs());
                return Err(Fault::new(Code::ComposeFailed, object, detail));
            }
        };
        Ok(Finished {
            success: output.status.success(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("docker", String::as_str));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is for the agent to answer; it would otherwise reach Compose in the middle of an act.
        command.process_group(0).kill_on_drop(true);
        for (key, _) in std::env::vars_os().filter(|(key, _)| redirects(key)) {
            command.env_remove(key);
        }
        // Compose must talk to the very engine the API calls go to, whatever Docker context is selected.
        command.env("DOCKER_HOST", endpoint());
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// Whether a variable of the caller would make Compose work on something else, or otherwise than asked.
/// Profiles are the operator's choice of services and stay.
fn redirects(key: &OsStr) -> bool {
    let key = key.to_string_lossy();
    (key.starts_with("COMPOSE_") && key != "COMPOSE_PROFILES") || key == "DOCKER_CONTEXT"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_environment_does_not_redirect() {
        for (key, gone) in [
            ("COMPOSE_FILE", true),
            ("COMPOSE_PROJECT_NAME", true),
            ("COMPOSE_ENV_FILES", true),
            ("COMPOSE_REMOVE_ORPHANS", true),
            ("DOCKER_CONTEXT", true),
            ("COMPOSE_PROFILES", false),
            ("PATH", false),
            ("DOCKER_CONFIG", false),
        ] {
            assert_eq!(redirects(OsStr::new(key)), gone, "{key}");
        }
    }
}
