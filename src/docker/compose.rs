//! The Compose command. Arguments are arrays, standard input is empty (it must never answer a question), and
//! variables of our own environment that would redirect it do not reach it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Output, Stdio};

use tokio::process::Command;

use super::model::Model;
use crate::fault::{Code, Fault, Result};

/// Variables that would make Compose read other files or another project than it is told to.
const REDIRECTING: [&str; 4] =
    ["COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_ENV_FILES", "COMPOSE_PATH_SEPARATOR"];

/// Compose v2, as the plugin of `docker` or by itself.
#[derive(Debug, Clone)]
pub struct Compose {
    program: Vec<&'static str>,
    version: String,
}

impl Compose {
    /// Finds `docker compose`, or `docker-compose` of version 2 or later.
    pub async fn find() -> Result<Self> {
        let mut seen = Vec::new();
        for program in [vec!["docker", "compose"], vec!["docker-compose"]] {
            let candidate = Self { program: program.clone(), version: String::new() };
            match candidate.run(&["version".into(), "--short".into()], &std::env::temp_dir()).await {
                Ok(output) if output.status.success() => {
                    let version =
                        String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').to_owned();
                    let major: u32 =
                        version.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
                    if major >= 2 {
                        return Ok(Self { program, version });
                    }
                    seen.push(format!("'{}' is version {version}", program.join(" ")));
                }
                Ok(output) => seen.push(format!("'{}': {}", program.join(" "), complaint(&output))),
                Err(fault) => seen.push(format!("'{}': {}", program.join(" "), fault.detail())),
            }
        }
        Err(Fault::new(Code::ComposeMissing, "docker compose", seen.join("; ")))
    }

    /// Its version, such as `2.26.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Compiles the Compose files of `folder` into a model whose paths are those of `published_as`, the
    /// constant project directory under which the files will be used.
    pub async fn compile(
        &self,
        project: &str,
        folder: &Path,
        files: &[String],
        published_as: &Path,
    ) -> Result<Model> {
        let mut arguments = self.project(project, folder);
        for file in files {
            arguments.extend(["-f".into(), folder.join(file).into_os_string()]);
        }
        arguments.extend(["config".into(), "--format".into(), "json".into()]);
        let output = self.run(&arguments, folder).await?;
        if !output.status.success() {
            return Err(unresolved(folder, &output));
        }
        Model::compiled(&output.stdout, folder, published_as)
    }

    /// The whole model of a stack folder as JSON, with the services of every profile, for packing it.
    pub async fn compile_all(&self, folder: &Path, files: &[String]) -> Result<serde_json::Value> {
        let mut arguments: Vec<OsString> =
            ["--ansi", "never", "--profile", "*", "--project-directory"].iter().map(OsString::from).collect();
        arguments.push(folder.into());
        for file in files {
            arguments.extend(["-f".into(), folder.join(file).into_os_string()]);
        }
        arguments.extend(["config".into(), "--format".into(), "json".into()]);
        let output = self.run(&arguments, folder).await?;
        if !output.status.success() {
            return Err(unresolved(folder, &output));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Fault::from_error(Code::ComposeInvalid, folder.display(), error))
    }

