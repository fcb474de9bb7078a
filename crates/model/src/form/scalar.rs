//! Numbers, dates and times as points on a line, so that one rule bounds them all.

use jiff::{civil::DateTime, tz::TimeZone};
use regex::{Regex, RegexBuilder};

use super::{Bound, FieldKind};

/// What a compiled pattern may take, in bytes: it is compiled for each form that comes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

/// The value as a point: a number itself, a date in days, a time of day and a date with a time in
/// milliseconds. None where it is none, written as browsers write it; whole numbers stay exact.
pub(super) fn scalar(kind: FieldKind, text: &str) -> Option<f64> {
    match kind {
        FieldKind::Number => text.parse().ok().filter(|number: &f64| number.is_finite()),
        FieldKind::Date => moment(&format!("{}T00:00", shaped_date(text)?)).map(|ms| ms / DAY_MS),
        FieldKind::Time => moment(&format!("1970-01-01T{}", shaped_time(text)?)),
        FieldKind::DateTime => {
            let (date, time) = text.split_once(['T', ' '])?;
            moment(&format!("{}T{}", shaped_date(date)?, shaped_time(time)?))
        }
        _ => None,
    }
}

/// The same of the end of a range.
pub(super) fn bound(kind: FieldKind, bound: &Bound) -> Option<f64> {
    match bound {
        Bound::Number(number) => (kind == FieldKind::Number && number.is_finite()).then_some(*number),
        Bound::Text(text) => scalar(kind, text),
    }
}

/// A step in the unit of [`scalar`].
pub(super) fn step(kind: FieldKind, step: f64) -> f64 {
    if kind == FieldKind::Number { step } else { step * 1000.0 }
}

/// Whether `point` is a whole number of steps from `base`, as well as floating-point numbers can tell.
pub(super) fn is_on_step(point: f64, base: f64, step: f64) -> bool {
    let steps = (point - base) / step;
    (steps - steps.round()).abs() <= 1e-9 * steps.abs().max(1.0)
}

/// A pattern that the whole of a text must match, as in HTML.
///
/// # Errors
/// Why it is none.
pub(super) fn whole(pattern: &str) -> Result<Regex, String> {
    let compile = |pattern: &str| RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
    // By itself first: brackets that only close together with ours would undo the anchors.
    compile(pattern).and_then(|_| compile(&format!(r"\A(?:{pattern})\z"))).map_err(|error| {
        error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

fn moment(text: &str) -> Option<f64> {
    let moment = TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "ten thousand years of milliseconds are exact")]
    Some(moment.as_millisecond() as f64)
}

/// `0000-00-00`; the parser after us takes more than that.
fn shaped_date(text: &str) -> Option<&str> {
    fits(text, "dddd-dd-dd").then_some(text)
}

/// `00:00`, `00:00:00`, `00:00:00.000`, without a leap second.
fn shaped_time(text: &str) -> Option<&str> {
    let shapes = ["dd:dd", "dd:dd:dd", "dd:dd:dd.d", "dd:dd:dd.dd", "dd:dd:dd.ddd"];
    let leaps = text.as_bytes().get(6).is_some_and(|digit| *digit > b'5');
    (shapes.iter().any(|shape| fits(text, shape)) && !leaps).then_some(text)
}

fn fits(text: &str, shape: &str) -> bool {
    text.len() == shape.len()
        && text.bytes().zip(shape.bytes()).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}
