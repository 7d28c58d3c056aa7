//! The containers of a Compose project, and what is done to them. Every operation may be repeated.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummary};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::engine::{Engine, failed, status};
use super::ports::{self, Published};
use crate::fault::{Code, Fault, Result};

const PROJECT: &str = "com.docker.compose.project";

/// A container of a Compose project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its ID.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// The Compose service.
    pub service: String,
    /// Its number within the service.
    pub number: u32,
    /// Made by `docker compose run`.
    pub oneoff: bool,
    /// The engine's ID of its image.
    pub image_id: String,
    /// Compose's hash of the configuration it was made from.
    pub config_hash: String,
    /// `created`, `running`, `paused`, `restarting`, `exited`, `dead`.
    pub state: String,
    /// `starting`, `healthy`, `unhealthy`; none without a healthcheck.
    pub health: Option<String>,
    /// The code it ended with, where it has ended.
    pub exit_code: Option<i64>,
    /// The named volumes it mounts.
    pub volumes: Vec<String>,
    /// The paths of the machine it mounts.
    pub host_paths: Vec<String>,
    /// The ports of the machine it holds or would hold.
    pub published: Vec<Published>,
    /// The folder of the Compose project it was made from.
    pub working_dir: String,
}

impl Container {
    /// Whether its processes are there (a paused one's are).
    pub fn is_running(&self) -> bool {
        matches!(self.state.as_str(), "running" | "paused" | "restarting")
    }
}

impl Engine {
    /// All containers of `project`, in whatever state, by service and number.
    pub async fn list(&self, project: &str) -> Result<Vec<Container>> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{PROJECT}={project}")])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let summaries = self.docker.list_containers(Some(options)).await.map_err(|e| failed(project, e))?;
        let mut containers = Vec::new();
        for summary in summaries {
            let Some(id) = summary.id.clone() else { continue };
            match self
                .docker
                .inspect_container(&id, None::<bollard::query_parameters::InspectContainerOptions>)
                .await
            {
                Ok(details) => containers.push(container(id, summary, details)),
                // Removed between the list and the look.
                Err(error) if status(&error) == Some(404) => {}
                Err(error) => return Err(failed(&id, error)),
            }
        }
        containers.sort_by(|a, b| (&a.service, a.number, &a.id).cmp(&(&b.service, b.number, &b.id)));
        Ok(containers)
    }

    /// Stops a container, killing it after `grace` (the container's own default where none).
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<()> {
        let mut options = StopContainerOptionsBuilder::default();
        if let Some(grace) = grace {
            options = options.t(grace.as_secs_f64().ceil() as i32);
        }
        // A frozen process cannot react to the signal and would only die at the end of the grace.
        self.unpause(id).await?;
        ended(id, self.docker.stop_container(id, Some(options.build())).await)
    }

    /// Starts a container. A port that somebody else holds has its own code.
    pub async fn start(&self, id: &str) -> Result<()> {
        let options = None::<bollard::query_parameters::StartContainerOptions>;
        match self.docker.start_container(id, options).await {
            Ok(()) => Ok(()),
            Err(error) if status(&error) == Some(304) => Ok(()),
            Err(error) => {
                let text = error.to_string();
                let taken =
                    text.contains("port is already allocated") || text.contains("address already in use");
                let code = if taken { Code::PortTaken } else { Code::ContainerFailed };
                Err(Fault::from_error(code, self.name_of(id).await, error))
            }
        }
    }

    /// Freezes a container's processes.
    pub async fn pause(&self, id: &str) -> Result<()> {
        match self.docker.pause_container(id).await {
            Err(error) if error.to_string().contains("already paused") => Ok(()),
            other => other.map_err(|error| failed(id, error)),
        }
    }

    /// Lets a container's processes go on.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        match self.docker.unpause_container(id).await {
            // Not paused, or gone.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) if error.to_string().contains("is not paused") => Ok(()),
            other => other.map_err(|error| failed(id, error)),
        }
    }

    /// Gives a container the name `name`.
    pub async fn rename(&self, id: &str, name: &str) -> Result<()> {
        if self.name_of(id).await == name {
            return Ok(());
        }
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.docker.rename_container(id, options).await.map_err(|error| failed(name, error))
    }

    /// Removes a stopped container; its volumes stay.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Err(error) if error.to_string().contains("is already in progress") => Ok(()),
            other => ended(id, other),
        }
    }

    /// The last lines a container wrote, for error messages; empty where there are none to be had.
    pub async fn last_lines(&self, id: &str, count: usize) -> String {
        let tail = count.to_string();
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&tail).build();
        let mut stream = Box::pin(self.docker.logs(id, Some(options)));
        let mut lines = Vec::new();
        while let Some(Ok(line)) = stream.next().await {
            lines.push(String::from_utf8_lossy(&line.into_bytes()).trim_end().to_owned());
        }
        lines.join("; ")
    }

    /// The container's name, or its ID where it cannot be asked.
    pub async fn name_of(&self, id: &str) -> String {
        let options = None::<bollard::query_parameters::InspectContainerOptions>;
        let name = self.docker.inspect_container(id, options).await.ok().and_then(|details| details.name);
        name.map_or_else(|| id.to_owned(), |name| name.trim_start_matches('/').to_owned())
    }
}

/// The result of ending something that may have ended or gone already.
fn ended(id: &str, result: std::result::Result<(), bollard::errors::Error>) -> Result<()> {
    match result {
        Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
        other => other.map_err(|error| failed(id, error)),
    }
}

fn container(id: String, summary: ContainerSummary, details: ContainerInspectResponse) -> Container {
    let labels = summary.labels.unwrap_or_default();
    let label = |name: &str| labels.get(&format!("com.docker.compose.{name}")).cloned().unwrap_or_default();
    let state = details.state.unwrap_or_default();
    let health = state.health.and_then(|health| health.status).map(|status| status.to_string());
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let mut volumes = Vec::new();
    let mut host_paths = Vec::new();
    for mount in details.mounts.unwrap_or_default() {
        match (mount.name, mount.source) {
            (Some(name), _) if !name.is_empty() => volumes.push(name),
            (_, Some(source)) => host_paths.push(source),
            _ => {}
        }
    }
    Container {
        name: details.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        service: label("service"),
        number: label("container-number").parse().unwrap_or(0),
        oneoff: label("oneoff") == "True",
        image_id: details.image.unwrap_or_default(),
        config_hash: label("config-hash"),
        exit_code: matches!(status.as_str(), "exited" | "dead").then_some(state.exit_code).flatten(),
        state: status,
        health: health.filter(|health| !health.is_empty() && health != "none"),
        volumes,
        host_paths,
        published: details.host_config.map(|host| ports::of_container(&host)).unwrap_or_default(),
        working_dir: label("project.working_dir"),
        id,
    }
}
