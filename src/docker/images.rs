//! Images in the engine: found by identity, never by tag alone.

use bollard::models::ImageInspect;
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};

use super::failure::{status, unless_absent};
use super::{Engine, StreamReader};
use crate::fault::{Code, Fault, Result};
use crate::release::info::ImageInfo;

/// What the engine tells of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// The engine's own ID: the config digest, in the containerd store the manifest digest.
    pub id: String,
    /// `linux` …
    pub os: String,
    /// OCI architecture.
    pub arch: String,
    /// Paths the image declares as anonymous volumes.
    pub volumes: Vec<String>,
    /// Whether the image has a healthcheck of its own.
    pub healthcheck: bool,
    /// The digests of its uncompressed layers, base first.
    pub layers: Vec<String>,
    /// Names it has.
    pub tags: Vec<String>,
    /// Bytes.
    pub size: u64,
}

impl Engine {
    /// The engine's own ID of `image`, if it is there by config digest or (containerd store) manifest digest.
    pub async fn find_image(&self, image: &ImageInfo) -> Result<Option<String>> {
        for identity in [image.id.to_string(), image.digest.to_string()] {
            if let Some(found) = self.image_id(&identity).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The ID this engine gives to `image`.
    pub fn planned_id(&self, image: &ImageInfo) -> String {
        if self.containerd_store() { image.digest.to_string() } else { image.id.to_string() }
    }

    /// The engine's own ID of what a reference (or ID) names now.
    pub async fn image_id(&self, reference: &str) -> Result<Option<String>> {
        Ok(self.inspect_image(reference).await?.and_then(|image| image.id))
    }

    /// Whether the engine's ID `engine_id` is that of `image`.
    pub fn is_image(image: &ImageInfo, engine_id: &str) -> bool {
        engine_id == image.id.to_string() || engine_id == image.digest.to_string()
    }

    /// What the engine knows of a reference or ID; [`Code::ImageMissing`] where it is not there.
    pub async fn image_facts(&self, reference: &str) -> Result<ImageFacts> {
        let image = self
            .inspect_image(reference)
            .await?
            .ok_or_else(|| Fault::new(Code::ImageMissing, reference, "the engine has none of that name"))?;
        Ok(facts(image))
    }

    /// The layer chains (diff-IDs, base first) of all images in the engine, with the image's ID.
    pub async fn layer_chains(&self) -> Result<Vec<(String, Vec<String>)>> {
        let options = ListImagesOptionsBuilder::default().all(false).build();
        let images =
            self.docker.list_images(Some(options)).await.map_err(|error| self.fault("images", error))?;
        let mut chains = Vec::with_capacity(images.len());
        for image in images {
            // One that vanished meanwhile has nothing to offer.
            if let Some(found) = self.inspect_image(&image.id).await? {
                chains.push((image.id, facts(found).layers));
            }
        }
        Ok(chains)
    }

    /// Gives the image `id` the name `reference`, taking it from whatever image had it.
    pub async fn tag_image(&self, id: &str, reference: &str) -> Result<()> {
        let (repo, tag) = split_reference(reference);
        let options = TagImageOptionsBuilder::default().repo(repo).tag(tag).build();
        self.docker.tag_image(id, Some(options)).await.map_err(|error| {
            let code = if status(&error) == Some(404) { Code::ImageMissing } else { Code::EngineFailed };
            self.fault_as(code, reference, error)
        })
    }

    /// Removes the name `reference`; without it being there that is fine. Content goes with the last name only
    /// when no container needs it, which the engine itself refuses.
    pub async fn untag_image(&self, reference: &str) -> Result<()> {
        self.delete_image(reference).await.map(|_| ())
    }

    /// Removes an image with all its names; `false` where a container still uses it.
    pub async fn remove_image(&self, id: &str) -> Result<bool> {
        let Some(image) = self.inspect_image(id).await? else { return Ok(true) };
        // Asked first, because the names go one by one and the engine refuses only the last.
        if self.is_image_used(image.id.as_deref().unwrap_or(id)).await? {
            return Ok(false);
        }
        for tag in image.repo_tags.unwrap_or_default() {
            if !self.delete_image(&tag).await? {
                return Ok(false);
            }
        }
        self.delete_image(id).await
    }

    /// The images as `docker save` writes them, as a reader for blocking code.
    pub async fn save_images(&self, references: &[String]) -> Result<StreamReader> {
        for reference in references {
            if self.inspect_image(reference).await?.is_none() {
                return Err(Fault::new(Code::ImageMissing, reference, "the engine has none of that name"));
            }
        }
        let (docker, names) = (self.patient(LONG_SAVE), references.to_vec());
        // The engine prepares the whole answer before it begins it; the request needs the longer patience.
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let stream = Box::pin(docker.export_images(&names));
        StreamReader::primed(stream)
            .await
            .map_err(|error| self.fault_as(Code::EngineFailed, &references.join(", "), error))
    }

    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        match self.docker.inspect_image(reference).await {
            // The containerd store shows an image whose blobs are not all there without its layers; no container
            // can be made from it, and another load completes it.
            Err(bollard::errors::Error::JsonDataError { .. }) => Ok(None),
            found => unless_absent(found).map_err(|error| self.fault(reference, error)),
        }
    }

    /// Whether any container, running or not, was created from exactly this image.
    async fn is_image_used(&self, id: &str) -> Result<bool> {
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.fault(id, error))?;
        Ok(containers.iter().any(|container| container.image_id.as_deref() == Some(id)))
    }

    /// `false` where something still uses it; one that is gone is fine.
    async fn delete_image(&self, reference: &str) -> Result<bool> {
        let options = RemoveImageOptionsBuilder::default().force(false).noprune(false).build();
        match self.docker.remove_image(reference, Some(options), None).await {
            Ok(_) => Ok(true),
            Err(error) if status(&error) == Some(404) => Ok(true),
            Err(error) if status(&error) == Some(409) => Ok(false),
            Err(error) => Err(self.fault(reference, error)),
        }
    }
}

/// What the engine may need in addition to prepare a large archive.
const LONG_SAVE: std::time::Duration = std::time::Duration::from_secs(3600);

fn facts(image: ImageInspect) -> ImageFacts {
    let config = image.config.unwrap_or_default();
    let test = config.healthcheck.and_then(|check| check.test).unwrap_or_default();
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.sort_unstable();
    ImageFacts {
        id: image.id.unwrap_or_default(),
        os: image.os.unwrap_or_default(),
        arch: image.architecture.unwrap_or_default(),
        volumes,
        healthcheck: test.first().is_some_and(|kind| kind != "NONE"),
        layers: image.root_fs.and_then(|root| root.layers).unwrap_or_default(),
        tags: image.repo_tags.unwrap_or_default(),
        size: image.size.unwrap_or_default().try_into().unwrap_or_default(),
    }
}

/// Repository and tag; a colon before a slash belongs to a registry's port. Without a tag, `latest`.
fn split_reference(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repo, tag)) if !tag.contains('/') => (repo, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_split_at_the_tag() {
        for (reference, parts) in [
            ("web", ("web", "latest")),
            ("web:1.0", ("web", "1.0")),
            ("registry:5000/team/web", ("registry:5000/team/web", "latest")),
            ("registry:5000/team/web:1", ("registry:5000/team/web", "1")),
        ] {
            assert_eq!(split_reference(reference), parts);
        }
    }
}
