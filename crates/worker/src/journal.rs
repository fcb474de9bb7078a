//! The worker's journal: every fact before it is told, every release before it is acted on.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use holdpoint_model::wire::{JOURNAL_FILE, JournalLine};

#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Begins the journal of this incarnation. One that is there already belongs to a worker with
    /// the same number, which must never be.
    pub(crate) fn begin(run_dir: &Path) -> io::Result<Self> {
        let file =
            OpenOptions::new().append(true).create_new(true).mode(0o600).open(run_dir.join(JOURNAL_FILE))?;
        Ok(Self { file })
    }

    /// Appends a line and says how long it is. It survives the end of this process at once.
    pub(crate) fn append(&mut self, line: &JournalLine) -> io::Result<usize> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        // One write: a crash leaves a whole line or a torn last one, which readers leave out.
        self.file.write_all(text.as_bytes())?;
        Ok(text.len())
    }

    /// Makes all lines survive the end of the machine as well.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
