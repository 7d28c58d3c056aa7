//! Where files are: an HTTP(S) address or a local path.

use std::fmt;
use std::path::{Path, PathBuf};

use url::Url;

use crate::fault::{Code, Fault, Result};
use crate::release::Version;

/// Where a file is. Shown without user, password, query and fragment, because those may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Location(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Http(Url),
    Local(PathBuf),
}

impl Location {
    /// From an `http(s)://` or `file://` address or a path. A relative path is taken from the working directory.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |cause: String| Fault::new(Code::Usage, redact(text), cause);
        if text.is_empty() {
            return Err(invalid("the address is empty".into()));
        }
        if !text.contains("://") {
            let path = std::path::absolute(text).map_err(|error| invalid(error.to_string()))?;
            return Ok(Self(Place::Local(path)));
        }
        Url::parse(text).map_err(|error| error.to_string()).and_then(Self::from_url).map_err(invalid)
    }

    /// A local file.
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self(Place::Local(path.into()))
    }

    fn from_url(url: Url) -> Result<Self, String> {
        match url.scheme() {
            "http" | "https" => Ok(Self(Place::Http(url))),
            "file" => match url.to_file_path() {
                Ok(path) => Ok(Self(Place::Local(path))),
                Err(()) => Err("the address names no file on this machine".into()),
            },
            other => Err(format!("the scheme '{other}' is not http, https or file")),
        }
    }

    /// What `reference` means in the document at this location.
    ///
    /// A relative reference stays in the document's folder. On HTTP it inherits the document's query where it
    /// has none of its own: a source that is reached with an access token in the query stays reachable. A
    /// document from the network cannot name local files.
    pub fn join(&self, reference: &str) -> Result<Self> {
        let invalid = |cause: String| {
            Fault::new(Code::ManifestInvalid, self, format!("the reference '{}' {cause}", redact(reference)))
        };
        if reference.is_empty() {
            return Err(invalid("is empty".into()));
        }
        match (Url::parse(reference), &self.0) {
            (Ok(url), Place::Http(_)) if url.scheme() == "file" => {
                Err(invalid("names a local file in a document from the network".into()))
            }
            (Ok(url), _) => Self::from_url(url).map_err(|cause| invalid(format!("is not usable: {cause}"))),
            (Err(url::ParseError::RelativeUrlWithoutBase), Place::Http(base)) => {
                let joined = resolve_below(base, reference).map_err(invalid)?;
                Ok(Self(Place::Http(joined)))
            }
            (Err(url::ParseError::RelativeUrlWithoutBase), Place::Local(document)) => {
                let base = Url::from_file_path(document)
                    .map_err(|()| Fault::new(Code::Usage, document.display(), "the path is not absolute"))?;
                let joined = resolve_below(&base, reference).map_err(invalid)?;
                let path = joined.to_file_path().map_err(|()| invalid("names no file".into()))?;
                Ok(Self(Place::Local(path)))
            }
            (Err(error), _) => Err(invalid(format!("cannot be read: {error}"))),
        }
    }

    /// What `reference` means in the document at this location that belongs to the one at `top`: `../` leads to
    /// what lies beside that one. `manifest/<version>.json` names packages that lie beside its folder.
    pub fn join_of(&self, top: &Self, reference: &str) -> Result<Self> {
        match reference.strip_prefix("../") {
            Some(beside) => top.join(beside),
            None => self.join(reference),
        }
    }

    /// The whole text, credentials and all, for [`Location::parse`]; not for people.
    pub fn to_text(&self) -> String {
        match &self.0 {
            Place::Http(url) => url.to_string(),
            Place::Local(path) => path.to_string_lossy().into_owned(),
        }
    }

    /// Whether the address carries a signature, which is good for a time only, as object stores make them.
    pub(super) fn is_signed(&self) -> bool {
        let is_signature = |key: &str| {
            let key = key.to_ascii_lowercase();
            key == "sig" || key == "signature" || key.ends_with("-signature")
        };
        self.url().is_some_and(|url| url.query_pairs().any(|(key, _)| is_signature(&key)))
    }

    /// The server: scheme, name and port; none for a local file.
    pub(super) fn server(&self) -> Option<String> {
        self.url().map(|url| url.origin().ascii_serialization())
    }

    /// The address, credentials and all; none for a local file.
    pub(super) fn url(&self) -> Option<&Url> {
        match &self.0 {
            Place::Http(url) => Some(url),
            Place::Local(_) => None,
        }
    }

    /// The path; none on the network.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Http(_) => None,
            Place::Local(path) => Some(path),
        }
    }
}

