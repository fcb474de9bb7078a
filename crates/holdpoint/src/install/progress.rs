//! Progress of an installation: a bar for people, plain lines for logs.

use std::{path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::term::Term;

/// How often the bytes that have arrived are counted.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(150);

#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(term: Term) -> Self {
        let bar = term.has_error_screen.then(|| {
            let style = ProgressStyle::with_template(
                "  {msg:24} [{bar:30}] {bytes:>10} of {total_bytes} {bytes_per_sec}",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("━╸ ");
            ProgressBar::no_length().with_style(style)
        });
        Self { bar }
    }

    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// A download begins.
    pub(super) fn fetching(&self, from: &str, total_bytes: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(total_bytes);
                bar.set_position(0);
                bar.set_message(format!("fetching with {from}"));
            }
            None => eprintln!("  fetching with {from} (about {} MB)", total_bytes / 1_000_000),
        }
    }

    pub(super) fn arrived(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes.min(bar.length().unwrap_or(bytes)));
        }
    }

    pub(super) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(bar.length().unwrap_or(0));
                bar.set_message(what.to_owned());
                bar.tick();
            }
            None => eprintln!("  {what}"),
        }
    }

    pub(super) fn done(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{text}");
    }
}

/// The bytes of all files below a folder. Files come and go while it looks.
pub(super) fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
