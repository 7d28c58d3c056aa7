//! The volumes and networks Compose made for a project.

use std::collections::HashMap;

use bollard::query_parameters::{ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};

use super::Engine;
use super::failure::unless_absent;
use crate::fault::Result;

impl Engine {
    /// The names of the volumes of `project`.
    pub async fn project_volumes(&self, project: &str) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::default().filters(&of_project(project)).build();
        let list =
            self.docker.list_volumes(Some(options)).await.map_err(|error| self.fault(project, error))?;
        Ok(list.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// The names of the networks of `project`.
    pub async fn project_networks(&self, project: &str) -> Result<Vec<String>> {
        let options = ListNetworksOptionsBuilder::default().filters(&of_project(project)).build();
        let list =
            self.docker.list_networks(Some(options)).await.map_err(|error| self.fault(project, error))?;
        Ok(list.into_iter().filter_map(|network| network.name).collect())
    }

    /// Removes a network nothing is attached to; one that is gone is fine.
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        let removed = unless_absent(self.docker.remove_network(name).await);
        removed.map(|_| ()).map_err(|error| self.fault(name, error))
    }
}

fn of_project(project: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("com.docker.compose.project={project}")])])
}
