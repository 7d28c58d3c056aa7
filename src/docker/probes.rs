//! Checks from outside that a release declares.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::Engine;
use super::containers::tail_of;
use crate::fault::{Code, Fault, Result};
use crate::release::info::Probe;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest output of a command in a message.
const OUTPUT_BYTES: usize = 1000;

/// What a probe asks, read once so that the attempts cannot disagree.
enum Question<'a> {
    Http { url: &'a str, status: Option<u16> },
    Tcp { address: &'a str },
    Command { argv: &'a [String], service: &'a str },
}

/// Why an attempt did not pass.
enum Answer {
    /// What was asked says no.
    Wrong(String),
    /// The engine could not ask.
    None(Fault),
}

impl Engine {
    /// Runs a probe until it passes or its time is up. A command runs in a running container of its service in
    /// `project`.
    pub async fn probe(&self, project: &str, probe: &Probe) -> Result<()> {
        let failed = |cause: String| Fault::new(Code::ProbeFailed, &probe.name, cause);
        let question = question(probe).map_err(|cause| failed(cause.to_owned()))?;
        let deadline = Instant::now() + Duration::from_millis(probe.timeout_ms);
        let mut last = Answer::Wrong("it did not answer".to_owned());
        loop {
            match timeout_at(deadline, self.ask(project, &question)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(answer)) => last = answer,
                // An attempt cut short says less than the one before it.
                Err(_) => {}
            }
            if Instant::now() + PAUSE >= deadline {
                return Err(match last {
                    Answer::Wrong(cause) => failed(format!("{cause} (tried for {} ms)", probe.timeout_ms)),
                    Answer::None(fault) => fault,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, project: &str, question: &Question<'_>) -> Result<(), Answer> {
        match question {
            Question::Http { url, status } => http(url, *status).await.map_err(Answer::Wrong),
            Question::Tcp { address } => match tokio::net::TcpStream::connect(address).await {
                Ok(_) => Ok(()),
                Err(error) => Err(Answer::Wrong(format!("{address}: {error}"))),
            },
            Question::Command { argv, service } => self.command(project, service, argv).await,
        }
    }

    async fn command(&self, project: &str, service: &str, argv: &[String]) -> Result<(), Answer> {
        let text = |error: bollard::errors::Error| Answer::None(self.fault(service, error));
        let container = self.running_container(project, service).await.map_err(Answer::None)?;
        let container = container.ok_or_else(|| Answer::Wrong(format!("service {service} does not run")))?;
        let options = CreateExecOptions {
            cmd: Some(argv.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let exec = self.docker.create_exec(&container, options).await.map_err(text)?;
        let mut output = String::new();
        if let StartExecResults::Attached { output: mut stream, .. } =
            self.docker.start_exec(&exec.id, None).await.map_err(text)?
        {
            while let Some(piece) = stream.next().await {
                output.push_str(&String::from_utf8_lossy(&piece.map_err(text)?.into_bytes()));
                output = tail_of(&output, OUTPUT_BYTES).to_owned();
            }
        }
        let ended = self.docker.inspect_exec(&exec.id).await.map_err(text)?;
        match ended.exit_code {
            Some(0) => Ok(()),
            Some(code) => {
                Err(Answer::Wrong(format!("{} exited with {code}: {}", argv.join(" "), output.trim())))
            }
            None => Err(Answer::Wrong(format!("{} did not end", argv.join(" ")))),
        }
    }
}

fn question(probe: &Probe) -> Result<Question<'_>, &'static str> {
    match (&probe.http, &probe.tcp, &probe.command) {
        (Some(url), None, None) => Ok(Question::Http { url, status: probe.expect_status }),
        (None, Some(address), None) => Ok(Question::Tcp { address }),
        (None, None, Some(argv)) if !argv.is_empty() => {
            let service = probe.service.as_deref().ok_or("a command needs a service to run in")?;
            Ok(Question::Command { argv, service })
        }
        _ => Err("exactly one of http, tcp and command must be given"),
    }
}

async fn http(url: &str, expected: Option<u16>) -> Result<(), String> {
    // A stack is probed where it runs; a proxy for the outer world has no part in that. A redirect is an answer
    // of its own when one is expected.
    let redirects = expected.is_some_and(|status| (300..400).contains(&status));
    let policy = if redirects { reqwest::redirect::Policy::none() } else { Default::default() };
    let client = reqwest::Client::builder().no_proxy().redirect(policy).build();
    let client = client.map_err(|error| error.to_string())?;
    let response = client.get(url).send().await.map_err(|error| words(&error))?;
    let status = response.status();
    let good = expected.map_or(status.is_success(), |expected| status.as_u16() == expected);
    if good { Ok(()) } else { Err(format!("{url} answered {status}")) }
}

/// reqwest's own text stops before the cause.
fn words(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_asks_exactly_one_question() {
        for (json, good) in [
            (r#"{"name":"x","http":"http://127.0.0.1/"}"#, true),
            (r#"{"name":"x","tcp":"127.0.0.1:1"}"#, true),
            (r#"{"name":"x","command":["true"],"service":"web"}"#, true),
            (r#"{"name":"x","command":["true"]}"#, false),
            (r#"{"name":"x","command":[],"service":"web"}"#, false),
            (r#"{"name":"x","http":"http://127.0.0.1/","tcp":"127.0.0.1:1"}"#, false),
            (r#"{"name":"x"}"#, false),
        ] {
            let probe: Probe = serde_json::from_str(json).unwrap();
            assert_eq!(question(&probe).is_ok(), good, "{json}");
        }
    }
}
