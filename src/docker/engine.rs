//! The connection to the Docker Engine.

use std::time::Duration;

use bollard::Docker;

use crate::fault::{Code, Fault, Result};

/// The oldest API this client works with: Engine 20.10.
const OLDEST_API: (u32, u32) = (1, 41);
/// A local engine answers a ping within milliseconds; a dead socket may accept and never answer.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// One request may last as long as the load of a large image or the stop of a slow database.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// A Docker Engine that answers and is new enough.
#[derive(Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    endpoint: String,
    version: String,
    api: String,
    arch: String,
    containerd: bool,
    root_dir: String,
    local: bool,
}

impl Engine {
    /// Connects to `DOCKER_HOST`, or to the default socket.
    pub async fn connect() -> Result<Self> {
        let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let endpoint = host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let unreachable =
            |error: &dyn std::error::Error| Fault::new(Code::EngineUnreachable, &endpoint, error.to_string());
        let docker = Docker::connect_with_host(&endpoint).map_err(|error| unreachable(&error))?;
        let docker = docker.with_timeout(REQUEST_TIMEOUT);
        // `/version` is served without a version prefix problem by every engine, also those that are too old.
        let version = match tokio::time::timeout(PING_TIMEOUT, docker.version()).await {
            Err(late) => return Err(unreachable(&late)),
            Ok(Err(error)) => return Err(too_old(&endpoint, &error).unwrap_or_else(|| unreachable(&error))),
            Ok(Ok(version)) => version,
        };
        let api = version.api_version.unwrap_or_default();
        if parse_api(&api) < OLDEST_API {
            let cause = format!(
                "it speaks API {api} (Engine {}), and {}.{} is needed",
                version.version.unwrap_or_default(),
                OLDEST_API.0,
                OLDEST_API.1
            );
            return Err(Fault::new(Code::EngineTooOld, endpoint, cause));
        }
        let docker = docker.negotiate_version().await.map_err(|error| unreachable(&error))?;
        let info = docker.info().await.map_err(|error| unreachable(&error))?;
        let driver = info.driver_status.unwrap_or_default();
        Ok(Self {
            docker,
            local: endpoint.starts_with("unix:"),
            endpoint,
            version: version.version.unwrap_or_default(),
            api,
            arch: oci_arch(&info.architecture.or(version.arch).unwrap_or_default()),
            containerd: driver.iter().flatten().any(|value| value.starts_with("io.containerd.snapshotter")),
            root_dir: info.docker_root_dir.unwrap_or_default(),
        })
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its version, such as `26.1.5`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The API version it speaks, such as `1.45`.
    pub fn api_version(&self) -> &str {
        &self.api
    }

    /// Whether it speaks API version `wanted` or a later one.
    pub fn speaks(&self, wanted: &str) -> bool {
        parse_api(&self.api) >= parse_api(wanted)
    }

    /// Its architecture in OCI terms: `amd64`, `arm64`.
    pub fn arch(&self) -> &str {
        &self.arch
    }

    /// Whether images are in the containerd store (an image's ID is then its manifest's digest).
    pub fn containerd_store(&self) -> bool {
        self.containerd
    }

    /// Where it keeps its data; a path on its own machine.
    pub fn root_dir(&self) -> &str {
        &self.root_dir
    }

    /// Whether it runs on this machine, so that its paths and ports are ours.
    pub fn is_local(&self) -> bool {
        self.local
    }
}

/// An engine too old for the client's API version says so in an error of its own.
fn too_old(endpoint: &str, error: &bollard::errors::Error) -> Option<Fault> {
    let text = error.to_string();
    text.contains("is too new").then(|| Fault::new(Code::EngineTooOld, endpoint, text))
}

fn parse_api(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

fn oci_arch(name: &str) -> String {
    match name {
        "x86_64" => "amd64".into(),
        "aarch64" => "arm64".into(),
        "armv7l" | "armv6l" => "arm".into(),
        other => other.to_owned(),
    }
}

/// The HTTP status of an engine error, where it has one.
pub(super) fn status(error: &bollard::errors::Error) -> Option<u16> {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// An engine error about `object`.
pub(super) fn failed(object: impl std::fmt::Display, error: bollard::errors::Error) -> Fault {
    match &error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => {
            Fault::new(Code::EngineFailed, object, message)
        }
        _ => Fault::from_error(Code::EngineFailed, object, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_api("1.40") < OLDEST_API && parse_api("1.9") < OLDEST_API);
        assert!(parse_api("1.41") >= OLDEST_API && parse_api("2.0") >= OLDEST_API);
        assert_eq!(parse_api(""), (0, 0));
    }

    #[test]
    fn kernel_names_become_oci_names() {
        for (kernel, oci) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")] {
            assert_eq!(oci_arch(kernel), oci);
        }
    }
}
