//! Components: functions from data to markup, called by pages and by live fragments alike.

pub(super) mod chart;
pub(super) mod composer;
pub(super) mod decided;
pub(super) mod diff;
pub(super) mod element;
pub(super) mod facts;
pub(super) mod hold;
pub(super) mod inside;
pub(super) mod question;
pub(super) mod release;
pub(super) mod subject;
pub(super) mod suggestion;
pub(super) mod text;
pub(super) mod tool;

use holdpoint_model::{ExecutionId, Seq, Status, UnixMs};
use maud::{Markup, html};

use crate::time;

/// Who looks, and when: what a component needs beside its data.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) execution: ExecutionId,
    pub(super) now: UnixMs,
    pub(super) may_decide: bool,
    pub(super) may_steer: bool,
    /// Sees what workers do.
    pub(super) is_operator: bool,
    /// It is shown as it was once: nothing can be answered there.
    pub(super) past: bool,
    /// Where a form without scripts comes back to.
    pub(super) back: &'a str,
}

impl View<'_> {
    /// On the page of the conversation itself, with all that was said before.
    pub(super) fn is_conversation(&self) -> bool {
        self.back.starts_with("/executions/")
    }
}

/// A moment, relative to now; the page's script keeps it fresh.
pub(super) fn moment(at: UnixMs, now: UnixMs) -> Markup {
    html! {
        time datetime=(time::rfc3339(at)) title=(time::readable(at)) data-clock="ago" { (time::relative(at, now)) }
    }
}

/// How long since `from`, counting on in the page.
pub(super) fn running_since(from: UnixMs, now: UnixMs) -> Markup {
    html! {
        time datetime=(time::rfc3339(from)) data-clock="since" { (time::length(now - from)) }
    }
}

/// A link to a part of a conversation that goes on being good, also when that part is on no first page any more.
/// Where the part's own element is known by another name, the link is what is gone to: `anchor` begins its id.
pub(super) fn permalink(view: &View<'_>, seq: Seq, anchor: Option<&str>) -> Markup {
    html! {
        a.permalink id=[anchor.map(|anchor| format!("{anchor}-{seq}"))]
            href={ "/executions/" (view.execution) "?at=" (seq) "#e-" (seq) } title="Link to this point" {
            "#" span.unseen { " link to this point" }
        }
    }
}

/// The status of an execution in words.
pub(super) fn status_words(status: Status) -> &'static str {
    match status {
        Status::Starting => "Starting",
        Status::Running => "Working",
        Status::Awaiting => "Waiting for a person",
        Status::Finished => "Finished",
        Status::Error => "Failed",
        Status::Cancelled => "Cancelled",
    }
}

/// The status of an execution as a sign.
pub(super) fn status(status: Status) -> Markup {
    html! { span.chip data-status=(status.as_str()) { (status_words(status)) } }
}

/// Dollars with as many digits as say something.
pub(super) fn dollars(micros: u64) -> String {
    let dollars = crate::dollars(micros);
    match micros {
        0 => "$0".to_owned(),
        1..10_000 => format!("${dollars:.4}"),
        10_000..1_000_000 => format!("${dollars:.3}"),
        _ => format!("${dollars:.2}"),
    }
}

/// A count with thousands apart.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size in bytes.
#[allow(clippy::cast_precision_loss)]
pub(super) fn size(bytes: u64) -> String {
    let b = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", b / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", b / 1e6),
        _ => format!("{:.1} GB", b / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(dollars(0), "$0");
        assert_eq!(dollars(1_234), "$0.0012");
        assert_eq!(dollars(123_456), "$0.123");
        assert_eq!(dollars(12_345_678), "$12.35");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(123), "123");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(12_345), "12.3 kB");
    }
}
