//! A volume that only the engine can reach: its content is read, and replaced, by a helper beside a service.

use std::io::Read;

use crate::backup::{Scope, Selection};
use crate::docker::{Engine, HELPER_DATA, Helper, HelperUse, Program, StreamReader};
use crate::fault::Result;

/// The first argument of this program where it replaces a volume's content as the helper.
pub const INSIDE: &str = "__exchange";
/// The same where it reads it.
pub const SEND: &str = "__send";

/// The name of the container that reads a volume of `project`.
pub fn reader(project: &str) -> String {
    format!("compose-upgrade-backup-{project}")
}

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

    /// Its content as a tar stream, as far as `selection` has it: everything about it, or, where this program cannot run in
    /// the engine, what the engine's own archive API keeps. `path` is where the container has it.
    pub async fn read(&self, engine: &Engine, selection: Selection, path: &str) -> Result<StreamReader> {
        let Ok(program) = Program::own(engine) else { return engine.archive(&self.beside, path).await };
        let scope = Scope { selection, only: Vec::new() }.to_json();
        let name = reader(&self.project);
        let arguments = [SEND, HELPER_DATA, &scope];
        let helper =
            Helper::make(engine, name, &self.beside, &self.name, &program, &arguments, HelperUse::Read)
                .await?;
        helper.stream().await
    }

    /// Replaces what `scope` says of the content of the volume by that of `tar`, whose names lie below
    /// [`crate::backup::TOP`], wholly or not at all. Nothing may use it meanwhile.
    pub async fn replace(
        &self,
        engine: &Engine,
        program: &Program,
        scope: &Scope,
        tar: impl Read + Send + 'static,
    ) -> Result<()> {
        let name = format!("compose-upgrade-restore-{}", self.project);
        let scope = scope.to_json();
        let arguments = [INSIDE, HELPER_DATA, &self.attempt, &scope];
        let helper =
            Helper::make(engine, name, &self.beside, &self.name, program, &arguments, HelperUse::Write)
                .await?;
        helper.feed(tar).await
    }
}
