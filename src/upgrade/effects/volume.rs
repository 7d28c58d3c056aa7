//! Restoring a volume that only the engine can reach: its content is replaced by a helper beside a service.

use std::io::Read;
use std::path::PathBuf;

use crate::backup::new_content;
use crate::docker::{Engine, HELPER_DATA, Helper, Program};
use crate::fault::Result;

/// The first argument of this program where it runs as the helper.
pub const INSIDE: &str = "__exchange";

/// A volume and a container whose image the helper can be made from.
pub struct Volume {
    /// The project.
    pub project: String,
    /// The container.
    pub beside: String,
    /// The volume's real name.
    pub name: String,
    /// Names this attempt: what another one left is undone, not continued.
    attempt: String,
}

impl Volume {
    /// For one attempt at restoring it.
    pub fn new(project: &str, beside: String, name: String) -> Self {
        let attempt = uuid::Uuid::now_v7().simple().to_string();
        Self { project: project.to_owned(), beside, name, attempt }
    }

    /// The folder that names in the stream given to [`replace`](Self::replace) lie below.
    pub fn top(&self) -> PathBuf {
        new_content(HELPER_DATA.as_ref(), &self.attempt)
    }

    /// Replaces the content of the volume, wholly or not at all. Nothing may use it meanwhile.
    pub async fn replace(
        &self,
        engine: &Engine,
        program: &Program,
        tar: impl Read + Send + 'static,
    ) -> Result<()> {
        let name = format!("compose-upgrade-restore-{}", self.project);
        let arguments = [INSIDE, HELPER_DATA, &self.attempt];
        let helper = Helper::make(engine, name, &self.beside, &self.name, program, &arguments).await?;
        helper.run().await?;
        helper.put(tar).await?;
        helper.run().await?;
        helper.remove().await
    }
}
