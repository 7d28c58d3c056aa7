//! The way to the outside that everything an installation fetches has in common: proxies, certificates, credentials,
//! limits, and what each host gave so far.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Certificate, ClientBuilder, Identity, NoProxy, Proxy, RequestBuilder, Url};

use super::access::Access;
use super::limit::{Limiter, Trickle};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::settings::{DIRECT, DownloadSettings, NetworkSettings, Secret, Settings, require_private};

/// No download is slower than this by the number of its connections alone.
const RATE_OF_ONE: u64 = 1024 * 1024;

/// Cheap to clone; whatever has a clone shares one limit.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    access: Access,
    limiter: Limiter,
    least: u64,
    window: Duration,
    outward: Outward,
}

/// What every HTTP client is built with.
#[derive(Default)]
struct Outward {
    proxy: Option<Via>,
    roots: Vec<Certificate>,
    identity: Option<Identity>,
}

enum Via {
    Direct,
    Proxy(Box<Proxy>),
}

impl Link {
    /// As the operator set it; files are relative to `root`.
    pub fn new(settings: &Settings, root: &Path) -> Result<Self> {
        let download = &settings.download;
        Ok(Self(Arc::new(Inner {
            access: Access::new(&settings.network.credentials, root)?,
            limiter: Limiter::new(download),
            least: download.min_rate.0,
            window: Duration::from_secs(download.stall_timeout_s),
            outward: Outward::new(&settings.network, root)?,
        })))
    }

    /// As the environment says, without credentials and limits.
    pub fn plain() -> Self {
        Self(Arc::new(Inner {
            access: Access::default(),
            limiter: Limiter::new(&DownloadSettings::default()),
            least: 0,
            window: Duration::MAX,
            outward: Outward::default(),
        }))
    }

    /// Gives a client this way out.
    pub fn lead(&self, mut builder: ClientBuilder) -> ClientBuilder {
        let outward = &self.0.outward;
        builder = match &outward.proxy {
            None => builder,
            Some(Via::Direct) => builder.no_proxy(),
            Some(Via::Proxy(proxy)) => builder.proxy(Proxy::clone(proxy)),
        };
        for root in &outward.roots {
            builder = builder.add_root_certificate(root.clone());
        }
        match &outward.identity {
            Some(identity) => builder.identity(identity.clone()),
            None => builder,
        }
    }

    /// Adds what opens the host of `url`.
    pub(super) fn open(&self, url: &Url, request: RequestBuilder) -> RequestBuilder {
        self.0.access.open(url, request)
    }

    /// `bytes` were received; ends when others may come.
    pub(super) async fn received(&self, bytes: usize) {
        self.0.limiter.take(bytes).await;
    }

    /// Whether there is a limit now, so that no rate says anything about a server.
    pub(super) fn is_limited(&self) -> bool {
        self.0.limiter.rate().is_some()
    }

    /// How many of `most` connections make sense under the limit: each would wait longer for its turn than a server does.
    pub(super) fn connections(&self, most: usize) -> usize {
        match self.0.limiter.rate() {
            Some(rate) => most.min(usize::try_from(rate / RATE_OF_ONE).unwrap_or(most)).max(1),
            None => most,
        }
    }

    /// What a server must give at least from now on, which is less where little is asked for.
    pub(super) fn trickle(&self) -> Trickle {
        let least = self.0.limiter.rate().map_or(self.0.least, |rate| self.0.least.min(rate / 2));
        Trickle::new(least, self.0.window, Instant::now())
    }
}

impl Outward {
    fn new(settings: &NetworkSettings, root: &Path) -> Result<Self> {
        let proxy = settings.proxy.as_ref().map(Secret::expose);
        let proxy = proxy.map(|address| via(address, &settings.no_proxy)).transpose()?;
        let mut roots = Vec::new();
        if let Some(file) = &settings.ca_file {
            let path = root.join(file);
            let pem = std::fs::read(&path).at(&path)?;
            let wrong = |cause| Fault::new(Code::ConfigInvalid, path.display(), cause);
            roots = Certificate::from_pem_bundle(&pem).map_err(|_| wrong("it is no PEM file"))?;
            if roots.is_empty() {
                return Err(wrong("it holds no certificate"));
            }
        }
        Ok(Self { proxy, roots, identity: identity(settings, root)? })
    }
}

fn via(address: &str, except: &[String]) -> Result<Via> {
    if address == DIRECT {
        return Ok(Via::Direct);
    }
    // The client's own words would repeat the address.
    let wrong = |_| Fault::new(Code::ConfigInvalid, "network.proxy", "it is no address of a proxy");
    let proxy = Proxy::all(address).map_err(wrong)?;
    let proxy = proxy.no_proxy(NoProxy::from_string(&except.join(",")));
    Ok(Via::Proxy(Box::new(proxy)))
}

fn identity(settings: &NetworkSettings, root: &Path) -> Result<Option<Identity>> {
    let Some(cert) = &settings.client_cert else { return Ok(None) };
    let cert = root.join(cert);
    let key = settings.client_key.as_ref().map(|key| root.join(key));
    require_private(key.as_ref().unwrap_or(&cert))?;
    let mut pem = std::fs::read(&cert).at(&cert)?;
    if let Some(key) = &key {
        pem.push(b'\n');
        pem.extend(std::fs::read(key).at(key)?);
    }
    let cause = "it holds no certificate with its key (PEM)";
    let wrong = |_| Fault::new(Code::ConfigInvalid, cert.display(), cause);
    Identity::from_pem(&pem).map(Some).map_err(wrong)
}
