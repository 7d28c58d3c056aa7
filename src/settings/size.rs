//! Bytes as people write them: `500k`, `2M`, `1G`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes, or of bytes a second. The letters are powers of 1024, as curl has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

const UNITS: [(char, u64); 4] = [('t', 1 << 40), ('g', 1 << 30), ('m', 1 << 20), ('k', 1 << 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a number of bytes such as 500k, 2M or 1G");
        let lower = text.trim().to_ascii_lowercase();
        let unit = UNITS.iter().find(|(letter, _)| lower.ends_with(*letter));
        let (digits, unit) = match unit {
            Some((_, unit)) => (&lower[..lower.len() - 1], *unit),
            None => (&lower[..], 1),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain(whole) || !plain(part) || part.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let fraction: f64 = format!("0.{part}").parse().map_err(|_| wrong())?;
        let bytes = whole.checked_mul(unit).ok_or_else(wrong)?;
        Ok(Self(bytes.saturating_add((fraction * unit as f64) as u64)))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 > 0 && self.0.is_multiple_of(*unit)) {
            Some((letter, unit)) => write!(f, "{}{letter}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of bytes such as \"500k\" or \"2M\"")
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
                u64::try_from(bytes).map(Size).map_err(|_| E::custom("a number of bytes is not negative"))
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, written) in [
            ("0", 0, "0"),
            ("1000", 1000, "1000"),
            ("500k", 512_000, "500k"),
            ("500K", 512_000, "500k"),
            ("2M", 2 << 20, "2m"),
            (" 1.5m ", 3 << 19, "1536k"),
            ("1G", 1 << 30, "1g"),
            ("3T", 3 << 40, "3t"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, written), "{text}");
            assert_eq!(size.to_string().parse(), Ok(size), "{text}");
        }
        for wrong in
            ["", "k", "-1", "+1", "1kB", "1 000", "1..5", "1.k", ".5k", "99999999999999999999", "9e9"]
        {
            assert!(wrong.parse::<Size>().unwrap_err().contains("500k"), "{wrong}");
        }
    }
}
