//! Volumes, and files in and out of containers.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use bollard::errors::Error;
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, RemoveVolumeOptions, UploadToContainerOptionsBuilder,
};

use super::bridge::stream_of;
use super::engine::UNLIMITED;
use super::failure::unless_absent;
use super::{Engine, StreamReader};
use crate::fault::{Code, Result};

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Where it is on the host.
    pub mountpoint: PathBuf,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is a plain folder on the engine's disk (local driver without options).
    pub local_plain: bool,
}

impl Engine {
    /// A volume; `None` where there is none of that name.
    pub async fn volume(&self, name: &str) -> Result<Option<Volume>> {
        let found = unless_absent(self.docker.inspect_volume(name).await);
        let volume = |volume: bollard::models::Volume| Volume {
            local_plain: volume.driver == "local" && volume.options.is_empty(),
            name: volume.name,
            driver: volume.driver,
            mountpoint: volume.mountpoint.into(),
            labels: volume.labels.into_iter().collect(),
        };
        Ok(found.map_err(|error| self.fault(name, error))?.map(volume))
    }

    /// Removes a volume with its data; one that is gone is fine.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        let removed = unless_absent(self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await);
        removed.map(|_| ()).map_err(|error| self.fault(name, error))
    }

    /// What is at `path` in a container (running or not), as tar, for blocking code.
    pub async fn archive(&self, container: &str, path: &str) -> Result<StreamReader> {
        let options = DownloadFromContainerOptionsBuilder::default().path(path).build();
        let stream = Box::pin(self.docker.download_from_container(container, Some(options)));
        StreamReader::primed(stream).await.map_err(|error| self.fault(&place(container, path), error))
    }

    /// Unpacks a tar stream into the folder `path` of a container (running or not); owners and modes are those
    /// of the archive.
    pub async fn put_archive(
        &self,
        container: &str,
        path: &str,
        tar: impl Read + Send + 'static,
    ) -> Result<()> {
        let (pieces, feed) = stream_of(tar, |_| ());
        let options = UploadToContainerOptionsBuilder::default().path(path).build();
        let docker = self.patient(UNLIMITED);
        let request = docker.upload_to_container(container, Some(options), bollard::body_try_stream(pieces));
        let result = feed.watch(request).await.unwrap_or(Err(Error::RequestTimeoutError));
        match feed.broken(Code::EngineFailed, &place(container, path)) {
            Some(fault) => Err(fault),
            None => result.map_err(|error| self.fault(&place(container, path), error)),
        }
    }
}

fn place(container: &str, path: &str) -> String {
    format!("{container}:{path}")
}