/// Resolves a relative reference and checks that it stays in the folder of `base`.
fn resolve_below(base: &Url, reference: &str) -> Result<Url, String> {
    let mut joined = base.join(reference).map_err(|error| format!("cannot be read: {error}"))?;
    let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    let inside = joined.path().strip_prefix(folder).is_some_and(|rest| rest.starts_with('/') && rest != "/");
    let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port());
    if place(&joined) != place(base) || !inside {
        return Err("leads out of the document's folder".into());
    }
    if joined.query().is_none() {
        joined.set_query(base.query());
    }
    Ok(joined)
}

/// `text` without what may be secret, for texts that are not (yet) known to be addresses.
fn redact(text: &str) -> String {
    let plain = text.split(['?', '#']).next().unwrap_or(text);
    match plain.split_once("://") {
        Some((scheme, rest)) => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            format!("{scheme}://{rest}")
        }
        None => plain.to_owned(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Http(url) => f.write_str(&redact(url.as_str())),
            Place::Local(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place that serves manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    document: Location,
}

impl Source {
    /// From the setting `source`: a folder (local or HTTP), or the address of the manifest itself, which then
    /// ends in `.json`.
    pub fn parse(text: &str) -> Result<Self> {
        let document = match Location::parse(text)?.0 {
            Place::Http(mut url) => {
                if !url.path().ends_with(".json") {
                    let folder = url.path().trim_end_matches('/').to_owned();
                    url.set_path(&format!("{folder}/manifest.json"));
                }
                url.set_fragment(None);
                Location(Place::Http(url))
            }
            Place::Local(path) => {
                let is_document = path.extension().is_some_and(|extension| extension == "json");
                let document = if is_document { path } else { path.join("manifest.json") };
                Location(Place::Local(document))
            }
        };
        Ok(Self { document })
    }

    /// The manifest of the newest release.
    pub fn manifest(&self) -> Location {
        self.document.clone()
    }

    /// The manifest of one version.
    pub fn manifest_of(&self, version: &Version) -> Result<Location> {
        // Some object stores take a plain '+' for a space.
        self.document.join(&format!("manifest/{}.json", version.to_string().replace('+', "%2B")))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.document.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(location: &Location) -> String {
        location.url().map_or_else(|| location.to_string(), Url::to_string)
    }

    #[test]
    fn a_source_is_a_folder_or_a_manifest() {
        for (text, manifest, of_version) in [
            ("http://h/dir", "http://h/dir/manifest.json", "http://h/dir/manifest/1.0.0%2Bb1.json"),
            ("http://h/dir/", "http://h/dir/manifest.json", "http://h/dir/manifest/1.0.0%2Bb1.json"),
            ("https://h:8443", "https://h:8443/manifest.json", "https://h:8443/manifest/1.0.0%2Bb1.json"),
            (
                "http://h/dir/manifest.json",
                "http://h/dir/manifest.json",
                "http://h/dir/manifest/1.0.0%2Bb1.json",
            ),
            (
                "http://u:p@h/d?t=1",
                "http://u:p@h/d/manifest.json?t=1",
                "http://u:p@h/d/manifest/1.0.0%2Bb1.json?t=1",
            ),
            ("/srv/r", "/srv/r/manifest.json", "/srv/r/manifest/1.0.0+b1.json"),
            ("file:///srv/a%20b", "/srv/a b/manifest.json", "/srv/a b/manifest/1.0.0+b1.json"),
            ("/srv/r/manifest.json", "/srv/r/manifest.json", "/srv/r/manifest/1.0.0+b1.json"),
        ] {
            let source = Source::parse(text).unwrap();
            assert_eq!(full(&source.manifest()), manifest, "{text}");
            let version = "v1.0.0+b1".parse().unwrap();
            assert_eq!(full(&source.manifest_of(&version).unwrap()), of_version, "{text}");
        }
        for text in ["", "ftp://h/x", "http://", "file://host/x"] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn references_are_resolved_against_the_document() {
        for (document, reference, result) in [
            ("http://h/d/manifest.json", "x.bundle", Some("http://h/d/x.bundle")),
            ("http://h/d/manifest.json?t=1", "x.bundle", Some("http://h/d/x.bundle?t=1")),
            ("http://h/d/manifest.json?t=1", "x.bundle?u=2", Some("http://h/d/x.bundle?u=2")),
            ("http://u:p@h/d/manifest.json", "x", Some("http://u:p@h/d/x")),
            ("http://u:p@h/d/manifest.json?t=1", "https://cdn/x", Some("https://cdn/x")),
            ("http://h/manifest.json", "a/b", Some("http://h/a/b")),
            ("http://h/d/manifest.json", "../x", None),
            ("http://h/d/manifest.json", "%2e%2e/x", None),
            ("http://h/d/manifest.json", "//evil/d/x", None),
            ("http://h/d/manifest.json", "/etc", None),
            ("http://h/d/manifest.json", "", None),
            ("http://h/d/manifest.json", "file:///etc/shadow", None),
            ("/s/d/manifest.json", "x y.bundle", Some("/s/d/x y.bundle")),
            ("/s/d/manifest.json", "x.bundle?t=1", Some("/s/d/x.bundle")),
            ("/s/d/manifest.json", "http://h/x", Some("http://h/x")),
            ("/s/d/manifest.json", "file:///x", Some("/x")),
            ("/s/d/manifest.json", "../x", None),
            ("/s/d/manifest.json", "//host/x", None),
            ("/s/d/manifest.json", "ftp://h/x", None),
        ] {
            let joined = Location::parse(document).unwrap().join(reference);
            let text = joined.as_ref().ok().map(full);
            assert_eq!(text.as_deref(), result, "{document} + {reference}");
        }
    }

    #[test]
    fn signed_addresses_are_known() {
        for (address, signed) in [
            ("https://b.s3.amazonaws.com/x?X-Amz-Expires=60&X-Amz-Signature=ab", true),
            ("https://storage.googleapis.com/b/x?X-Goog-Signature=ab", true),
            ("https://a.blob.core.windows.net/c/x?sv=2024&sig=ab%3D", true),
            ("https://d.cloudfront.net/x?Expires=1&Signature=ab&Key-Pair-Id=k", true),
            ("https://h/x?token=t", false),
            ("https://h/x-signature", false),
            ("/srv/x?sig=1", false),
        ] {
            assert_eq!(Location::parse(address).unwrap().is_signed(), signed, "{address}");
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let location = Location::parse("https://user:hunter2@h:1/x?token=hunter2#hunter2").unwrap();
        assert_eq!(location.to_string(), "https://h:1/x");
        assert_eq!(format!("{location:?}"), "https://h:1/x");
        let faults = [
            location.join("ftp://user:hunter2@h/x?hunter2").unwrap_err(),
            Location::parse("ftp://user:hunter2@h/?hunter2").unwrap_err(),
            Location::parse("http://user:hunter2@h:port/").unwrap_err(),
        ];
        for fault in faults {
            assert!(!fault.to_string().contains("hunter2"), "{fault}");
        }
    }
}
