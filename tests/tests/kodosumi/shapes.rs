//! What was recorded of the replaced panel, reduced to status, keys, types and event names, and a comparer of
//! answers with it. `tests/kodosumi/*.json` is made of the recordings, which hold other people's data.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

const SHAPES: &str = include_str!("../../kodosumi/shapes.json");
const STREAMS: &str = include_str!("../../kodosumi/streams.json");

/// Recordings whose status differs here, and why. Each is a fault that was not copied.
const OTHER_STATUS: [(&str, u16, &str); 1] =
    [("flow_register_bad", 400, "no address that a client names is asked, so nothing can fail at it")];

/// Kinds of which an agent's own work decides how many come, and when.
const FREE: [&str; 5] = ["result", "action", "stdout", "stderr", "debug"];

/// The tables, and which recordings were replayed.
pub(crate) struct Recorded {
    tables: Value,
    streams: Value,
    replayed: BTreeSet<String>,
}

impl Recorded {
    pub(crate) fn load() -> Result<Self> {
        let (tables, streams) = (serde_json::from_str(SHAPES)?, serde_json::from_str(STREAMS)?);
        Ok(Self { tables, streams, replayed: BTreeSet::new() })
    }

    /// Holds an answer against a recording: status, keys and types.
    pub(crate) fn check(&mut self, name: &str, status: u16, body: &Value) -> Result<()> {
        let recorded = &self.tables["recorded"][name];
        ensure!(!recorded.is_null(), "there is no recording {name}");
        let other = OTHER_STATUS.iter().find(|(other, _, _)| *other == name).map(|(_, status, _)| *status);
        let expected = other.map(u64::from).or_else(|| recorded["status"].as_u64());
        ensure!(
            expected == Some(u64::from(status)),
            "{name}: status {status}, recorded {expected:?}: {body}"
        );
        if let Some(shape) = recorded["shape"].as_str() {
            self.fits(&self.tables["shapes"][shape], body)
                .with_context(|| format!("{name} has another shape: {body:#}"))?;
        }
        self.replayed.insert(name.to_owned());
        Ok(())
    }

    /// Holds the events of a stream against a recording: the names in order, and what is in them.
    pub(crate) fn check_stream(&mut self, name: &str, events: &[Frame]) -> Result<()> {
        let recorded: Vec<&str> =
            self.streams["kinds"][name].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let fixed = |names: &[&str]| -> Vec<String> {
            names.iter().filter(|name| !FREE.contains(name)).map(|name| (*name).to_owned()).collect()
        };
        let told: Vec<String> = events.iter().map(Frame::name).collect();
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        ensure!(fixed(&told) == fixed(&recorded), "{name}: {told:?}, recorded {recorded:?}");
        let foreign = told.iter().find(|told| !recorded.contains(told));
        ensure!(foreign.is_none(), "{name} has {foreign:?}, which is in no such recording");
        for event in events {
            let shape = &self.streams["payloads"][&event.kind];
            if name != "main" && !shape.is_null() {
                let payload: Value = serde_json::from_str(&event.payload).context(event.payload.clone())?;
                self.fits(shape, &payload).with_context(|| format!("{name}: {payload:#}"))?;
            }
        }
        Ok(())
    }

    /// Recordings that were not replayed, but for those that are listed.
    pub(crate) fn not_replayed(&self, listed: &[(&str, &str)]) -> Vec<String> {
        let all = self.tables["recorded"].as_object().into_iter().flat_map(serde_json::Map::keys);
        all.filter(|name| !self.replayed.contains(*name) && !listed.iter().any(|(listed, _)| listed == name))
            .cloned()
            .collect()
    }

    fn fits(&self, shape: &Value, value: &Value) -> Result<()> {
        match shape {
            // An empty list was recorded: anything may be in it.
            Value::Null => Ok(()),
            Value::String(types) => {
                let is = type_of(value);
                ensure!(types.split('|').any(|known| known == is), "{value} is no {types}");
                Ok(())
            }
            Value::Object(shape) => {
                let (rule, inner) = shape.iter().next().context("an empty shape")?;
                self.fits_rule(rule, inner, value).with_context(|| format!("in {value}"))
            }
            _ => bail!("no shape: {shape}"),
        }
    }