    /// Compose's hash of every service of the model in the file `model`: the label its containers will carry.
    pub async fn hashes(
        &self,
        project: &str,
        current: &Path,
        model: &Path,
    ) -> Result<BTreeMap<String, String>> {
        let mut arguments = self.with_model(project, current, model);
        arguments.extend(["config".into(), "--hash".into(), "*".into()]);
        let output = self.succeed(&arguments, current, project).await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(service, hash)| (service.to_owned(), hash.trim().to_owned())).collect())
    }

    /// Creates containers of `services` until each has as many as `scales` says, beside those there are and
    /// without starting any. `scales` must also name how many containers every service has that these depend on,
    /// old and new ones together, or Compose would take the surplus away; it refuses the names of all others. Gives
    /// back what Compose warned of.
    pub async fn create(
        &self,
        project: &str,
        current: &Path,
        model: &Path,
        scales: &BTreeMap<String, u32>,
        services: &[String],
    ) -> Result<Vec<String>> {
        let mut arguments = self.with_model(project, current, model);
        // Not `up --no-start --no-deps`: Compose then drops `depends_on` before it hashes the service, and the next
        // `docker compose up` would recreate the container.
        arguments.extend(["create", "--no-recreate", "--no-build", "--pull", "never"].map(OsString::from));
        for (service, scale) in scales {
            arguments.extend(["--scale".into(), format!("{service}={scale}").into()]);
        }
        arguments.extend(services.iter().map(OsString::from));
        Ok(warnings(&self.succeed(&arguments, current, project).await?))
    }

    /// Compose's own recreate of one service: the old container is stopped and removed, the new one takes its
    /// anonymous volumes and its name. Nothing is started. Where the service has `depends_on`, the next
    /// `docker compose up` recreates it once more (see [`create`](Self::create)).
    pub async fn recreate(
        &self,
        project: &str,
        current: &Path,
        model: &Path,
        service: &str,
    ) -> Result<Vec<String>> {
        let mut arguments = self.with_model(project, current, model);
        arguments.extend(
            ["up", "--no-start", "--no-deps", "--force-recreate", "--no-build", "--pull", "never", service]
                .map(OsString::from),
        );
        Ok(warnings(&self.succeed(&arguments, current, project).await?))
    }

    fn with_model(&self, project: &str, current: &Path, model: &Path) -> Vec<OsString> {
        let mut arguments = self.project(project, current);
        arguments.extend(["-f".into(), model.into()]);
        arguments
    }

    fn project(&self, project: &str, folder: &Path) -> Vec<OsString> {
        ["--ansi", "never", "-p", project, "--project-directory"]
            .iter()
            .map(OsString::from)
            .chain([folder.into()])
            .collect()
    }

    async fn succeed(&self, arguments: &[OsString], folder: &Path, project: &str) -> Result<Output> {
        let output = self.run(arguments, folder).await?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Fault::new(Code::ComposeFailed, project, complaint(&output)))
    }

    async fn run(&self, arguments: &[OsString], folder: &Path) -> Result<Output> {
        let mut command = Command::new(self.program[0]);
        command.args(&self.program[1..]).args(arguments);
        for variable in REDIRECTING {
            command.env_remove(variable);
        }
        command.env("COMPOSE_MENU", "false").stdin(Stdio::null()).kill_on_drop(true);
        if folder.is_dir() {
            command.current_dir(folder);
        }
        let shown = self.program.join(" ");
        command.output().await.map_err(|error| Fault::from_error(Code::ComposeMissing, shown, error))
    }
}

/// Compose could not make a model of the files in `folder`.
fn unresolved(folder: &Path, output: &Output) -> Fault {
    let cause = complaint(output);
    let unset = cause.contains("required variable") || cause.contains("is missing a value");
    let code = if unset { Code::VariableUnset } else { Code::ComposeInvalid };
    Fault::new(code, folder.display(), cause)
}

/// What Compose says went wrong, without its progress lines.
fn complaint(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let telling: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("time=") && !is_progress(line))
        .collect();
    if telling.is_empty() { format!("it ended with {}", output.status) } else { telling.join("; ") }
}

/// What Compose warned of.
fn warnings(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines().filter(|line| line.contains("level=warning"));
    lines
        .filter_map(|line| Some(line.split_once("msg=")?.1.trim_matches('"').replace("\\\"", "\"")))
        .collect()
}

/// Such as `Container shop-web-2  Created`.
fn is_progress(line: &str) -> bool {
    let kinds = ["Container ", "Network ", "Volume ", "Image "];
    let ends = [
        "Creating",
        "Created",
        "Running",
        "Recreate",
        "Recreated",
        "Starting",
        "Started",
        "Waiting",
        "Stopping",
        "Stopped",
        "Removing",
        "Removed",
    ];
    kinds.iter().any(|kind| line.starts_with(kind)) && ends.iter().any(|end| line.ends_with(end))
}
