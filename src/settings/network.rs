//! `[network]`: the way to the source, and who this device is to it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::{Origin, Url};

use super::secret::Secret;

/// `[network]`. Files are relative to the install root.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSettings {
    /// `http://`, `https://`, `socks5://` (names are resolved here) or `socks5h://` (by the proxy), or `direct`; none: as
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` of the environment say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Secret>,
    /// Hosts, domains and networks that are reached without `proxy`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub no_proxy: Vec<String>,
    /// Certificates (PEM) that are trusted besides the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// What this device shows to servers that ask who it is (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<PathBuf>,
    /// The key of `client_cert` (PEM); none: it is in the same file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_key: Option<PathBuf>,
    /// What opens single hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<HostCredentials>,
}

/// What `network.proxy` means where it means none.
pub const DIRECT: &str = "direct";

/// `[[network.credentials]]`: a name and a password, or a token. They are sent to this host only.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostCredentials {
    /// `releases.example.com`, with `:PORT` where it is not 443; over plain HTTP only as `http://HOST`.
    pub host: String,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password of `username`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// … or the file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// What is sent as `Authorization: Bearer …`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// … or the file that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
}

impl HostCredentials {
    /// Scheme, host and port; none where `host` is no such thing.
    pub fn origin(&self) -> Option<Origin> {
        let text = match self.host.contains("://") {
            true => self.host.clone(),
            false => format!("https://{}", self.host),
        };
        let url: Url = text.parse().ok()?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        plain.then(|| url.origin())
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.origin().is_none() {
            // It may have become an address with a password in it, so it is not repeated.
            return Err(
                "host is a name or an address, with :PORT and before it http:// where they are needed",
            );
        }
        let password = [self.password.is_some(), self.password_file.is_some()];
        let token = [self.token.is_some(), self.token_file.is_some()];
        match (&self.username, password, token) {
            (Some(name), [true, false] | [false, true], [false, false]) if !name.contains(':') => Ok(()),
            (None, [false, false], [true, false] | [false, true]) => Ok(()),
            (Some(name), ..) if name.contains(':') => Err("username holds a ':', which no server can tell"),
            _ => Err("it takes username and password (or password_file), or token (or token_file)"),
        }
    }
}

impl NetworkSettings {
    /// Whether there is anything in it that others may not read.
    pub fn has_secrets(&self) -> bool {
        let proxy = self.proxy.as_ref().is_some_and(|proxy| proxy.expose().contains('@'));
        proxy || self.credentials.iter().any(|entry| entry.password.is_some() || entry.token.is_some())
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(proxy) = self.proxy.as_ref().map(Secret::expose).filter(|proxy| *proxy != DIRECT) {
            let known = |url: &Url| matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h");
            if !proxy.parse::<Url>().is_ok_and(|url| known(&url) && url.has_host()) {
                return Err(
                    "network.proxy is an http://, https://, socks5:// or socks5h:// address, or \"direct\""
                        .into(),
                );
            }
        } else if !self.no_proxy.is_empty() {
            return Err(
                "network.no_proxy needs network.proxy; without it NO_PROXY of the environment counts".into(),
            );
        }
        if self.client_key.is_some() && self.client_cert.is_none() {
            return Err("network.client_key needs network.client_cert".into());
        }
        for (index, entry) in self.credentials.iter().enumerate() {
            let number = index + 1;
            entry.check().map_err(|cause| format!("network.credentials, entry {number}: {cause}"))?;
            if self.credentials[..index].iter().any(|other| other.origin() == entry.origin()) {
                return Err(format!(
                    "network.credentials, entry {number}: an entry before it is for the same host"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NetworkSettings, String> {
        let network: NetworkSettings = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        network.check().map(|()| network)
    }

    #[test]
    fn a_host_is_scheme_name_and_port() {
        let origin = |host: &str| {
            let entry = HostCredentials { host: host.into(), ..HostCredentials::default() };
            entry.origin().map(|origin| origin.ascii_serialization())
        };
        for (host, expected) in [
            ("releases.example.com", Some("https://releases.example.com")),
            ("Releases.Example.com:443", Some("https://releases.example.com")),
            ("releases.example.com:8443", Some("https://releases.example.com:8443")),
            ("http://10.0.0.7", Some("http://10.0.0.7")),
            ("https://[fd00::1]:8443/", Some("https://[fd00::1]:8443")),
            ("", None),
            ("ftp://x", None),
            ("https://x/path", None),
            ("https://me:s3cret@x", None),
            ("x?y", None),
        ] {
            assert_eq!(origin(host).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn what_is_half_said_is_named_and_secrets_are_not() {
        let whole = "[[credentials]]\nhost = 'a'\nusername = 'me'\npassword = 's3cret'\n\
                     [[credentials]]\nhost = 'b'\ntoken_file = 'token'";
        assert!(read(whole).unwrap().has_secrets());
        assert!(!read("[[credentials]]\nhost = 'b'\ntoken_file = 'token'").unwrap().has_secrets());
        assert!(read("proxy = 'http://me:s3cret@proxy:3128'").unwrap().has_secrets());
        assert!(!read("proxy = 'socks5h://proxy'\nno_proxy = ['localhost']").unwrap().has_secrets());
        assert!(!format!("{:?}", read(whole)).contains("s3cret"));
        for (text, named) in [
            ("proxy = 'ftp://s3cret'", "network.proxy"),
            ("proxy = 's3cret'", "network.proxy"),
            ("no_proxy = ['x']", "network.proxy"),
            ("client_key = 'x'", "client_cert"),
            ("[[credentials]]\nhost = 'https://me:s3cret@x'\ntoken = 's3cret'", "entry 1: host"),
            ("[[credentials]]\nhost = 'x'", "entry 1"),
            ("[[credentials]]\nhost = 'x'\nusername = 'me'", "password_file"),
            ("[[credentials]]\nhost = 'x'\npassword = 's3cret'", "username"),
            ("[[credentials]]\nhost = 'x'\nusername = 'a:s3cret'\npassword = 's3cret'", "':'"),
            ("[[credentials]]\nhost = 'x'\ntoken = 's3cret'\ntoken_file = 'x'", "token_file"),
            (
                "[[credentials]]\nhost = 'x'\ntoken = 's3cret'\nusername = 'me'\npassword = 's3cret'",
                "entry 1",
            ),
            (
                "[[credentials]]\nhost = 'x'\ntoken = 's3cret'\n[[credentials]]\nhost = 'x:443'\ntoken = 's3cret'",
                "entry 2",
            ),
            ("[[credentials]]\nhost = 'x'\ntokn = 's3cret'", "tokn"),
        ] {
            let cause = read(text).unwrap_err();
            assert!(cause.contains(named) && !cause.contains("s3cret"), "{text}: {cause}");
        }
    }
}
