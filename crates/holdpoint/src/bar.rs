//! A progress bar for a person; nothing where nobody looks.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::term::Term;

/// What takes no longer than a moment shows no bar.
const SHOWN_AFTER: Duration = Duration::from_millis(300);

/// A progress bar. Cheap to clone; all clones are one bar.
#[derive(Clone, Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// Of so many bytes.
    #[must_use]
    pub fn bytes(term: Term, what: &str, total: u64) -> Self {
        Self::new(term, what, total, "  {msg:22} [{bar:30}] {bytes:>10} of {total_bytes} {bytes_per_sec}")
    }

    /// Of so many things.
    #[must_use]
    pub fn things(term: Term, what: &str, total: u64) -> Self {
        Self::new(term, what, total, "  {msg:22} [{bar:30}] {pos:>7} of {len}")
    }

    fn new(term: Term, what: &str, total: u64, template: &str) -> Self {
        if !term.has_error_screen {
            return Self(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden())
            .with_style(style.progress_chars("━╸ "))
            .with_message(what.to_owned());
        Self(bar)
    }

    /// So many more.
    pub fn add(&self, n: usize) {
        self.0.inc(n as u64);
        self.show();
    }

    /// So many by now.
    pub fn set(&self, n: u64) {
        self.0.set_position(n.min(self.0.length().unwrap_or(n)));
        self.show();
    }

    /// It is over: nothing of the bar stays.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }

    fn show(&self) {
        if self.0.is_hidden() && self.0.length().is_some() && self.0.elapsed() > SHOWN_AFTER {
            self.0.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}
