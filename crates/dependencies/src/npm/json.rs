//! JSON that remembers where each entry stands, and that a name stands in it twice.

use std::fmt;

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// The entries of an object, in order, their values unread.
pub(super) struct Entries<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, `{ … }`")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(All)
    }
}

/// A text, and where its lines begin.
pub(super) struct Text<'a> {
    text: &'a str,
    begins: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self { text, begins: std::iter::once(0).chain(breaks).collect() }
    }

    /// The line, from one, in which a value of this text begins.
    pub(super) fn line(&self, value: &RawValue) -> usize {
        // A value is a part of the text itself: where it is in memory tells where it is in the text.
        let at = (value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.begins.partition_point(|&begin| begin <= at).max(1)
    }
}
