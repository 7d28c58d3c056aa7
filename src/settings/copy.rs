//! `[backup.copy]`: where whole backups are copied to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::fault::{Code, Fault, IoContext, Result};

/// `[backup.copy]`: copies of whole backups, on another disk, a share or in a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CopySettings {
    /// An absolute folder or `s3://BUCKET/PREFIX`; empty: nowhere.
    pub to: String,
    /// The `http(s)://` address of storage that speaks S3; none: that of AWS in the region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The bucket's region; none: what such storage calls `us-east-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// A TOML file with the [`Credentials`], relative to the install root; none: `AWS_ACCESS_KEY_ID` and so on of the
    /// environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// age recipients (`age1…`) who alone can read the copies; without any, the copies are as the backups are.
    pub recipients: Vec<String>,
}

/// Where `backup.copy.to` leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyTarget {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of the copies begin with, without slashes at its ends; may be empty.
        prefix: String,
    },
}

/// What opens a bucket.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// Who.
    pub access_key_id: String,
    /// The key that requests are signed by; it is never sent.
    pub secret_access_key: String,
    /// Of keys that expire.
    #[serde(default)]
    pub session_token: Option<String>,
}

impl CopySettings {
    /// The recipients; what is wrong with the first that is none.
    pub fn read_recipients(&self) -> std::result::Result<Vec<age::x25519::Recipient>, String> {
        let read = |text: &String| {
            text.parse().map_err(|cause| format!("backup.copy.recipients: {text:?}: {cause}"))
        };
        self.recipients.iter().map(read).collect()
    }

    /// Where the copies go; what is wrong with `to`.
    pub fn target(&self) -> std::result::Result<Option<CopyTarget>, String> {
        if self.to.is_empty() {
            return Ok(None);
        }
        let Some(place) = self.to.strip_prefix("s3://") else {
            let folder = PathBuf::from(&self.to);
            let wrong = "backup.copy.to is an absolute folder or s3://BUCKET/PREFIX";
            return if folder.is_absolute() {
                Ok(Some(CopyTarget::Folder(folder)))
            } else {
                Err(wrong.into())
            };
        };
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
        if bucket.is_empty() || !bucket.chars().all(plain) {
            let cause = format!("backup.copy.to: {bucket:?} is no name of a bucket (a-z, 0-9, '.' and '-')");
            return Err(cause);
        }
        let prefix = prefix.trim_matches('/');
        if prefix.split('/').any(|part| part == "." || part == "..") {
            return Err("backup.copy.to: the prefix holds '.' or '..'".into());
        }
        Ok(Some(CopyTarget::Bucket { bucket: bucket.into(), prefix: prefix.into() }))
    }

    /// What is wrong.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        let recipients = self.read_recipients()?;
        let target = self.target()?;
        let of_buckets = self.endpoint.is_some() || self.region.is_some() || self.credentials_file.is_some();
        if of_buckets && !matches!(target, Some(CopyTarget::Bucket { .. })) {
            return Err("backup.copy: endpoint, region and credentials_file need to = \"s3://…\"".into());
        }
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let url: Option<Url> = endpoint.parse().ok();
        let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
            return Err("backup.copy.endpoint is no http:// or https:// address".into());
        };
        if !url.username().is_empty() || url.password().is_some() {
            // It is shown wherever the storage cannot be reached.
            return Err("backup.copy.endpoint holds credentials; they belong in credentials_file".into());
        }
        if url.scheme() == "http" && recipients.is_empty() && !is_loopback(&url) {
            return Err(
                "backup.copy: over http:// anyone on the way could read the copies; name recipients to \
                        encrypt them, or an https:// endpoint"
                    .into(),
            );
        }
        Ok(())
    }

    /// What opens the bucket: of `credentials_file`, which `root` is the folder of, or of the environment.
    pub fn credentials(&self, root: &Path) -> Result<Credentials> {
        let Some(file) = &self.credentials_file else { return Credentials::from_env() };
        let path = root.join(file);
        let text = std::fs::read_to_string(&path).at(&path)?;
        // A message of the parser would show the line, and with it the key.
        let wrong = "it is no TOML file with access_key_id and secret_access_key";
        toml::from_str(&text).map_err(|_| Fault::new(Code::ConfigInvalid, path.display(), wrong))
    }
}

impl Credentials {
    fn from_env() -> Result<Self> {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (id, secret) = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY");
        match (read(id), read(secret)) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Ok(Self { access_key_id, secret_access_key, session_token: read("AWS_SESSION_TOKEN") })
            }
            _ => {
                let cause = format!("it is not set, and {id} and {secret} are not in the environment either");
                Err(Fault::new(Code::ConfigInvalid, "backup.copy.credentials_file", cause))
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: &str) -> CopySettings {
        CopySettings { to: to.into(), ..CopySettings::default() }
    }

    #[test]
    fn a_place_is_a_folder_or_a_bucket() {
        assert_eq!(to("").target(), Ok(None));
        assert_eq!(to("/mnt/x").target(), Ok(Some(CopyTarget::Folder("/mnt/x".into()))));
        let bucket =
            |prefix: &str| CopyTarget::Bucket { bucket: "shop-backups".into(), prefix: prefix.into() };
        assert_eq!(to("s3://shop-backups").target(), Ok(Some(bucket(""))));
        assert_eq!(to("s3://shop-backups/").target(), Ok(Some(bucket(""))));
        assert_eq!(to("s3://shop-backups/site 7/a/").target(), Ok(Some(bucket("site 7/a"))));
        for wrong in ["mnt/x", "s3://", "s3:///x", "s3://Shop", "s3://shop/../x", "https://shop/x"] {
            assert!(to(wrong).target().is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_readable_goes_over_the_network_in_the_clear() {
        let at = |endpoint: &str| CopySettings { endpoint: Some(endpoint.into()), ..to("s3://shop") };
        let cause = at("http://storage.example:9000").check().unwrap_err();
        assert!(cause.contains("recipients"), "{cause}");
        let key = age::x25519::Identity::generate().to_public().to_string();
        let sealed = CopySettings { recipients: vec![key], ..at("http://storage.example:9000") };
        assert_eq!(sealed.check(), Ok(()));
        assert_eq!(at("https://storage.example").check(), Ok(()));
        assert_eq!(at("http://127.0.0.1:9000").check(), Ok(()));
        assert!(at("storage.example").check().is_err());
        for endpoint in ["https://me:s3cret@storage.example", "https://s3cret@storage.example"] {
            let cause = at(endpoint).check().unwrap_err();
            assert!(cause.contains("credentials_file") && !cause.contains("s3cret"), "{cause}");
        }
        let folder = CopySettings { region: Some("eu-central-1".into()), ..to("/mnt/x") };
        assert!(folder.check().unwrap_err().contains("s3://"));
    }

    #[test]
    fn a_wrong_file_of_credentials_is_not_shown() {
        let root = tempfile::tempdir().unwrap();
        let settings = CopySettings { credentials_file: Some("s3.toml".into()), ..to("s3://shop") };
        std::fs::write(root.path().join("s3.toml"), "access_key_id = 'me'\nsecret_access_key = s3cret\n")
            .unwrap();
        let told = settings.credentials(root.path()).err().unwrap().to_string();
        assert!(told.contains("s3.toml") && !told.contains("s3cret"), "{told}");
        std::fs::write(root.path().join("s3.toml"), "access_key_id = 'me'\nsecret_access_key = 's3cret'\n")
            .unwrap();
        let read = settings.credentials(root.path()).ok().unwrap();
        assert_eq!((read.access_key_id.as_str(), read.session_token), ("me", None));
    }
}
