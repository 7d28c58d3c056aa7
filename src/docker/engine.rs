//! The connection to the engine and what kind of engine it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{SystemInfo, SystemVersion};
use bollard::{API_DEFAULT_VERSION, Docker};

use crate::fault::{Code, Fault, Result};

/// The socket of an engine that was installed the usual way.
const DEFAULT_ENDPOINT: &str = "unix:///var/run/docker.sock";
/// The lowest API version: Engine 20.10.
const LOWEST_API: (u32, u32) = (1, 41);
/// How long the engine may take to begin its answer to an ordinary request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to say which version it is; a hung engine should be noticed soon.
const HELLO_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it may take to say that it is there.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two attempts to reach an engine that went away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(250);
/// For requests that something else than the clock watches over.
pub(super) const UNLIMITED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Where the engine is looked for: `DOCKER_HOST`, else the usual socket.
pub fn endpoint() -> String {
    std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned())
}

/// A connection to a Docker Engine that answered and is new enough; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    facts: Arc<Facts>,
}

#[derive(Debug)]
struct Facts {
    endpoint: String,
    version: String,
    api_version: String,
    arch: String,
    containerd_store: bool,
    root_dir: PathBuf,
}

impl Engine {
    /// Connects to the engine at [`endpoint`] and asks what it is.
    pub async fn connect() -> Result<Self> {
        Self::connect_to(&endpoint()).await
    }

    /// As [`Engine::connect`], at a named endpoint (`unix://…`, `tcp://…`).
    pub async fn connect_to(endpoint: &str) -> Result<Self> {
        let unreachable = |error: Error| match error {
            Error::RequestTimeoutError => {
                Fault::new(Code::EngineUnreachable, endpoint, "it did not answer in time")
            }
            error => Fault::from_error(Code::EngineUnreachable, endpoint, error),
        };
        let docker = open(endpoint).map_err(unreachable)?.with_timeout(HELLO_TIMEOUT);
        let version = docker.version().await.map_err(unreachable)?;
        let api_version = version.api_version.clone().unwrap_or_default();
        check_api(endpoint, &version, &api_version)?;
        let info = docker.info().await.map_err(unreachable)?;
        let facts = Facts {
            endpoint: endpoint.to_owned(),
            version: version.version.unwrap_or_default(),
            api_version,
            arch: oci_arch(info.architecture.as_deref().or(version.arch.as_deref()).unwrap_or_default()),
            containerd_store: is_containerd_store(&info),
            root_dir: info.docker_root_dir.unwrap_or_default().into(),
        };
        Ok(Self { docker: docker.with_timeout(REQUEST_TIMEOUT), facts: Arc::new(facts) })
    }

    /// Whether it answers now.
    pub async fn answers(&self) -> bool {
        self.docker.clone().with_timeout(PING_TIMEOUT).ping().await.is_ok()
    }

    /// Waits until an engine answers at the same place, at most `patience`, and connects to it anew: it may be another
    /// version by then, or keep its images in another store.
    pub async fn reconnect(&self, patience: Duration) -> Result<Self> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            // An engine that is starting up accepts connections before it can do anything.
            match tokio::time::timeout_at(deadline, Self::connect_to(self.endpoint())).await {
                Ok(Ok(engine)) => return Ok(engine),
                Ok(Err(fault)) if fault.code() != Code::EngineUnreachable => return Err(fault),
                Ok(Err(_)) if tokio::time::Instant::now() + RECONNECT_PAUSE < deadline => {
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
                Ok(Err(_)) | Err(_) => {
                    let cause = format!("it did not come back within {} s", patience.as_secs());
                    return Err(Fault::new(Code::EngineUnreachable, self.endpoint(), cause));
                }
            }
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.facts.endpoint
    }

    /// The machine architecture of the engine in OCI terms (`amd64`, `arm64`).
    pub fn arch(&self) -> &str {
        &self.facts.arch
    }

    /// The engine's version.
    pub fn version(&self) -> &str {
        &self.facts.version
    }

    /// The newest API version the engine speaks.
    pub fn api_version(&self) -> &str {
        &self.facts.api_version
    }

