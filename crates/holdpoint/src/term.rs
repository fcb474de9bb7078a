//! The terminal: what it can show, and lines that the person types.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
};

use tokio::sync::mpsc;

/// What the streams of this process are connected to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Term {
    /// A person can type.
    pub has_keyboard: bool,
    /// A person reads what is printed.
    pub has_screen: bool,
    /// A person reads progress and errors.
    pub has_error_screen: bool,
    /// Colours may be used on the screen.
    pub color: bool,
    /// Colours may be used in what goes to stderr.
    pub error_color: bool,
}

impl Term {
    /// Of this process.
    #[must_use]
    pub fn detect(no_color: bool) -> Self {
        let has_screen = io::stdout().is_terminal();
        let has_error_screen = io::stderr().is_terminal();
        Self {
            has_keyboard: io::stdin().is_terminal(),
            has_screen,
            has_error_screen,
            color: has_screen && !no_color,
            error_color: has_error_screen && !no_color,
        }
    }

    /// Whether questions can be asked and answered.
    #[must_use]
    pub fn is_interactive(self) -> bool {
        self.has_keyboard && self.has_screen
    }
}

/// Nobody reads what we print any more, as after `| head -1`. It ends the command, and is no error
/// that anybody has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads any more")
    }
}

impl std::error::Error for NobodyReads {}

/// Whether that is how a command ended.
#[must_use]
pub fn nobody_reads(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<NobodyReads>())
    })
}

/// Writes to stdout at once.
///
/// # Errors
/// [`NobodyReads`], or what else keeps it from being written.
pub fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// As [`print`], for what is no text.
///
/// # Errors
/// As [`print`].
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    Stdout.write_all(bytes)?;
    Stdout.flush()
}

/// Stdout, for what is written piece by piece: says [`NobodyReads`] as [`print`] does.
#[derive(Clone, Copy, Debug)]
pub struct Stdout;

impl io::Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().lock().write(bytes).map_err(or_nobody_reads)
    }
    fn flush(&mut self) -> io::Result<()> {
        io::stdout().lock().flush().map_err(or_nobody_reads)
    }
}

fn or_nobody_reads(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, NobodyReads),
        _ => error,
    }
}

/// As [`print`], with the end of the line.
///
/// # Errors
/// When nobody reads any more.
pub fn line(text: &str) -> io::Result<()> {
    print(&format!("{text}\n"))
}

/// A value as JSON for scripts, on one line.
///
/// # Errors
/// When nobody reads any more.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string(value)?)?)
}

/// The lines that the person types. A thread reads one when it is asked for, and no further, so that
/// an editor started in between has the keyboard to itself, and waiting for a line never keeps
/// anything else waiting. The thread ends with the process.
#[derive(Debug)]
pub struct Lines {
    wanted: std::sync::mpsc::Sender<()>,
    typed: mpsc::Receiver<Option<String>>,
    is_asked: bool,
}

impl Lines {
    /// Of stdin.
    #[must_use]
    pub fn start() -> Self {
        let (wanted, wants) = std::sync::mpsc::channel();
        let (sender, typed) = mpsc::channel(1);
        std::thread::spawn(move || {
            let mut lines = io::stdin().lines();
            while let Ok(()) = wants.recv() {
                let line = lines.next().and_then(Result::ok);
                let ended = line.is_none();
                if sender.blocking_send(line).is_err() || ended {
                    break;
                }
            }
        });
        Self { wanted, typed, is_asked: false }
    }

    /// The next line; None once the person closed the input (Ctrl-D). May be dropped and called
    /// again without losing one.
    pub async fn next(&mut self) -> Option<String> {
        if !self.is_asked && self.wanted.send(()).is_err() {
            return None;
        }
        self.is_asked = true;
        let line = self.typed.recv().await.flatten();
        self.is_asked = false;
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_reader_that_went_away_is_told_from_a_connection_that_broke() {
        let gone: anyhow::Result<()> =
            Err(io::Error::new(io::ErrorKind::BrokenPipe, NobodyReads)).context("on the way");
        assert!(nobody_reads(&gone.expect_err("made")));
        let broken = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(!nobody_reads(&broken));
    }
}
