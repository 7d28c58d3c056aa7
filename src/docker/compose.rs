//! The `docker compose` command line: the only interpreter of Compose files.

mod argv;
mod complaint;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::argv::Project;
use self::process::Program;
use super::Model;
use crate::fault::{Code, Fault, IoContext, Result};

/// Reading and resolving files is quick.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
/// Creating containers may wait for a busy disk; recreating also stops one, which has its own grace period.
const CREATE_TIMEOUT: Duration = Duration::from_secs(600);

/// What a compilation gives.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The resolved stack.
    pub model: Model,
    /// What Compose warned of.
    pub warnings: Vec<String>,
}

/// Compose v2 on this machine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Compose {
    program: Program,
    version: String,
}

impl Compose {
    /// Looks for `docker compose`, then `docker-compose`, of version 2 or later.
    pub async fn find() -> Result<Self> {
        Self::find_among(&[&["docker", "compose"], &["docker-compose"]]).await
    }

    async fn find_among(candidates: &[&[&str]]) -> Result<Self> {
        let mut tried = Vec::new();
        for words in candidates {
            let program = Program::new(words);
            match program.version().await {
                Ok(version) if argv::is_v2(&version) => return Ok(Self { program, version }),
                Ok(version) => tried.push(format!("'{program}' is version {version}")),
                Err(cause) => tried.push(format!("'{program}': {cause}")),
            }
        }
        Err(Fault::new(Code::ComposeMissing, "docker compose", tried.join("; ")))
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Resolves the Compose files `files` (relative to the absolute `dir`; none: Compose's default names) as if `dir` were
    /// `published_as`: paths into `dir` become paths into `published_as`, because `dir` is one release and
    /// `published_as` the place where a release lives when it runs.
    pub async fn compile(
        &self,
        project: &str,
        dir: &Path,
        files: &[String],
        published_as: &Path,
    ) -> Result<Compiled> {
        self.compiled(Project { name: project, dir }.compile(files), dir, published_as).await
    }

    /// The same with the services of every profile.
    pub async fn compile_every(
        &self,
        project: &str,
        dir: &Path,
        files: &[String],
        published_as: &Path,
    ) -> Result<Compiled> {
        self.compiled(Project { name: project, dir }.compile_every(files), dir, published_as).await
    }

    async fn compiled(&self, args: Vec<String>, dir: &Path, published_as: &Path) -> Result<Compiled> {
        let object = dir.display().to_string();
        let done = self.program.run(&object, &args, dir, READ_TIMEOUT).await?;
        if !done.success {
            return Err(complaint::of_config(&object, &done.stderr));
        }
        let mut model = Model::from_json(&done.stdout, &object)?;
        model.publish(dir, published_as);
        Ok(Compiled { model, warnings: complaint::warnings(&done.stderr) })
    }

    /// The resolved document of a stack that is to be packed: the services of every profile.
    pub async fn compile_all(&self, dir: &Path, files: &[String]) -> Result<serde_json::Value> {
        let object = dir.display().to_string();
        let args = Project { name: "", dir }.compile_all(files);
        let done = self.program.run(&object, &args, dir, READ_TIMEOUT).await?;
        if !done.success {
            return Err(complaint::of_config(&object, &done.stderr));
        }
        Ok(Model::from_json(&done.stdout, &object)?.document().clone())
    }

    /// The config hash of every service: the label `docker compose up` in `current_dir` would give, except for
    /// services that are tied to others (see [`Compose::hashes_tied`]).
    ///
    /// Asked of the compiled model, because `config --hash` over the files themselves gives another hash than
    /// `up` where a service uses `env_file`.
    pub async fn hashes(
        &self,
        project: &str,
        current_dir: &Path,
        model: &Path,
    ) -> Result<BTreeMap<String, String>> {
        let args =
            Project { name: project, dir: current_dir }.hashes(model, &Model::from_file(model)?.profiles());
        let object = model.display().to_string();
        let done = self.program.run(&object, &args, parent(model), READ_TIMEOUT).await?;
        if !done.success {
            return Err(complaint::of_config(&object, &done.stderr));
        }
        argv::read_hashes(&String::from_utf8_lossy(&done.stdout)).ok_or_else(|| {
            Fault::new(Code::ComposeFailed, object, "the answer to 'config --hash' cannot be read")
        })
    }

    /// The config hashes with `ties`, which maps services to the IDs of their containers: `up` turns
    /// `network_mode: service:x` (and `pid`, `ipc`) into `container:<id>` before it computes the hash, so the
    /// hash of such a service is another one for each container of `x`.
    pub async fn hashes_tied(
        &self,
        project: &str,
        current_dir: &Path,
        model: &Path,
        ties: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let tied = Model::from_file(model)?.tied(ties);
        let file = tempfile_beside(model);
        tied.to_file(&file)?;
        let hashes = self.hashes(project, current_dir, &file).await;
        std::fs::remove_file(&file).at(&file)?;
        hashes
    }

    /// Creates containers until each service of `services` has as many as `scales` says, touching none that is
    /// there and starting none. Gives Compose's warnings.
    ///
    /// Compose also looks at the services they depend on: it creates those that are missing, and **removes**
    /// containers beyond the scale. So `scales` must name every service that has more containers than
    /// replicas, whether in `services` or not, and all services should be created in one call.
    pub async fn create_beside(
        &self,
        project: &str,
        current_dir: &Path,
        model: &Path,
        scales: &BTreeMap<String, u32>,
        services: &[String],
    ) -> Result<Vec<String>> {
        let args = Project { name: project, dir: current_dir }.create_beside(
            model,
            &Model::from_file(model)?.profiles(),
            scales,
            services,
        );
        self.act(&args, model, services).await
    }

    /// Replaces the containers of `services` by new ones, not started, carrying anonymous volumes over;
    /// all other services are left alone. Gives Compose's warnings.
    ///
    /// Only `--no-deps` leaves dependencies alone, and with it some versions of Compose write a config hash that
    /// the next `up` does not recognise: [`Engine::settle_recreated`](super::Engine::settle_recreated) mends that
    /// and must follow.
    pub async fn recreate(
        &self,
        project: &str,
        current_dir: &Path,
        model: &Path,
        services: &[String],
    ) -> Result<Vec<String>> {
        let args = Project { name: project, dir: current_dir }.recreate(
            model,
            &Model::from_file(model)?.profiles(),
            services,
        );
        self.act(&args, model, services).await
    }

    async fn act(&self, args: &[String], model: &Path, services: &[String]) -> Result<Vec<String>> {
        let object = services.join(", ");
        let done = self.program.run(&object, args, parent(model), CREATE_TIMEOUT).await?;
        if done.success {
            Ok(complaint::warnings(&done.stderr))
        } else {
            Err(complaint::of_act(&object, &done.stderr))
        }
    }
}

/// A name of its own, because several hashes may be asked for at once.
fn tempfile_beside(model: &Path) -> PathBuf {
    model.with_extension(format!("{}.json", uuid::Uuid::now_v7().simple()))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_compose_is_named() {
        let fault = Compose::find_among(&[&["no-such-docker-anywhere", "compose"]]).await.unwrap_err();
        assert_eq!(fault.code(), Code::ComposeMissing);
        assert!(fault.detail().contains("no-such-docker-anywhere compose"), "{fault}");
    }
}
