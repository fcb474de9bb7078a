//! What was found, and where.

use std::fmt;

use serde::Serialize;

/// A line of a file of the checkout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The file, from the checkout's folder.
    pub file: String,
    /// The line, from one; absent where the whole file is meant.
    pub line: Option<usize>,
}

impl Place {
    /// A line of a file.
    #[must_use]
    pub fn line(file: &str, line: usize) -> Self {
        Self { file: file.to_owned(), line: Some(line).filter(|line| *line > 0) }
    }

    /// A whole file.
    #[must_use]
    pub fn file(file: &str) -> Self {
        Self { file: file.to_owned(), line: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// What a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Something that cannot be what was meant. It was not taken over.
    Error,
    /// A secret that stands where it may be read.
    Danger,
    /// One value that stands in several places, and differs.
    Differs,
    /// Something that a person has to do.
    ToDo,
    /// Something that is in `holdpoint.toml` now.
    Taken,
    /// Something that has no counterpart. Nothing needs to be done about it.
    NotTaken,
}

impl Kind {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Error, Self::Danger, Self::Differs, Self::ToDo, Self::Taken, Self::NotTaken];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Danger => "dangerous",
            Self::Differs => "differs",
            Self::ToDo => "to do",
            Self::Taken => "taken over",
            Self::NotTaken => "not taken",
        })
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where; several lines where they belong together.
    pub places: Vec<Place>,
    /// What was found, and why it matters.
    pub what: String,
    /// What to do; empty where there is nothing to do.
    pub next: String,
}
