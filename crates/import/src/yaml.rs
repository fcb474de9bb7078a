//! YAML (and JSON, which is YAML but for tabs) as a tree whose every value knows its line.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Spanned, options::DuplicateKeyPolicy};

/// Bounds on what a text may make of itself: `&a [*b, *b]` upon itself a few times is gigabytes.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 48;
const MAX_REPLAYED: usize = 20_000;

/// A value and its line.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The line, from one.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) value: Value,
}

/// What a node is. Numbers and switches are texts, too: only what they are for says what they are.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A scalar.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A table, in its order. A key may come twice.
    Table(Vec<(Key, Node)>),
}

/// A key and its line.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The key.
    pub(crate) name: String,
    /// The line, from one.
    pub(crate) line: usize,
}

/// Why a text could not be read. What the parser says is not passed on: it quotes the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    /// The line, if it is known.
    pub(crate) line: Option<usize>,
}

impl Node {
    /// The values of a table; none of anything else.
    pub(crate) fn entries(&self) -> &[(Key, Self)] {
        if let Value::Table(entries) = &self.value { entries } else { &[] }
    }

    /// The values of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        if let Value::List(items) = &self.value { items } else { &[] }
    }

    /// The first value under a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// A scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    /// Calls `see` with every scalar below, and the key that it stands under.
    pub(crate) fn each<'a>(&'a self, key: &'a str, see: &mut impl FnMut(&'a str, &'a str, usize)) {
        match &self.value {
            Value::Null => {}
            Value::Text(text) => see(key, text, self.line),
            Value::List(items) => items.iter().for_each(|item| item.each(key, see)),
            Value::Table(entries) => entries.iter().for_each(|(key, node)| node.each(&key.name, see)),
        }
    }

    /// Calls `see` with every key that comes twice in one table: its name, and both lines.
    pub(crate) fn each_twice<'a>(&'a self, see: &mut impl FnMut(&'a str, usize, usize)) {
        self.items().iter().for_each(|item| item.each_twice(see));
        let mut first = std::collections::BTreeMap::new();
        for (key, node) in self.entries() {
            if let Some(line) = first.insert(key.name.as_str(), key.line) {
                see(&key.name, line, key.line);
            }
            node.each_twice(see);
        }
    }
}

/// Reads a text of one document.
///
/// # Errors
/// If it is no YAML, or too much of it.
pub(crate) fn parse(text: &str) -> Result<Node, Unreadable> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPLAYED },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| Unreadable {
        line: error.location().and_then(|at| usize::try_from(at.line()).ok()).filter(|line| *line > 0),
    })
}

/// Reads JSON, with the lines that a JSON parser would not tell.
///
/// # Errors
/// If it is none.
pub(crate) fn parse_json(text: &str) -> Result<Node, Unreadable> {
    // No text of JSON goes over a line's end, so that a tab at its start is never in one.
    let spaces = |line: &str| {
        let tabs = line.len() - line.trim_start_matches('\t').len();
        " ".repeat(tabs) + &line[tabs..]
    };
    parse(&text.split('\n').map(spaces).collect::<Vec<_>>().join("\n"))
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { line: line_of(&spanned), value: spanned.value })
    }
}

fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or_default()
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_bytes<E>(self, _: &[u8]) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Value>>()? {
            let line = line_of(&key);
            let name = if let Value::Text(name) = key.value { name } else { String::new() };
            entries.push((Key { name, line }, access.next_value()?));
        }
        Ok(Value::Table(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let node = parse("# a\na: 1\nb:\n  - x\n  - c: \"y\"\n    d: 1.5\ne: null\n2: true\n").expect("fits");
        let mut seen = Vec::new();
        node.each("", &mut |key, text, line| seen.push((key.to_owned(), text.to_owned(), line)));
        let seen: Vec<(&str, &str, usize)> =
            seen.iter().map(|(k, t, l)| (k.as_str(), t.as_str(), *l)).collect();
        assert_eq!(seen, [("a", "1", 2), ("b", "x", 4), ("c", "y", 5), ("d", "1.5", 6), ("2", "true", 8)]);
        let json = parse_json("{\n\t\"a\": {\n\t\t\"b\": \"t\\tu\"\n\t}\n}").expect("fits");
        assert_eq!(
            json.get("a").and_then(|a| a.get("b")).map(|b| (b.line, b.text())),
            Some((3, Some("t\tu")))
        );
    }

    #[test]
    fn keys_that_come_twice() {
        let mut twice = Vec::new();
        parse("a: 1\nb: {c: 1, c: 2}\na: 2\n")
            .expect("fits")
            .each_twice(&mut |name, a, b| twice.push((name.to_owned(), a, b)));
        assert_eq!(twice, [("c".to_owned(), 2, 2), ("a".to_owned(), 1, 3)]);
    }

    #[test]
    fn a_text_that_makes_too_much_of_itself_is_refused_in_no_time() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            laughs.push_str(&format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", ")));
        }
        let begun = std::time::Instant::now();
        assert!(parse(&laughs).is_err());
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse("a: 1\n---\nb: 2\n").is_err());
        assert!(parse("a: [1\nb").is_err_and(|error| error.line.is_some()));
        assert!(begun.elapsed().as_secs() < 5);
    }
}