    /// Whether images live in the containerd store, where an image's ID is its manifest digest.
    pub fn containerd_store(&self) -> bool {
        self.facts.containerd_store
    }

    /// The folder the engine keeps images and volumes in.
    pub fn root_dir(&self) -> &Path {
        &self.facts.root_dir
    }

    /// The same connection for a request that may take `extra` longer than an ordinary one.
    pub(super) fn patient(&self, extra: Duration) -> Docker {
        self.docker.clone().with_timeout(REQUEST_TIMEOUT + extra)
    }

    /// Whether it runs on this machine, so that its paths and ports are ours.
    pub fn is_local(&self) -> bool {
        self.facts.endpoint.starts_with("unix:")
    }

    /// Whether the engine speaks at least the API version `wanted` (`1.43`); text that is none holds for all.
    pub fn speaks_version(&self, wanted: &str) -> bool {
        parse_api(wanted).is_none_or(|(major, minor)| self.speaks(major, minor))
    }

    /// Whether the engine speaks at least this API version.
    pub(super) fn speaks(&self, major: u32, minor: u32) -> bool {
        parse_api(&self.facts.api_version) >= Some((major, minor))
    }
}

fn open(endpoint: &str) -> Result<Docker, Error> {
    match endpoint.strip_prefix("unix://") {
        Some(path) => Docker::connect_with_unix(path, REQUEST_TIMEOUT.as_secs(), API_DEFAULT_VERSION),
        None => Docker::connect_with_host(endpoint),
    }
}

fn check_api(endpoint: &str, version: &SystemVersion, api_version: &str) -> Result<()> {
    match parse_api(api_version) {
        None => Err(Fault::new(
            Code::EngineUnreachable,
            endpoint,
            format!("what answers there is not a Docker Engine (API version '{api_version}')"),
        )),
        Some(api) if api < LOWEST_API => {
            let engine = version.version.as_deref().unwrap_or("of unknown version");
            let (major, minor) = LOWEST_API;
            let detail =
                format!("Engine {engine} speaks API {api_version}, at least {major}.{minor} is needed");
            Err(Fault::new(Code::EngineTooOld, endpoint, detail))
        }
        Some(_) => Ok(()),
    }
}

fn parse_api(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The kernel's name of a machine in OCI terms.
fn oci_arch(machine: &str) -> String {
    let name = match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armv6l" | "armhf" => "arm",
        "i386" | "i686" => "386",
        other => other,
    };
    name.to_owned()
}

fn is_containerd_store(info: &SystemInfo) -> bool {
    let is_type = |pair: &Vec<String>| matches!(&pair[..], [key, value] if key == "driver-type" && value == "io.containerd.snapshotter.v1");
    info.driver_status.iter().flatten().any(is_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_get_their_oci_names() {
        for (machine, oci) in [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")] {
            assert_eq!(oci_arch(machine), oci);
        }
    }

    #[test]
    fn api_versions_are_compared_as_numbers() {
        let version = SystemVersion { version: Some("19.03".into()), ..Default::default() };
        for (api, code) in [
            ("1.40", Some(Code::EngineTooOld)),
            ("1.9", Some(Code::EngineTooOld)),
            ("1.41", None),
            ("1.100", None),
            ("2.0", None),
            ("", Some(Code::EngineUnreachable)),
            ("new", Some(Code::EngineUnreachable)),
        ] {
            let result = check_api("unix:///x", &version, api);
            assert_eq!(result.err().map(|fault| fault.code()), code, "{api}");
        }
    }

    #[test]
    fn the_containerd_store_is_told_by_its_driver_type() {
        let pair = |key: &str, value: &str| vec![key.to_owned(), value.to_owned()];
        let with = |pairs| SystemInfo { driver_status: Some(pairs), ..Default::default() };
        assert!(is_containerd_store(&with(vec![pair("driver-type", "io.containerd.snapshotter.v1")])));
        assert!(!is_containerd_store(&with(vec![pair("Backing Filesystem", "extfs")])));
        assert!(!is_containerd_store(&SystemInfo::default()));
    }
}
