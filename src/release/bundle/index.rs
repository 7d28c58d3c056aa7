//! The sidecar index: where each member is in the bundle, so that it can be fetched and verified alone.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::Digest;
use super::super::info::is_safe_relative;
use crate::fault::{Code, Fault, Result};

/// How a member is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is.
    None,
    /// As one zstd frame.
    Zstd,
}

/// One file of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its path once decoded (without `.zst`).
    pub path: String,
    /// Where its bytes begin in the bundle.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
    /// How they are stored.
    pub encoding: Encoding,
    /// Bytes once decoded.
    pub size: u64,
    /// Of the decoded bytes.
    pub hash: Digest,
    /// Of the bytes as stored.
    pub encoded_hash: Digest,
}

impl Member {
    /// Its bytes in the bundle.
    pub fn span(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }
}

/// The document `<bundle>.index.json`. Unknown fields are accepted and ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Always 1.
    pub schema: u32,
    /// The members, in the order of the bundle.
    pub members: Vec<Member>,
}

/// Where the index of the bundle `path` is: `<bundle>.index.json`.
pub fn index_path(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".index.json");
    PathBuf::from(name)
}

impl Index {
    /// Reads and validates the index of a bundle of `bundle_length` bytes; `name` is the object of errors.
    pub fn from_json(bytes: &[u8], bundle_length: u64, name: &str) -> Result<Self> {
        let index: Self = serde_json::from_slice(bytes)
            .map_err(|error| Fault::from_error(Code::IndexInvalid, name, error))?;
        index.validate(bundle_length, name)?;
        Ok(index)
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("an index is always valid JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The member at `path`.
    pub fn member(&self, path: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.path == path)
    }

    /// Whether it can be the index of a bundle of `bundle_length` bytes: members inside it, apart from each
    /// other, under sane and distinct names, and consistent in themselves.
    pub fn validate(&self, bundle_length: u64, name: &str) -> Result<()> {
        let invalid = |cause: String| Err(Fault::new(Code::IndexInvalid, name, cause));
        if self.schema != 1 {
            return invalid(format!("schema {} is not known to this client", self.schema));
        }
        let mut paths: Vec<&str> = self.members.iter().map(|member| member.path.as_str()).collect();
        paths.sort_unstable();
        if let Some(twice) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
            return invalid(format!("{} is listed twice", twice[0]));
        }
        for member in &self.members {
            let path = &member.path;
            if !is_safe_relative(path) {
                return invalid(format!("the path {path:?} is not allowed"));
            }
            if member.offset.checked_add(member.length).is_none_or(|end| end > bundle_length) {
                return invalid(format!("{path} lies outside the bundle of {bundle_length} bytes"));
            }
            let same = member.length == member.size && member.hash == member.encoded_hash;
            if member.encoding == Encoding::None && !same {
                return invalid(format!("{path} is not encoded but has two sizes or hashes"));
            }
        }
        let mut spans: Vec<&Member> = self.members.iter().filter(|member| member.length > 0).collect();
        spans.sort_unstable_by_key(|member| member.offset);
        match spans.windows(2).find(|pair| pair[0].offset + pair[0].length > pair[1].offset) {
            Some(pair) => invalid(format!("{} and {} overlap", pair[0].path, pair[1].path)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str, offset: u64, length: u64) -> Member {
        let hash = Digest::of(path);
        let path = path.to_owned();
        Member { path, offset, length, encoding: Encoding::None, size: length, hash, encoded_hash: hash }
    }

    #[test]
    fn an_index_that_lies_is_refused() {
        let index = |members| Index { schema: 1, members };
        let lying = |change: fn(&mut Member)| {
            let mut one = member("a", 0, 5);
            change(&mut one);
            index(vec![one])
        };
        let cases = [
            ("outside", index(vec![member("a", 90, 11)])),
            ("overflow", index(vec![member("a", u64::MAX, 2)])),
            ("overlap", index(vec![member("a", 10, 10), member("b", 0, 11)])),
            ("same span", index(vec![member("a", 0, 1), member("b", 0, 1)])),
            ("twice", index(vec![member("a", 0, 1), member("a", 1, 1)])),
            ("escape", index(vec![member("../a", 0, 1)])),
            ("absolute", index(vec![member("/a", 0, 1)])),
            ("size", lying(|member| member.size = 6)),
            ("hash", lying(|member| member.hash = Digest::of("other"))),
            ("schema", Index { schema: 2, members: vec![] }),
        ];
        for (name, index) in cases {
            let read = Index::from_json(&index.to_json(), 100, name);
            assert_eq!(read.unwrap_err().code(), Code::IndexInvalid, "{name}");
        }
        let good = index(vec![member("a", 0, 50), member("b", 50, 50), member("empty", 50, 0)]);
        assert_eq!(Index::from_json(&good.to_json(), 100, "good").unwrap(), good);
    }
}
