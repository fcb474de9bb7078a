//! What a rehearsal is answered from.

use std::{path::Path, sync::Arc};

use super::{Script, ScriptError};
use crate::cassette::Cassette;

/// How the name of a cassette's file ends.
const EXTENSION: &str = "cassette";

/// A script, written by hand, or a cassette, recorded.
#[derive(Debug, Clone)]
pub enum Source {
    /// A script.
    Script(Arc<Script>),
    /// A cassette.
    Cassette(Arc<Cassette>),
}

impl Source {
    /// Reads either: a cassette is known by how it begins, or by the end of its file's name.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ScriptError> {
        if Cassette::is_one(text) || Path::new(name).extension().is_some_and(|end| end == EXTENSION) {
            return Cassette::parse(text, name).map(|cassette| Self::Cassette(Arc::new(cassette)));
        }
        Script::parse(text, name).map(|script| Self::Script(Arc::new(script)))
    }
}
