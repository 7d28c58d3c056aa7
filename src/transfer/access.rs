//! Who this device is to which host. What opens one host is never sent to another: it is looked up for the address of a
//! request, and a redirect to another host leaves it behind.

use std::path::Path;

use reqwest::RequestBuilder;
use url::{Origin, Url};

use crate::fault::{Code, Fault, Result};
use crate::settings::{HostCredentials, Secret};

/// The credentials of all hosts. It has no `Debug`.
#[derive(Default)]
pub(super) struct Access(Vec<(Origin, Key)>);

enum Key {
    Basic { username: String, password: Secret },
    Bearer(Secret),
}

impl Access {
    /// Reads the files that `entries` name; these are relative to `root`.
    pub(super) fn new(entries: &[HostCredentials], root: &Path) -> Result<Self> {
        entries.iter().map(|entry| read(entry, root)).collect::<Result<_>>().map(Self)
    }

    /// Adds what opens the host of `url`. What stands in the address itself goes before it.
    pub(super) fn open(&self, url: &Url, request: RequestBuilder) -> RequestBuilder {
        if !url.username().is_empty() || url.password().is_some() {
            return request;
        }
        let origin = url.origin();
        match self.0.iter().find(|(host, _)| *host == origin) {
            Some((_, Key::Basic { username, password })) => {
                request.basic_auth(username, Some(password.expose()))
            }
            Some((_, Key::Bearer(token))) => request.bearer_auth(token.expose()),
            None => request,
        }
    }
}

fn read(entry: &HostCredentials, root: &Path) -> Result<(Origin, Key)> {
    let wrong = |cause: &str| Fault::new(Code::ConfigInvalid, "network.credentials", cause);
    let origin = entry.origin().ok_or_else(|| wrong("a host is none"))?;
    let secret = |inline: &Option<Secret>, file: &Option<std::path::PathBuf>| match (inline, file) {
        (Some(secret), _) => Ok(secret.clone()),
        (None, Some(file)) => Secret::read(&root.join(file)),
        (None, None) => Err(wrong("an entry has neither a password nor a token")),
    };
    let key = match &entry.username {
        Some(username) => {
            let password = secret(&entry.password, &entry.password_file)?;
            Key::Basic { username: username.clone(), password }
        }
        None => {
            let token = secret(&entry.token, &entry.token_file)?;
            // It becomes a header as it is.
            if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong("a token holds a space or another character that cannot be sent"));
            }
            Key::Bearer(token)
        }
    };
    Ok((origin, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_gets_its_own_and_no_other() {
        let entry = |host: &str, token: &str| HostCredentials {
            host: host.into(),
            token: Some(token.into()),
            ..HostCredentials::default()
        };
        let named = HostCredentials {
            host: "b".into(),
            username: Some("me".into()),
            password: Some("s3cret".into()),
            ..HostCredentials::default()
        };
        let entries = [entry("a", "one"), entry("a:8443", "two"), entry("http://a", "three"), named];
        let access = Access::new(&entries, Path::new("/")).ok().unwrap();
        let client = reqwest::Client::new();
        for (url, sent) in [
            ("https://a/x?y", Some("Bearer one")),
            ("https://A:443/x", Some("Bearer one")),
            ("https://a:8443/", Some("Bearer two")),
            ("http://a/", Some("Bearer three")),
            ("http://a:8443/", None),
            ("https://sub.a/", None),
            ("https://b/", Some("Basic bWU6czNjcmV0")),
            ("https://you:own@b/", Some("Basic eW91Om93bg==")),
            ("http://b/", None),
        ] {
            let url: Url = url.parse().unwrap();
            let request = access.open(&url, client.get(url.clone())).build().unwrap();
            let found = request.headers().get_all("authorization").iter().collect::<Vec<_>>();
            assert!(found.iter().all(|header| header.is_sensitive()), "{url}");
            let found: Vec<&str> = found.into_iter().map(|header| header.to_str().unwrap()).collect();
            assert_eq!(found, sent.into_iter().collect::<Vec<_>>(), "{url}");
        }
        let fault = Access::new(&[entry("a", "s3 cret")], Path::new("/")).err().unwrap();
        assert!(!format!("{fault} {fault:?}").contains("cret"), "{fault}");
    }
}
