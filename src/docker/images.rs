//! Images: found by what they are, loaded from a stream, and believed only after a check.

use std::io::Read;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, ImportImageOptionsBuilder, RemoveContainerOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;

use super::bridge;
use super::engine::{Engine, failed, status};
use crate::fault::{Code, Fault, Result};
use crate::release::info::ImageInfo;

impl Engine {
    /// The engine's ID of the image a reference or ID names, if there is one.
    pub async fn id_of(&self, reference: &str) -> Result<Option<String>> {
        match self.docker.inspect_image(reference).await {
            Ok(image) => Ok(image.id),
            Err(error) if status(&error) == Some(404) => Ok(None),
            // The containerd store shows an image whose blobs are not all there without its layers; no container
            // can be made from it, and another load completes it.
            Err(bollard::errors::Error::JsonDataError { .. }) => Ok(None),
            Err(error) => Err(failed(reference, error)),
        }
    }

    /// The engine's ID of `image`, by content: its config digest on the overlay2 store, its manifest digest on
    /// the containerd store.
    pub async fn find(&self, image: &ImageInfo) -> Result<Option<String>> {
        self.id_of(&self.planned_id(image)).await
    }

    /// The ID this engine gives to `image`.
    pub fn planned_id(&self, image: &ImageInfo) -> String {
        if self.containerd_store() { image.digest.to_string() } else { image.id.to_string() }
    }

    /// The paths of an image at which the engine would make anonymous volumes.
    pub async fn image_volumes(&self, id: &str) -> Result<Vec<String>> {
        let image = self.docker.inspect_image(id).await.map_err(|error| failed(id, error))?;
        Ok(image.config.and_then(|config| config.volumes).unwrap_or_default())
    }

    /// Gives the image `id` the name `reference`, taking it from whatever had it.
    pub async fn tag(&self, id: &str, reference: &str) -> Result<()> {
        let (name, tag) = split(reference);
        let options = TagImageOptionsBuilder::default().repo(name).tag(tag).build();
        self.docker.tag_image(id, Some(options)).await.map_err(|error| failed(reference, error))
    }

    /// Takes the name `reference` away; an image without another name or a container goes with it.
    pub async fn untag(&self, reference: &str) -> Result<()> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Ok(_) => Ok(()),
            // 404: the name is gone already. 409: a container still uses the image under its only name.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(failed(reference, error)),
        }
    }

    /// Loads the images in `archive` (the format of `docker load`), of which `expected` must be there after.
    /// `seen` is told the bytes sent. The engine may call a corrupt load a success, so its word is not taken.
    pub async fn load(
        &self,
        archive: impl Read + Send + 'static,
        expected: &[ImageInfo],
        seen: impl FnMut(u64) + Send + 'static,
    ) -> Result<()> {
        let names = || expected.iter().map(|image| image.reference.as_str()).collect::<Vec<_>>().join(", ");
        let (broken, mut cause) = tokio::sync::mpsc::unbounded_channel();
        let body = bridge::stream_of(archive, seen).inspect(move |item| {
            if let Err(error) = item {
                // The engine only sees a body that was cut off; the reason is ours. Who no longer listens has
                // given the load up.
                let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
                let again = fault.map(|fault| Fault::new(fault.code(), fault.object(), fault.detail()));
                let _ = broken.send(again.ok_or_else(|| error.to_string()));
            }
        });
        let options = ImportImageOptionsBuilder::default().build();
        let mut lines = Box::pin(self.docker.import_image(options, bollard::body_try_stream(body), None));
        let mut complaint = None;
        while let Some(line) = lines.next().await {
            match line {
                Ok(info) => complaint = complaint.or(info.error_detail.and_then(|detail| detail.message)),
                Err(error) => complaint = Some(error.to_string()),
            }
        }
        if let Some(engine_s) = complaint {
            return Err(match cause.try_recv() {
                Ok(Ok(ours)) => ours,
                Ok(Err(ours)) => Fault::new(Code::ImageLoadFailed, names(), ours),
                Err(_) => Fault::new(Code::ImageLoadFailed, names(), engine_s),
            });
        }
        for image in expected {
            if self.find(image).await?.is_none() {
                let cause = format!("the engine took it, but has no image {} after", image.id);
                return Err(Fault::new(Code::ImageWrong, &image.reference, cause));
            }
        }
        Ok(())
    }

    /// Makes sure that a container can be created from the image: creates one and removes it.
    pub async fn prove(&self, id: &str) -> Result<()> {
        let name = format!("compose-upgrade-proof-{}", uuid::Uuid::now_v7().simple());
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = ContainerCreateBody {
            image: Some(id.to_owned()),
            cmd: Some(vec!["true".into()]),
            network_disabled: Some(true),
            ..ContainerCreateBody::default()
        };
        let made = self.docker.create_container(Some(options), body).await;
        let made = made.map_err(|error| Fault::from_error(Code::ImageWrong, id, error))?;
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        self.docker.remove_container(&made.id, Some(options)).await.map_err(|error| failed(&name, error))
    }

    /// A `docker save` stream of the images `references` name; to be read off the async runtime.
    pub async fn save(&self, references: &[String]) -> Result<impl Read + Send + 'static> {
        for reference in references {
            if self.id_of(reference).await?.is_none() {
                return Err(Fault::new(Code::ImageMissing, reference, "it is to be packed"));
            }
        }
        let engine = self.docker.clone();
        let references = references.to_vec();
        let (sender, receiver) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            let names: Vec<&str> = references.iter().map(String::as_str).collect();
            let mut stream = Box::pin(engine.export_images(&names));
            while let Some(item) = stream.next().await {
                if sender.send(item).await.is_err() {
                    return;
                }
            }
        });
        let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        Ok(bridge::reader_of(stream))
    }
}

/// A reference without digest, as name and tag.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_split_at_the_tag_not_at_the_port() {
        for (reference, expected) in [
            ("web", ("web", "latest")),
            ("web:1", ("web", "1")),
            ("host:5000/web", ("host:5000/web", "latest")),
            ("host:5000/web:2", ("host:5000/web", "2")),
        ] {
            assert_eq!(split(reference), expected);
        }
    }
}
