//! What the bridge wrote down about the session's container.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use holdpoint_model::{
    container::Note,
    wire::{Bridge, WorkerSpec},
};

/// Notes of one kind that are passed on at most: a fork bomb has many.
const MOST: usize = 5;

/// Reads notes as they come.
#[derive(Debug)]
pub(crate) struct Notes {
    bridge: Option<Bridge>,
    read: u64,
    told: [usize; 3],
}

impl Notes {
    pub(crate) fn of(spec: &WorkerSpec) -> Self {
        Self { bridge: spec.bridge.clone(), read: 0, told: [0; 3] }
    }

    /// What is new and worth telling.
    pub(crate) fn news(&mut self) -> io::Result<Vec<Note>> {
        let Some(bridge) = &self.bridge else { return Ok(Vec::new()) };
        let mut file = match File::open(&bridge.notes) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A last line that is still being written is read with the next look.
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        self.read += whole as u64;
        let notes = text[..whole].lines().filter_map(|line| serde_json::from_str(line).ok());
        Ok(notes.filter(|note| self.is_worth(note)).collect())
    }

    fn is_worth(&mut self, note: &Note) -> bool {
        let told = &mut self.told[match note {
            Note::OutOfMemory { .. } => 0,
            Note::TooManyProcesses { .. } => 1,
            Note::Full { .. } => 2,
            // For the control plane, which reads it when this worker is gone.
            Note::NotStarted { .. } => return false,
        }];
        *told += 1;
        *told <= MOST
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn notes_are_told_once_and_not_without_end() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notes");
        let bridge = Bridge {
            program: "p".into(),
            folder: dir.path().into(),
            notes: path.clone(),
            memory_bytes: None,
            processes: None,
            gateway: None,
        };
        let mut notes = Notes { bridge: Some(bridge), read: 0, told: [0; 3] };
        assert_eq!(notes.news().expect("none yet"), []);
        let mut file = File::create(path).expect("file");
        let note = Note::OutOfMemory { killed: 1 };
        let line = serde_json::to_string(&note).expect("json");
        write!(file, "{line}\nnonsense\n{}", &line[..5]).expect("write");
        assert_eq!(notes.news().expect("one"), std::slice::from_ref(&note));
        writeln!(file, "{}", &line[5..]).expect("write");
        assert_eq!(notes.news().expect("the rest of a line"), [note]);
        for _ in 0..10 {
            writeln!(file, "{line}").expect("write");
        }
        assert_eq!(notes.news().expect("more").len(), MOST - 2);
    }
}
