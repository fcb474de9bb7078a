//! What a source is at.

use std::{fmt, str::FromStr};

use holdpoint_model::Digest;
use serde::{Deserialize, Serialize};

/// A commit of a repository, or the digest of a folder's files. As text, both are told apart by the latter's `sha256:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Revision {
    /// 40 or 64 hexadecimal digits.
    Commit(String),
    /// The digest of a local folder's files.
    Tree(Digest),
}

/// A text that is no revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRevision(String);

impl fmt::Display for NoRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is neither a whole commit (40 or 64 hexadecimal digits) nor a `sha256:` digest",
            self.0
        )
    }
}

impl std::error::Error for NoRevision {}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => f.write_str(commit),
            Self::Tree(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Revision {
    type Err = NoRevision;

    fn from_str(text: &str) -> Result<Self, NoRevision> {
        let no = || NoRevision(text.chars().take(80).collect());
        if let Some(hex) = text.strip_prefix("sha256:") {
            if hex.len() != 64 || !hex.bytes().all(is_hex) {
                return Err(no());
            }
            let digest = serde_json::from_value(serde_json::Value::String(text.to_owned()));
            return digest.map(Self::Tree).map_err(|_| no());
        }
        commit(text).map(Self::Commit).ok_or_else(no)
    }
}

impl From<Revision> for String {
    fn from(revision: Revision) -> Self {
        revision.to_string()
    }
}

impl TryFrom<String> for Revision {
    type Error = NoRevision;

    fn try_from(text: String) -> Result<Self, NoRevision> {
        text.parse()
    }
}

/// The text, if it is a whole commit, in the letters that git writes it in.
pub(crate) fn commit(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    (matches!(text.len(), 40 | 64) && text.bytes().all(is_hex)).then_some(text)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_through_text_and_back() {
        let digest = Digest::of_bytes(b"x");
        for revision in [
            Revision::Commit("0123456789abcdef0123456789abcdef01234567".into()),
            Revision::Commit("a".repeat(64)),
            Revision::Tree(digest),
        ] {
            assert_eq!(revision.to_string().parse(), Ok(revision.clone()));
            let json = serde_json::to_string(&revision).expect("json");
            assert_eq!(serde_json::from_str::<Revision>(&json).expect("back"), revision);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "main", "abc1234", "sha256:", "sha256:xyz", &"g".repeat(40), &"a".repeat(41)] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
        assert_eq!(
            "A".repeat(40).parse(),
            Ok(Revision::Commit("a".repeat(40))),
            "git writes commits in small letters"
        );
    }
}
