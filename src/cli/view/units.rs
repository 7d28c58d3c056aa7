//! Sizes, durations and times for people.

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.95 and more would be shown as 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `352 ms`, `4.2 s`, `1 m 12 s`, `2 h 05 m`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{}.{} s", seconds, ms % 1000 / 100),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `2026-11-20 08:00:00Z` for an RFC 3339 time; anything else as it is.
pub fn instant(rfc3339: &str) -> String {
    let well_formed = rfc3339.len() >= 19 && rfc3339.is_ascii() && rfc3339.as_bytes()[10] == b'T';
    if well_formed && rfc3339.ends_with('Z') {
        format!("{} {}Z", &rfc3339[..10], &rfc3339[11..19])
    } else {
        super::clean(rfc3339)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (73_400_320, "70.0 MiB"),
            (5_368_709_120, "5.0 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations() {
        for (ms, text) in [
            (0, "0 ms"),
            (352, "352 ms"),
            (4210, "4.2 s"),
            (59_999, "59.9 s"),
            (72_000, "1 m 12 s"),
            (7_500_000, "2 h 05 m"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn times() {
        assert_eq!(instant("2026-11-20T08:00:00.123456Z"), "2026-11-20 08:00:00Z");
        assert_eq!(instant("2026-11-20T08:00:00Z"), "2026-11-20 08:00:00Z");
        assert_eq!(instant("2026-11-20"), "2026-11-20");
        assert_eq!(instant("一二三四五六七八九十"), "一二三四五六七八九十");
    }
}
