//! The documents of an OCI image layout that also carries Docker's `manifest.json`.
//!
//! Both indexes are written because the overlay2 store reads one and the containerd store the other.
//! Everything here is deterministic: the same image gives the same bytes, hence the same digest.

use serde::Serialize;
use serde_json::{Value, json};

use super::Digest;
use super::info::LayerInfo;
use crate::fault::{Code, Fault, Result};

/// The content of `oci-layout`.
pub const OCI_LAYOUT: &str = r#"{"imageLayoutVersion": "1.0.0"}"#;
/// The media type of an image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// An image as the two indexes list it.
#[derive(Debug, Clone)]
pub struct ImageRow {
    /// The digest of the image manifest.
    pub manifest: Digest,
    /// Its length.
    pub manifest_size: u64,
    /// The digest of the config.
    pub config: Digest,
    /// The digests of the layers, base first.
    pub layers: Vec<Digest>,
    /// The names it is to be tagged with.
    pub tags: Vec<ImageName>,
}

/// Where a blob is in the layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The image manifest that names uncompressed layers.
pub fn image_manifest(config: &Digest, config_size: u64, layers: &[LayerInfo]) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor<'a> {
        media_type: &'a str,
        digest: &'a Digest,
        size: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest<'a> {
        schema_version: u32,
        media_type: &'a str,
        config: Descriptor<'a>,
        layers: Vec<Descriptor<'a>>,
    }
    fn layer(layer: &LayerInfo) -> Descriptor<'_> {
        Descriptor { media_type: LAYER_TYPE, digest: &layer.digest, size: layer.size }
    }
    let manifest = Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config: Descriptor { media_type: CONFIG_TYPE, digest: config, size: config_size },
        layers: layers.iter().map(layer).collect(),
    };
    serde_json::to_vec(&manifest).expect("an image manifest is always valid JSON")
}

/// `index.json`: one descriptor for each name, one without a name for an image without any.
pub fn index_json(rows: &[ImageRow]) -> Vec<u8> {
    let mut manifests: Vec<Value> = Vec::new();
    for row in rows {
        let descriptor =
            json!({"mediaType": MANIFEST_TYPE, "digest": row.manifest, "size": row.manifest_size});
        if row.tags.is_empty() {
            manifests.push(descriptor.clone());
        }
        for name in &row.tags {
            let mut named = descriptor.clone();
            named["annotations"] = json!({
                "io.containerd.image.name": name.full(),
                "org.opencontainers.image.ref.name": name.tag(),
            });
            manifests.push(named);
        }
    }
    json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}).to_string().into_bytes()
}

/// Docker's `manifest.json`.
pub fn docker_manifest(rows: &[ImageRow]) -> Vec<u8> {
    let row = |row: &ImageRow| {
        let tags: Vec<String> = row.tags.iter().map(ImageName::familiar).collect();
        let layers: Vec<String> = row.layers.iter().map(blob_path).collect();
        let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
        json!({"Config": blob_path(&row.config), "RepoTags": tags, "Layers": layers})
    };
    Value::Array(rows.iter().map(row).collect()).to_string().into_bytes()
}

/// An image's name with a tag: `nginx`, `nginx:latest` and `docker.io/library/nginx:latest` are one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    domain: String,
    path: String,
    tag: String,
}

impl ImageName {
    /// Reads a reference as Compose files have it; one with a digest cannot be packed under its name.
    pub fn parse(reference: &str) -> Result<Self> {
        let refused = |cause: &str| Err(Fault::new(Code::ImageReference, reference, cause));
        if reference.contains('@') {
            return refused("a reference with a digest cannot be tagged");
        }
        let (name, tag) = match reference.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (reference, "latest"),
        };
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
            _ => ("docker.io", name),
        };
        let domain = if domain == "index.docker.io" { "docker.io" } else { domain };
        let path = match domain {
            "docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if path.split('/').any(|part| part.is_empty() || !part.chars().all(lower)) {
            return refused("the name is not one of an image");
        }
        let word = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 128 || tag.starts_with(['.', '-']) || !tag.chars().all(word) {
            return refused("the tag is not valid");
        }
        Ok(Self { domain: domain.into(), path, tag: tag.into() })
    }

    /// `docker.io/library/nginx:latest`.
    pub fn full(&self) -> String {
        format!("{}/{}:{}", self.domain, self.path, self.tag)
    }

    /// `nginx:latest`: as the engine shows it.
    pub fn familiar(&self) -> String {
        let path = self.path.strip_prefix("library/").filter(|rest| !rest.contains('/'));
        match self.domain.as_str() {
            "docker.io" => format!("{}:{}", path.unwrap_or(&self.path), self.tag),
            domain => format!("{domain}/{}:{}", self.path, self.tag),
        }
    }

    /// `latest`.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_engine_reads_them() {
        for (text, full, familiar) in [
            ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
            ("nginx:1.2", "docker.io/library/nginx:1.2", "nginx:1.2"),
            ("a/b:c", "docker.io/a/b:c", "a/b:c"),
            ("docker.io/library/x:1", "docker.io/library/x:1", "x:1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("reg.example:5000/a/b", "reg.example:5000/a/b:latest", "reg.example:5000/a/b:latest"),
            ("reg.example:5000/b:2", "reg.example:5000/b:2", "reg.example:5000/b:2"),
        ] {
            let name = ImageName::parse(text).unwrap();
            assert_eq!((name.full().as_str(), name.familiar().as_str()), (full, familiar), "{text}");
        }
    }

    #[test]
    fn names_that_cannot_be_tags_are_refused() {
        let digest = format!("x@{}", Digest::of(b""));
        for text in ["", "x:", "X/y", "a//b", "a b", "x:-1", digest.as_str()] {
            assert_eq!(ImageName::parse(text).unwrap_err().code(), Code::ImageReference, "{text}");
        }
    }
}
