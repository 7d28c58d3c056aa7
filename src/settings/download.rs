//! `[download]`: how files are fetched, and how much of the link they may take.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};

use super::size::Size;

/// `[download]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DownloadSettings {
    /// Attempts in all before the download fails.
    pub attempts: u32,
    /// Seconds a connection may take.
    pub connect_timeout_s: u64,
    /// Seconds without a byte before a connection counts as stalled.
    pub stall_timeout_s: u64,
    /// Connections for one file at most, 1 to [`MAX_CONNECTIONS`]; 1: one stream.
    pub connections: usize,
    /// Bytes a second; a server that gives less over `stall_timeout_s` counts as stalled, too. 0: however few.
    pub min_rate: Size,
    /// Bytes a second of all connections together; none or 0: as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_rate: Option<Size>,
    /// Bytes of bundles that are kept though nothing here needs them.
    pub cache_max: Size,
    /// Other limits at certain hours; the first whose hours it is counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<LimitWindow>,
}

/// Connections for one download at most; more would be unkind to the server and to others on the link.
pub const MAX_CONNECTIONS: usize = 16;

impl Default for DownloadSettings {
    fn default() -> Self {
        Self {
            attempts: 5,
            connect_timeout_s: 10,
            stall_timeout_s: 30,
            connections: 16,
            min_rate: Size(1024),
            limit_rate: None,
            cache_max: Size(0),
            limits: Vec::new(),
        }
    }
}

/// `[[download.limits]]`: a limit from one time of the day (local time) to another; over midnight where `to` is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitWindow {
    /// The first minute.
    pub from: TimeOfDay,
    /// The first minute after it.
    pub to: TimeOfDay,
    /// Bytes a second; 0: as many as there are.
    pub rate: Size,
}

impl LimitWindow {
    fn holds(&self, at: TimeOfDay) -> bool {
        match self.from < self.to {
            true => self.from <= at && at < self.to,
            false => self.from <= at || at < self.to,
        }
    }
}

impl DownloadSettings {
    /// The limit at `at`; none: as many bytes as there are.
    pub fn limit_at(&self, at: TimeOfDay) -> Option<u64> {
        let window = self.limits.iter().find(|window| window.holds(at)).map(|window| window.rate);
        window.or(self.limit_rate).map(|Size(rate)| rate).filter(|rate| *rate > 0)
    }

    /// Sets one limit for all hours, in place of what is written down.
    pub fn limit_to(&mut self, rate: Size) {
        self.limit_rate = Some(rate);
        self.limits.clear();
    }

    /// What is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.attempts == 0 {
            return Err("download.attempts is at least 1".into());
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return Err(format!("download.connections is 1 to {MAX_CONNECTIONS}"));
        }
        if let Some(window) = self.limits.iter().find(|window| window.from == window.to) {
            return Err(format!("download.limits: from and to are both {}", window.from));
        }
        Ok(())
    }
}

/// Minutes since midnight, local time, written `HH:MM`; `24:00` is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub u16);

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let two = |digits: &str| -> Option<u16> {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        };
        let read = text.split_once(':').and_then(|(hours, minutes)| Some((two(hours)?, two(minutes)?)));
        match read {
            Some((hours, minutes)) if minutes < 60 && hours * 60 + minutes <= 24 * 60 => {
                Ok(Self(hours * 60 + minutes))
            }
            _ => Err(format!("{text:?} is not a time of the day such as 08:00")),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DownloadSettings, String> {
        let settings: DownloadSettings = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn the_first_window_that_fits_decides() {
        let settings = read(
            "limit_rate = '2M'\n\
             [[limits]]\nfrom = '08:00'\nto = '18:00'\nrate = '500k'\n\
             [[limits]]\nfrom = '12:00'\nto = '24:00'\nrate = '1M'\n\
             [[limits]]\nfrom = '23:30'\nto = '05:00'\nrate = 0",
        )
        .unwrap();
        for (at, limit) in [
            ("07:59", Some(2 << 20)),
            ("08:00", Some(500 << 10)),
            ("17:59", Some(500 << 10)),
            ("18:00", Some(1 << 20)),
            ("23:59", Some(1 << 20)),
            ("00:00", None),
            ("04:59", None),
            ("05:00", Some(2 << 20)),
        ] {
            assert_eq!(settings.limit_at(at.parse().unwrap()), limit, "{at}");
        }
        let mut settings = settings;
        settings.limit_to(Size(7));
        assert_eq!(settings.limit_at(TimeOfDay(0)), Some(7));
        assert_eq!(DownloadSettings::default().limit_at(TimeOfDay(0)), None);
    }

    #[test]
    fn mistakes_are_named() {
        let window = |from: &str, to: &str| format!("[[limits]]\nfrom = '{from}'\nto = '{to}'\nrate = '1M'");
        for (text, named) in [
            (window("8:00", "18:00"), "08:00"),
            (window("08:60", "18:00"), "08:60"),
            (window("08:00", "24:01"), "24:01"),
            (window("08:00", "08:00"), "both 08:00"),
            ("limit_rate = 'fast'".into(), "500k"),
            ("limit_rate = -1".into(), "negative"),
            ("attempts = 0".into(), "at least 1"),
            ("[[limits]]\nfrom = '08:00'\nto = '09:00'".into(), "rate"),
        ] {
            let cause = read(&text).unwrap_err();
            assert!(cause.contains(named), "{text}: {cause}");
        }
    }
}
