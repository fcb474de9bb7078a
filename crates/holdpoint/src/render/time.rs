//! Times and amounts for people.

use holdpoint_model::UnixMs;

/// A length of time in its largest unit or two: `40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`.
#[must_use]
pub fn length(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => two(hours, "h", minutes % 60, "min"),
        _ => two(days, "d", hours % 24, "h"),
    }
}

/// Now, by this machine's clock.
#[must_use]
pub fn now() -> UnixMs {
    jiff::Timestamp::now().as_millisecond()
}

/// How long ago.
#[must_use]
pub fn ago(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(String::new, |at| format!("{} ago", length(now - at)))
}

/// In how long.
#[must_use]
pub fn until(at: Option<UnixMs>, now: UnixMs) -> String {
    at.map_or_else(
        String::new,
        |at| if at <= now { "now".into() } else { format!("in {}", length(at - now)) },
    )
}

/// Millionths of a US dollar.
#[must_use]
pub fn dollars(micros: u64) -> String {
    format!("${}.{:04}", micros / 1_000_000, micros % 1_000_000 / 100)
}

/// Memory, in the unit that its bounds are given in.
#[must_use]
pub fn mebibytes(count: u64) -> String {
    format!("{} MiB", count.div_ceil(1 << 20))
}

/// Bytes.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut tenths = count / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(length(59_999), "59 s");
        assert_eq!(length(60_000), "1 min");
        assert_eq!(length(3_600_000 * 3 + 60_000 * 5), "3 h 5 min");
        assert_eq!(length(86_400_000 * 2), "2 d");
        assert_eq!(dollars(12_345), "$0.0123");
        assert_eq!(dollars(2_500_000), "$2.5000");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_234), "1.2 kB");
        assert_eq!(bytes(381_121_040), "381.1 MB");
        assert_eq!(until(Some(5), 10), "now");
    }
}
