//! Versions: an optional `v`, three or four numbers, an optional semver pre-release and build.
//!
//! The first three numbers with pre-release and build are the base, ordered by semver; the fourth is the
//! patch level (`0.0.13.2` is patch level 2 of 0.0.13; a missing fourth number is level 0).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::{Code, Fault};

/// A version of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    base: semver::Version,
    level: u64,
}

impl Version {
    /// A version from its base and patch level.
    pub fn new(base: semver::Version, level: u64) -> Self {
        Self { base, level }
    }

    /// The base: what a patch cannot change.
    pub fn base(&self) -> &semver::Version {
        &self.base
    }

    /// The patch level, 0 for a full release.
    pub fn level(&self) -> u64 {
        self.level
    }

    /// The version a patch to this one applies to unless it says otherwise: one level down, same base.
    pub fn level_before(&self) -> Option<Self> {
        let level = self.level.checked_sub(1)?;
        Some(Self { base: self.base.clone(), level })
    }
}

impl fmt::Display for Version {
    /// The canonical text, also used as folder name: no `v`, no patch level 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = &self.base;
        write!(f, "{}.{}.{}", base.major, base.minor, base.patch)?;
        if self.level > 0 {
            write!(f, ".{}", self.level)?;
        }
        if !base.pre.is_empty() {
            write!(f, "-{}", base.pre)?;
        }
        if !base.build.is_empty() {
            write!(f, "+{}", base.build)?;
        }
        Ok(())
    }
}

impl FromStr for Version {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let invalid = |cause: &str| Fault::new(Code::VersionInvalid, text, cause);
        if text.len() > 128 {
            return Err(invalid("longer than 128 characters"));
        }
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let numbers_end = bare.find(['-', '+']).unwrap_or(bare.len());
        let (numbers, rest) = bare.split_at(numbers_end);
        let parts: Vec<&str> = numbers.split('.').collect();
        let (three, level) = match parts[..] {
            [_, _, _] => (numbers.to_owned(), 0),
            [a, b, c, d] => {
                let leading_zero = d.len() > 1 && d.starts_with('0');
                let digits = !d.is_empty() && d.bytes().all(|byte| byte.is_ascii_digit());
                if !digits || leading_zero {
                    return Err(invalid("the fourth part is not a number"));
                }
                let level = d.parse().map_err(|_| invalid("the fourth part is too large"))?;
                (format!("{a}.{b}.{c}"), level)
            }
            _ => return Err(invalid("it needs three or four numbers")),
        };
        let base =
            semver::Version::parse(&format!("{three}{rest}")).map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { base, level })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.base.cmp(&other.base).then(self.level.cmp(&other.level))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_the_contract_allows() {
        for (text, canonical, level) in [
            ("1.2.3", "1.2.3", 0),
            ("v1.2.3", "1.2.3", 0),
            ("V0.0.13.2", "0.0.13.2", 2),
            ("1.2.3.0", "1.2.3", 0),
            ("1.2.3.4-rc.1+b7", "1.2.3.4-rc.1+b7", 4),
            ("1.2.3-alpha", "1.2.3-alpha", 0),
        ] {
            assert_eq!(version(text).to_string(), canonical);
            assert_eq!(version(text).level(), level);
        }
        assert_eq!(version("1.2.3"), version("v1.2.3.0"));
    }

    #[test]
    fn refuses_everything_else_and_names_it() {
        for text in [
            "",
            "1",
            "1.2",
            "1.2.3.4.5",
            "1.2.x",
            "1.2.3.x",
            "1.2.3.",
            "1.2.3.-1",
            "vv1.2.3",
            "1.2.3.01",
            "01.2.3",
            "1.2.3.99999999999999999999",
            "../1.2.3",
            "1.2.3/..",
            " 1.2.3",
        ] {
            let error = text.parse::<Version>().unwrap_err();
            assert_eq!(error.code(), Code::VersionInvalid, "{text}");
        }
    }

    #[test]
    fn orders_by_base_then_level() {
        let ordered = [
            "0.0.12.9",
            "0.0.13-rc.1",
            "0.0.13-rc.1.1",
            "0.0.13",
            "0.0.13.1",
            "0.0.13.2",
            "0.0.14",
            "0.1.0",
            "1.0.0-alpha",
            "1.0.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_stable(text in "\\PC{0,20}|[vV]?[0-9]{1,2}(\\.[0-9]{1,3}){1,4}(-[a-z.]{1,5})?") {
            if let Ok(first) = text.parse::<Version>() {
                prop_assert_eq!(&version(&first.to_string()), &first);
                prop_assert!(!first.to_string().contains('/'));
            }
        }
    }
}
