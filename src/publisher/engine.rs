//! Packing with the real engine and the real Compose.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use tokio::runtime::Handle;

use super::{BuildReport, BuildRequest, ImageSaver, StackReader, Stage, build};
use crate::docker::{Compose, Engine};
use crate::fault::{Code, Fault, Result};

/// Both, for use on a blocking thread.
struct Tools {
    engine: Engine,
    compose: Compose,
    runtime: Handle,
}

impl StackReader for Tools {
    fn model(&self, stack: &Path, compose: &[String]) -> Result<Value> {
        self.runtime.block_on(self.compose.compile_all(stack, compose))
    }
}

impl ImageSaver for Tools {
    fn save(&self, references: &[String]) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.runtime.block_on(self.engine.save_images(references))?))
    }
}

/// [`build`] with the engine and the Compose command, off the async runtime.
pub async fn build_with_engine(
    request: BuildRequest,
    engine: &Engine,
    compose: &Compose,
    notify: impl Fn(Stage) + Send + 'static,
) -> Result<BuildReport> {
    let tools = Tools { engine: engine.clone(), compose: compose.clone(), runtime: Handle::current() };
    let name = request.stack.display().to_string();
    let work = tokio::task::spawn_blocking(move || build(&request, &tools, &tools, &notify));
    work.await.map_err(|error| Fault::from_error(Code::Io, name, error))?
}
