//! Packs a stack folder into a release, and puts releases into a folder a web server can serve.
//!
//! Nothing here talks to an engine: what Compose and the engine know comes through [`StackReader`] and
//! [`ImageSaver`]. All calls block; run them off the async runtime.

mod build;
mod deltas;
mod document;
mod engine;
mod images;
mod inspect;
mod installed;
mod patch;
mod publish;
mod settings;
mod stack;

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::fault::Result;

pub use build::{BuildReport, BuildRequest, PackageReport, Stage, build};
pub use deltas::DeltaReport;
pub use engine::build_with_engine;
pub use inspect::{InspectedImage, InspectedLayer, InspectedMember, Inspection, inspect};
pub use installed::pack_installed;
pub use patch::PatchBase;
pub use publish::{PublishReport, publish};

/// Reads a stack the way Compose does.
pub trait StackReader {
    /// The compiled model (`docker compose config --format json`) of the folder `stack` with the Compose
    /// files `compose`, all profiles enabled.
    fn model(&self, stack: &Path, compose: &[String]) -> Result<Value>;
}

/// Gets images out of the engine.
pub trait ImageSaver {
    /// What `docker save` writes for these references, each with a tag. An image that is not there is
    /// [`crate::Code::ImageMissing`].
    fn save(&self, references: &[String]) -> Result<Box<dyn Read + Send>>;
}
