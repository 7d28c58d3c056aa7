//! The containers of a project and what can be done to them. Every act may be repeated without harm.

mod acts;
mod read;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt};

pub(super) use self::acts::tail_of;
pub(super) use self::read::{CONFIG_HASH, health, run_state};
use super::Engine;
use super::failure::unless_absent;
use crate::fault::Result;

/// Inspections under way at once.
const PARALLEL: usize = 8;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the engine's own names
pub enum State {
    #[default]
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

/// What a container's healthcheck says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It has no healthcheck.
    #[default]
    None,
    /// Not answered yet.
    Starting,
    /// Answers well.
    Healthy,
    /// Answers badly.
    Unhealthy,
}

/// The kind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// A host path.
    Bind,
    /// A volume.
    Volume,
    /// Anything else.
    Other,
}

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its kind.
    pub kind: MountKind,
    /// The volume's name.
    pub name: Option<String>,
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub destination: String,
    /// Whether the container may write to it.
    pub writable: bool,
}

/// A container of a Compose project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The engine's ID.
    pub id: String,
    /// Its name, without a leading slash.
    pub name: String,
    /// The service it belongs to.
    pub service: String,
    /// Its number within the service.
    pub number: u32,
    /// Made by `docker compose run`.
    pub one_off: bool,
    /// The engine's ID of the image it was created from.
    pub image_id: String,
    /// The hash of the service definition it was created from.
    pub config_hash: String,
    /// The project directory it was created in.
    pub working_dir: Option<PathBuf>,
    /// The Compose files it was created from.
    pub config_files: Vec<PathBuf>,
    /// What it is doing.
    pub state: State,
    /// What its healthcheck says.
    pub health: Health,
    /// The exit code of its last run.
    pub exit_code: i64,
    /// The kernel ended it for want of memory.
    pub oom_killed: bool,
    /// How often the engine restarted it.
    pub restart_count: i64,
    /// When the engine starts it by itself (`no`, `always`, `unless-stopped`, `on-failure`); empty where unknown.
    pub restart_policy: String,
    /// When it was started last; the engine's text.
    pub started_at: String,
    /// When it ended last; the engine's text.
    pub finished_at: String,
    /// When it was created; the engine's text.
    pub created_at: String,
    /// All its labels.
    pub labels: BTreeMap<String, String>,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

impl Container {
    /// Whether its processes are there (a paused one's are).
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Paused | State::Restarting)
    }

    /// Whether it mounts the volume called `name`.
    pub fn mounts_volume(&self, name: &str) -> bool {
        self.mounts.iter().any(|mount| mount.kind == MountKind::Volume && mount.name.as_deref() == Some(name))
    }

    /// The paths of the host it mounts.
    pub fn host_paths(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter(|mount| mount.kind == MountKind::Bind).map(|mount| mount.source.as_str())
    }
}

impl State {
    /// The engine's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

impl Health {
    /// The engine's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Engine {
    /// All containers of a project, running or not, ordered by service and number.
    pub async fn containers(&self, project: &str) -> Result<Vec<Container>> {
        let filters = HashMap::from([("label", vec![format!("{}={project}", read::PROJECT)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let list =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.fault(project, error))?;
        let ids = list.into_iter().filter_map(|summary| summary.id);
        // One that is gone by the time it is looked at is not there.
        let found = futures_util::stream::iter(ids)
            .map(|id| async move { self.container(&id).await })
            .buffer_unordered(PARALLEL);
        let mut containers: Vec<Container> =
            found.try_filter_map(|one| async { Ok(one) }).try_collect().await?;
        containers.sort_by(|a, b| {
            (&a.service, a.number, &a.created_at).cmp(&(&b.service, b.number, &b.created_at))
        });
        Ok(containers)
    }

    /// One container, by ID or name; `None` where it is gone.
    pub async fn container(&self, id: &str) -> Result<Option<Container>> {
        let found = unless_absent(self.docker.inspect_container(id, None::<InspectContainerOptions>).await);
        Ok(found.map_err(|error| self.fault(id, error))?.map(read::container))
    }

    /// What to call a container in a message: its service, else its name.
    pub(super) async fn name_of(&self, id: &str) -> String {
        match self.container(id).await {
            Ok(Some(container)) if !container.service.is_empty() => container.service,
            Ok(Some(container)) => container.name,
            // This only words another error; the ID will do.
            _ => id.to_owned(),
        }
    }
}
