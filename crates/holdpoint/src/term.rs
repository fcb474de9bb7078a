//! The terminal: what it can show, and lines that the person types.

use std::io::{self, IsTerminal as _, Write as _};

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
}

impl Term {
    /// Of this process.
    #[must_use]
    pub fn detect(no_color: bool) -> Self {
        let has_screen = io::stdout().is_terminal();
        Self {
            has_keyboard: io::stdin().is_terminal(),
            has_screen,
            has_error_screen: io::stderr().is_terminal(),
            color: has_screen && !no_color,
        }
    }

    /// Whether questions can be asked and answered.
    #[must_use]
    pub fn is_interactive(self) -> bool {
        self.has_keyboard && self.has_screen
    }
}

/// Writes to stdout at once. A reader that went away ends the command, silently (see `main`).
///
/// # Errors
/// When nobody reads any more.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
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
