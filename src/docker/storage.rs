//! Volumes and networks of a project, and data through the engine's archive API.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::bridge;
use super::engine::{Engine, failed, status};
use crate::fault::Result;

/// A volume of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its real name.
    pub name: String,
    /// Where its data is on the engine's machine, where it is a plain folder there.
    pub folder: Option<PathBuf>,
}

impl Engine {
    /// The volume called `name`, if there is one.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>> {
        match self.docker.inspect_volume(name).await {
            Ok(volume) => {
                // A local volume with options is a mount of something else (NFS, tmpfs, a device).
                let plain = volume.driver == "local" && volume.options.is_empty();
                let folder = PathBuf::from(&volume.mountpoint);
                let here = plain && self.is_local() && folder.read_dir().is_ok();
                Ok(Some(Volume { name: volume.name, folder: here.then_some(folder) }))
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed(name, error)),
        }
    }

    /// The names of the volumes Compose made for `project`.
    pub async fn volumes(&self, project: &str) -> Result<Vec<String>> {
        let options = ListVolumesOptionsBuilder::default().filters(&of_project(project)).build();
        let list = self.docker.list_volumes(Some(options)).await.map_err(|error| failed(project, error))?;
        Ok(list.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect())
    }

    /// The names of the networks Compose made for `project`.
    pub async fn networks(&self, project: &str) -> Result<Vec<String>> {
        let options = ListNetworksOptionsBuilder::default().filters(&of_project(project)).build();
        let list = self.docker.list_networks(Some(options)).await.map_err(|error| failed(project, error))?;
        Ok(list.into_iter().filter_map(|network| network.name).collect())
    }

    /// Removes a volume with its data.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let options = None::<bollard::query_parameters::RemoveVolumeOptions>;
        gone(name, self.docker.remove_volume(name, options).await)
    }

    /// Removes a network nothing is attached to.
    pub async fn remove_network(&self, name: &str) -> Result<()> {
        gone(name, self.docker.remove_network(name).await)
    }

    /// A tar stream of `path` in a container (running or not), below one top folder. The engine keeps owners,
    /// modes and links, and of extended attributes only capabilities.
    pub fn archive(&self, container: &str, path: &str) -> impl Read + Send + 'static {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let engine = self.docker.clone();
        let container = container.to_owned();
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            let mut stream = Box::pin(engine.download_from_container(&container, Some(options)));
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        bridge::reader_of(stream)
    }

    /// Unpacks a tar stream into `path` of a container (running or not).
    pub async fn put_archive(
        &self,
        container: &str,
        path: &str,
        tar: impl Read + Send + 'static,
    ) -> Result<()> {
        let options = UploadToContainerOptionsBuilder::default().path(path).build();
        let body = bollard::body_try_stream(bridge::stream_of(tar, |_| {}));
        let sent = self.docker.upload_to_container(container, Some(options), body).await;
        sent.map_err(|error| failed(container, error))
    }
}

fn of_project(project: &str) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), vec![format!("com.docker.compose.project={project}")])])
}

fn gone(name: &str, result: std::result::Result<(), bollard::errors::Error>) -> Result<()> {
    match result {
        Err(error) if status(&error) == Some(404) => Ok(()),
        other => other.map_err(|error| failed(name, error)),
    }
}
