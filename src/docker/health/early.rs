//! Asking a container's own healthcheck before the engine does.

use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::InspectContainerOptions;
use futures_util::StreamExt;

use crate::docker::Engine;

/// Between two tries; half as long again each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// Returns when the healthcheck's command exits 0 in the container, and never otherwise: this is a
    /// shortcut beside the engine's own verdict, so whatever goes wrong here is left to that.
    pub(super) async fn passes_own_check(&self, container: &str) {
        if let Some(command) = self.own_check(container).await {
            let mut pause = FIRST_PAUSE;
            loop {
                if self.exec_passes(container, &command).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            }
        }
        std::future::pending().await
    }

    async fn own_check(&self, container: &str) -> Option<Vec<String>> {
        let found = self.docker.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let config = found.config?;
        command(&config.healthcheck?.test?, config.shell.as_deref().unwrap_or_default())
    }

    async fn exec_passes(&self, container: &str, command: &[String]) -> bool {
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let Ok(exec) = self.docker.create_exec(container, options).await else { return false };
        match self.docker.start_exec(&exec.id, None).await {
            Ok(StartExecResults::Attached { mut output, .. }) => while output.next().await.is_some() {},
            Ok(StartExecResults::Detached) => {}
            Err(_) => return false,
        }
        self.docker.inspect_exec(&exec.id).await.is_ok_and(|ended| ended.exit_code == Some(0))
    }
}

/// The argv of a healthcheck as the engine would run it; none where there is no check.
fn command(test: &[String], shell: &[String]) -> Option<Vec<String>> {
    match test.split_first()? {
        (kind, argv) if kind == "CMD" && !argv.is_empty() => Some(argv.to_vec()),
        (kind, [line]) if kind == "CMD-SHELL" => {
            let default = ["/bin/sh".to_owned(), "-c".to_owned()];
            let shell = if shell.is_empty() { &default[..] } else { shell };
            Some(shell.iter().cloned().chain([line.clone()]).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_run_as_the_engine_runs_it() {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        assert_eq!(command(&list(&["CMD", "a", "b c"]), &[]), Some(list(&["a", "b c"])));
        assert_eq!(command(&list(&["CMD-SHELL", "a | b"]), &[]), Some(list(&["/bin/sh", "-c", "a | b"])));
        let bash = list(&["/bin/bash", "-lc"]);
        assert_eq!(command(&list(&["CMD-SHELL", "x"]), &bash), Some(list(&["/bin/bash", "-lc", "x"])));
        for none in [list(&[]), list(&["NONE"]), list(&["CMD"])] {
            assert_eq!(command(&none, &[]), None);
        }
    }
}