    fn fits_rule(&self, rule: &str, inner: &Value, value: &Value) -> Result<()> {
        match rule {
            "any" => Ok(()),
            "element" => self.fits_element(value),
            "list" => value.as_array().context("no list")?.iter().try_for_each(|item| self.fits(inner, item)),
            "values" => {
                value.as_object().context("no object")?.values().try_for_each(|value| self.fits(inner, value))
            }
            "keys" => {
                let (inner, value) =
                    (inner.as_object().context("keys")?, value.as_object().context("no object")?);
                let missing = inner.keys().find(|key| !value.contains_key(*key));
                ensure!(missing.is_none(), "{missing:?} is missing");
                // `/health` is Holdpoint's own, too; nothing else has more than was recorded.
                let more = value
                    .keys()
                    .find(|key| !inner.contains_key(*key) && !matches!(key.as_str(), "status" | "version"));
                ensure!(more.is_none(), "{more:?} was not recorded");
                inner.iter().try_for_each(|(key, shape)| self.fits(shape, &value[key]).context(key.clone()))
            }
            _ => bail!("no rule: {rule}"),
        }
    }

    /// A form's element: the keys of its kind. What it can do without is null.
    fn fits_element(&self, value: &Value) -> Result<()> {
        let kind = value["type"].as_str().context("an element has a type")?;
        let known =
            self.tables["elements"][kind].as_object().with_context(|| format!("no element {kind}"))?;
        let element = value.as_object().context("no object")?;
        ensure!(known.keys().eq(element.keys()), "{kind} has other keys: {value}");
        element.iter().filter(|(_, value)| !value.is_null()).try_for_each(|(key, value)| {
            match known[key].as_str() {
                // Only nulls were recorded of it.
                Some("null") => Ok(()),
                _ => self.fits(&known[key], value).context(key.clone()),
            }
        })
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// One event of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) id: u64,
    pub(crate) kind: String,
    /// Without its time.
    pub(crate) payload: String,
}

impl Frame {
    /// A status with its word.
    fn name(&self) -> String {
        if self.kind == "status" { format!("status:{}", self.payload) } else { self.kind.clone() }
    }
}

/// Reads a whole stream, and checks what all of them have in common.
pub(crate) fn frames(text: &str) -> Result<Vec<Frame>> {
    ensure!(!text.replace("\r\n", "").contains(['\r', '\n']), "every line ends in CR LF: {text:?}");
    let mut frames: Vec<Frame> = Vec::new();
    for block in text.split("\r\n\r\n").filter(|block| !block.is_empty()) {
        let mut lines = block.split("\r\n");
        let mut field = |name: &str| {
            let line = lines.next().unwrap_or_default();
            line.strip_prefix(name).map(str::to_owned).with_context(|| format!("no {name:?} in {block:?}"))
        };
        let (id, kind, first) = (field("id: ")?.parse()?, field("event: ")?, field("data: ")?);
        let mut data = vec![first];
        for line in lines {
            data.push(line.strip_prefix("data: ").context("only data follows")?.to_owned());
        }
        let data = data.join("\n");
        let payload = if kind == "eof" {
            data
        } else {
            let (at, payload) = data.split_once(':').context("a time before the payload")?;
            ensure!(at.contains('.') && at.parse::<f64>().is_ok(), "{at} is no float");
            payload.to_owned()
        };
        // A sign of life in silence is no event.
        if kind != "alive" {
            frames.push(Frame { id, kind, payload });
        }
    }
    let ids: Vec<u64> = frames.iter().filter(|frame| frame.kind != "eof").map(|frame| frame.id).collect();
    ensure!(ids.is_sorted_by(|a, b| a < b), "ids grow: {ids:?}");
    Ok(frames)
}
