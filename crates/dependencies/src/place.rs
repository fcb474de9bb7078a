//! Where something was asked for, and in which words.

use std::{fmt, sync::Arc};

/// The most that is shown of a line, in characters: enough for a requirement, too little to fill a screen.
const MAX_SHOWN: usize = 160;

/// A line of a file of one of the repositories.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The repository's name, such as `master`.
    pub repository: Arc<str>,
    /// The file, from the repository's folder.
    pub file: Arc<str>,
    /// The line, from one.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}:{}", self.repository, self.file, self.line)
    }
}

/// A constraint as it was written, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// Where.
    pub place: Place,
    /// What it says, fit to be shown: on one line, and without what may be a secret.
    pub text: String,
}

impl Asked {
    pub(crate) fn new(place: Place, text: &str) -> Self {
        Self { place, text: shown(text) }
    }
}

/// Something that whoever merges should know, though nothing is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// What it is about.
    pub place: Place,
    /// In words.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// What was written, so that it can be shown: nothing that moves a terminal's cursor, not too long, and
/// neither user nor password of an address.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = crate::address::without_secrets(text)
        .chars()
        .take(MAX_SHOWN + 1)
        .map(|c| if c.is_control() || crate::lines::is_unseen(c) { '\u{fffd}' } else { c })
        .collect();
    if let Some((end, _)) = shown.char_indices().nth(MAX_SHOWN) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}
