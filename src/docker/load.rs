//! Loading images, and believing it only when the image is there and a container can be made of it.

use std::io::Read;

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ImportImageOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::StreamExt;

use super::Engine;
use super::bridge::stream_of;
use super::engine::UNLIMITED;
use crate::fault::{Code, Fault, Result};
use crate::release::info::ImageInfo;

/// The label of the containers that prove images, so that a leftover can be told.
const PROOF_LABEL: &str = "compose-upgrade.proof";

impl Engine {
    /// Streams an archive (`docker save` format or OCI layout) into the engine; `moved` hears the bytes of each
    /// piece that went over. Afterwards every image of `expected` is there and proven, else it is an error.
    pub async fn load_images(
        &self,
        archive: impl Read + Send + 'static,
        expected: &[ImageInfo],
        moved: impl FnMut(u64) + Send + 'static,
    ) -> Result<()> {
        let names: Vec<&str> = expected.iter().map(|image| image.reference.as_str()).collect();
        self.stream_archive(&names.join(", "), archive, moved).await?;
        for image in expected {
            // The containerd store answers success to a corrupt archive; only what is there counts.
            let Some(id) = self.find_image(image).await? else {
                let detail = format!("the engine took the archive but has no image {}", image.id);
                return Err(Fault::new(Code::ImageWrong, &image.reference, detail));
            };
            self.prove_image(&image.reference, &id).await?;
        }
        Ok(())
    }

    /// Proves that a container can be created from the image (and removes that container again).
    pub async fn prove_image(&self, reference: &str, engine_id: &str) -> Result<()> {
        let wrong = |error| self.fault_as(Code::ImageWrong, reference, error);
        let name = format!("compose-upgrade-proof-{}", uuid::Uuid::now_v7().simple());
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = ContainerCreateBody {
            image: Some(engine_id.to_owned()),
            // Images without a command cannot be created without one; it is never run.
            cmd: Some(vec!["proof".to_owned()]),
            labels: Some([(PROOF_LABEL.to_owned(), reference.to_owned())].into()),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        let created = self.docker.create_container(Some(options), body).await.map_err(wrong)?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        self.docker.remove_container(&created.id, Some(options)).await.map_err(wrong)
    }

    async fn stream_archive(
        &self,
        name: &str,
        archive: impl Read + Send + 'static,
        moved: impl FnMut(u64) + Send + 'static,
    ) -> Result<()> {
        let failed = |error| self.fault_as(Code::ImageLoadFailed, name, error);
        let (pieces, feed) = stream_of(archive, moved);
        let options = ImportImageOptionsBuilder::default().quiet(false).build();
        let docker = self.patient(UNLIMITED);
        let answers = docker.import_image(options, bollard::body_try_stream(pieces), None);
        let mut answers = std::pin::pin!(answers);
        let listen = async {
            while let Some(answer) = answers.next().await {
                // An error line in a stream that began with 200 OK arrives here as an error, too.
                answer?;
                feed.beat();
            }
            Ok(())
        };
        let result = feed.watch(listen).await.unwrap_or(Err(Error::RequestTimeoutError));
        match feed.broken(Code::ImageLoadFailed, name) {
            Some(fault) => Err(fault),
            None => result.map_err(failed),
        }
    }
}
