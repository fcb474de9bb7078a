//! Paths and link targets as a manifest writes them: any bytes a file system allows, as readable text.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt as _, path::Path};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Longer paths are left out of a checkpoint. The system takes 4 096 bytes at most, and the
/// destination of a restore needs its share.
pub(crate) const MAX_PATH_BYTES: usize = 3_000;

/// The longest name of one file or folder on every file system in use.
const MAX_NAME_BYTES: usize = 255;

/// Where an entry is below the root of its tree; the root itself is empty. No component is empty,
/// `.` or `..`, so that joined to a folder it leads nowhere else.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// The root of a tree.
    pub(crate) fn root() -> Self {
        Self(Vec::new())
    }

    /// From bytes, if they are a path that stays below the root.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        let is_fine = |name: &[u8]| {
            !matches!(name, b"" | b"." | b"..") && name.len() <= MAX_NAME_BYTES && !name.contains(&0)
        };
        let fine = bytes.is_empty()
            || bytes.len() <= MAX_PATH_BYTES && bytes.split(|byte| *byte == b'/').all(is_fine);
        fine.then_some(Self(bytes))
    }

    /// The folder it is in; the root is in none.
    pub(crate) fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_owned()))
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// As a path of the system, relative.
    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Below this folder.
    pub(crate) fn below(&self, root: &Path) -> std::path::PathBuf {
        if self.is_root() { root.to_owned() } else { root.join(self.as_path()) }
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&if self.is_root() { ".".to_owned() } else { encode(&self.0) })
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for EntryPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for EntryPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = decode_from(from)?;
        Self::new(bytes).ok_or_else(|| D::Error::custom("a path leads out of its tree, or is no path"))
    }
}

/// Where a symbolic link points: kept as it is, never followed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LinkTarget(Vec<u8>);

impl LinkTarget {
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty() && bytes.len() < 4_096 && !bytes.contains(&0)).then_some(Self(bytes))
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LinkTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl Serialize for LinkTarget {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for LinkTarget {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(decode_from(from)?).ok_or_else(|| D::Error::custom("no link can point there"))
    }
}

fn decode_from<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    decode(&text).ok_or_else(|| D::Error::custom("a name is not written as this program writes it"))
}

/// UTF-8 stays as it is; `%` and bytes that are no UTF-8 become `%` and two digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// The bytes of what [`encode`] wrote. Any other spelling of the same bytes is refused, so that two
/// texts never mean one file.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_owned();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend(&part.as_bytes()[2..]);
    }
    (encode(&bytes) == text).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_stays_below_its_root() {
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "../a", "a\0b"] {
            assert_eq!(EntryPath::new(bad.into()), None, "{bad}");
        }
        assert_eq!(EntryPath::new(vec![b'a'; 256]), None);
        let deep = EntryPath::new(b"a/..b".to_vec()).expect("a path");
        assert_eq!(deep.to_string(), "a/..b");
        assert_eq!(deep.parent().and_then(|a| a.parent()), Some(EntryPath::root()));
    }

    #[test]
    fn one_name_has_one_spelling() {
        assert_eq!(encode(b"100%\xff\xc3\xa9"), "100%25%FF\u{e9}");
        for bad in ["%", "%2", "%zz", "%41", "%ff", "%c3%a9", "%+1"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
