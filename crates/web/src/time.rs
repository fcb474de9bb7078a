//! Times as people and scripts read them. Everything takes "now" as an argument.

use std::borrow::Cow;

use holdpoint_model::UnixMs;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// A time as scripts get it: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(pub(crate) UnixMs);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl JsonSchema for At {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "At".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at: UnixMs) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// For a person, in UTC, to the minute.
#[must_use]
pub fn readable(at: UnixMs) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A length of time in its two largest units: `45 s`, `3 min`, `2 h 5 min`, `3 d 4 h`.
#[must_use]
pub fn length(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    let (d, h, m) = (s / 86_400, s / 3_600 % 24, s / 60 % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, m) => format!("{m} min"),
        (0, h, 0) => format!("{h} h"),
        (0, h, m) => format!("{h} h {m} min"),
        (d, 0, _) => format!("{d} d"),
        (d, h, _) => format!("{d} d {h} h"),
    }
}

/// How long ago, or in how long: `just now`, `3 min ago`, `in 2 h`. What is past is rounded down,
/// what is to come is rounded up: a week is "in 7 d". The page's script says the same.
#[must_use]
pub fn relative(at: UnixMs, now: UnixMs) -> String {
    let (away, ahead) = ((now - at).abs() / 1000, at > now);
    let units = |unit: i64| if ahead { (away + unit - 1) / unit } else { away / unit };
    let short = match away {
        ..60 => return if ahead { "in under a minute".to_owned() } else { "just now".to_owned() },
        60..3_600 => format!("{} min", units(60)),
        3_600..86_400 => format!("{} h", units(3_600)),
        _ => format!("{} d", units(86_400)),
    };
    if ahead { format!("in {short}") } else { format!("{short} ago") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(readable(1_700_000_000_123), "2023-11-14 22:13 UTC");
    }

    #[rstest]
    #[case(0, "0 s")]
    #[case(59_999, "59 s")]
    #[case(60_000, "1 min")]
    #[case(3_600_000, "1 h")]
    #[case(7_500_000, "2 h 5 min")]
    #[case(270_000_000, "3 d 3 h")]
    fn lengths(#[case] ms: i64, #[case] expected: &str) {
        assert_eq!(length(ms), expected);
    }

    #[rstest]
    #[case(0, "just now")]
    #[case(-90_000, "1 min ago")]
    #[case(-7_200_000, "2 h ago")]
    #[case(-200_000_000, "2 d ago")]
    #[case(90_000, "in 2 min")]
    #[case(604_799_000, "in 7 d")]
    #[case(30_000, "in under a minute")]
    fn relatives(#[case] offset: i64, #[case] expected: &str) {
        assert_eq!(relative(1_000_000_000 + offset, 1_000_000_000), expected);
    }
}
