//! What a script may say. See `scripts/tour.yaml` for one to read, `scripts/holds.yaml` for all of it.

use std::fmt;

use holdpoint_model::pricing::Tokens;
use regex::Regex;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::limits::{MAX_DELAY_MS, MAX_SCRIPT_BYTES};

/// A script: scenes, one of which a conversation plays.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it is, for people.
    #[serde(default)]
    pub title: String,
    /// The scenes; the first whose `when` matches is played, one without `when` matches always.
    #[serde(deserialize_with = "scenes")]
    pub scenes: Vec<Scene>,
    /// The name it was parsed under, for messages.
    #[serde(skip)]
    pub name: String,
}

/// A scene: what happens in a conversation that begins with certain words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// Its name, for the journal and for messages.
    #[serde(default)]
    pub name: String,
    /// When it is played.
    #[serde(default)]
    pub when: Option<When>,
    /// One list of steps for every message of the person. Past the last turn, the script says so.
    #[serde(deserialize_with = "turns")]
    pub turns: Vec<Vec<Step>>,
    /// The line it stands on; 0 if it was not parsed.
    #[serde(skip)]
    pub line: u64,
}

/// A regular expression that the conversation's first user message is searched with. A subagent's
/// first user message is the prompt it was started with.
#[derive(Debug, Clone)]
pub struct When(pub Regex);

/// One answer of the scripted model: what it says, how it comes, and what goes wrong with it first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// A thinking block, signed like a real one.
    pub think: Option<String>,
    /// A text block.
    pub text: Option<String>,
    /// The tool of a single tool use; its input is `input`.
    pub tool: Option<String>,
    /// The input of `tool`.
    pub input: Option<Value>,
    /// Several tool uses in one message.
    pub tools: Vec<ToolUse>,
    /// Milliseconds between two chunks.
    pub delay: u64,
    /// Characters in a chunk.
    pub chunk: Option<usize>,
    /// Tokens to report; estimated from the lengths otherwise.
    pub usage: Option<Tokens>,
    /// Stop reason to report: `max_tokens`, `refusal`, …; `tool_use` or `end_turn` otherwise.
    pub stop_reason: Option<String>,
    /// Faults, one after another, before the step succeeds. A single one may be written without this,
    /// with the five keys of a [`Fault`] in the step itself.
    pub faults: Vec<Fault>,
    error: Option<u16>,
    retry_after: Option<u32>,
    cut_after: Option<usize>,
    sse_error: Option<String>,
    times: Option<u32>,
    /// The line it stands on; 0 if it was not parsed.
    #[serde(skip)]
    pub line: u64,
}

/// A tool use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolUse {
    /// The tool's name.
    pub tool: String,
    /// Its input.
    #[serde(default)]
    pub input: Value,
}

/// Something that goes wrong: exactly one of `error`, `cut_after` and `sse_error`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Answer with this HTTP status: 401, 429, 500, 529, …
    pub error: Option<u16>,
    /// The `retry-after` header's seconds, with `error`.
    pub retry_after: Option<u32>,
    /// Break the connection after so many events of the stream.
    pub cut_after: Option<usize>,
    /// End the stream with an error event of this type, in the middle.
    pub sse_error: Option<String>,
    /// How often, per conversation. Once if the step says something too, for ever if it does not.
    pub times: Option<u32>,
}

/// What is wrong with a script, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}: {message}")]
pub struct ScriptError {
    /// The file's name.
    pub name: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl Script {
    /// Reads and checks a script. `name` is what messages call it: its file's name.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(text: &str, name: &str) -> Result<Self, ScriptError> {
        let error = |line, message: String| ScriptError { name: name.to_owned(), line, message };
        if text.len() > MAX_SCRIPT_BYTES {
            return Err(error(
                1,
                format!("a script may have {MAX_SCRIPT_BYTES} bytes, this one has {}", text.len()),
            ));
        }
        let mut script: Self = serde_saphyr::from_str(text).map_err(|mistake| {
            let line = mistake.location().map_or(1, |location| location.line());
            let plain = mistake.without_snippet().to_string();
            let plain = plain.lines().next().unwrap_or_default();
            error(line, plain.rsplit_once(" at line ").map_or(plain, |(what, _)| what).to_owned())
        })?;
        name.clone_into(&mut script.name);
        script.check()?;
        Ok(script)
    }

    /// Whether the script can be played.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn check(&self) -> Result<(), ScriptError> {
        let error = |line, message: String| Err(ScriptError { name: self.name.clone(), line, message });
        if self.scenes.is_empty() {
            return error(1, "a script needs at least one scene: expected `scenes:` with a list".into());
        }
        for scene in &self.scenes {
            if scene.turns.is_empty() {
                return error(
                    scene.line,
                    "a scene needs at least one turn: expected `turns:` with a list".into(),
                );
            }
            for step in scene.turns.iter().flatten() {
                if let Err(message) = step.check() {
                    return error(step.line, message);
                }
            }
        }
        Ok(())
    }

    /// The scene that a conversation with these first words plays.
    #[must_use]
    pub fn scene(&self, first_prompt: &str) -> Option<&Scene> {
        self.scenes.iter().find(|scene| scene.when.as_ref().is_none_or(|when| when.0.is_match(first_prompt)))
    }
}

impl Step {
    /// A step that says `text`.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// A step that uses one tool.
    #[must_use]
    pub fn tool(tool: impl Into<String>, input: Value) -> Self {
        Self { tools: vec![ToolUse { tool: tool.into(), input }], ..Self::default() }
    }

    /// All its tool uses, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = ToolUse> + '_ {
        let single = self
            .tool
            .as_ref()
            .map(|tool| ToolUse { tool: tool.clone(), input: self.input.clone().unwrap_or_default() });
        single.into_iter().chain(self.tools.iter().cloned())
    }

    /// All its faults with the number of times each comes, in order.
    pub fn all_faults(&self) -> impl Iterator<Item = (Fault, u32)> + '_ {
        let default = if self.says_something() { 1 } else { u32::MAX };
        let all = self.own_fault().into_iter().chain(self.faults.iter().cloned());
        all.map(move |fault| {
            let times = fault.times.unwrap_or(default);
            (fault, times)
        })
    }

    fn own_fault(&self) -> Option<Fault> {
        let fault = Fault {
            error: self.error,
            retry_after: self.retry_after,
            cut_after: self.cut_after,
            sse_error: self.sse_error.clone(),
            times: self.times,
        };
        (fault != Fault::default()).then_some(fault)
    }

    fn says_something(&self) -> bool {
        self.think.is_some() || self.text.is_some() || self.tool.is_some() || !self.tools.is_empty()
    }

    fn check(&self) -> Result<(), String> {
        if !self.says_something() && self.all_faults().next().is_none() {
            return Err("an empty step: expected `text`, `think`, `tool`, `tools` or a fault".into());
        }
        if self.input.is_some() && self.tool.is_none() {
            return Err("`input` without `tool`: expected `tool:` with the name of a tool".into());
        }
        let blank = |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
        if blank(&self.text) || blank(&self.think) {
            return Err("a blank text: the API has no empty text blocks, leave it out".into());
        }
        let an_object = |input: &Value| input.is_null() || input.is_object();
        if let Some(tool) = self.tool_uses().find(|tool| !an_object(&tool.input)) {
            return Err(format!(
                "the input of {} is no mapping: expected `input: {{name: value}}`",
                tool.tool
            ));
        }
        if self.delay > MAX_DELAY_MS {
            return Err(format!("`delay: {}` is too long: expected at most {MAX_DELAY_MS} ms", self.delay));
        }
        if self.chunk == Some(0) {
            return Err("`chunk: 0`: expected at least one character".into());
        }
        self.all_faults().try_for_each(|(fault, _)| fault.check())
    }
}

impl Fault {
    fn check(&self) -> Result<(), String> {
        let kinds = [self.error.is_some(), self.cut_after.is_some(), self.sse_error.is_some()];
        if kinds.into_iter().filter(|is| *is).count() != 1 {
            return Err("a fault is exactly one of `error`, `cut_after` and `sse_error`".into());
        }
        if self.error.is_some_and(|status| !(400..600).contains(&status)) {
            return Err("`error` is an HTTP status from 400 to 599".into());
        }
        if self.retry_after.is_some() && self.error.is_none() {
            return Err("`retry_after` goes with `error`".into());
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        Regex::new(&pattern).map(Self).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            D::Error::custom(format!("`when` is no regular expression: {why}"))
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn scenes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Scene>, D::Error> {
    let scenes: Vec<Spanned<Scene>> = Vec::deserialize(deserializer)?;
    Ok(scenes.into_iter().map(|scene| Scene { line: scene.referenced.line(), ..scene.value }).collect())
}

fn turns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<Step>>, D::Error> {
    let turns: Vec<Vec<Spanned<Step>>> = Vec::deserialize(deserializer)?;
    let place = |step: Spanned<Step>| Step { line: step.referenced.line(), ..step.value };
    Ok(turns.into_iter().map(|turn| turn.into_iter().map(place).collect()).collect())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn reads_steps_tools_and_faults() {
        let script = Script::parse(
            "title: t\nscenes:\n  - when: '(?i)hello'\n    turns:\n      - - think: hm\n          tools:\n            - {tool: Bash, input: {command: ls}}\n            - tool: Noop\n        - error: 529\n          times: 2\n          text: at last\n        - sse_error: overloaded_error\n",
            "a.yaml",
        )
        .expect("script");
        let scene = script.scene("Hello").expect("scene");
        assert!(script.scene("bye").is_none());
        assert_eq!(scene.line, 3);
        let steps = &scene.turns[0];
        assert_eq!(steps[0].tool_uses().map(|tool| tool.tool).collect::<Vec<_>>(), ["Bash", "Noop"]);
        assert_eq!(steps[1].line, 9);
        assert_eq!(
            steps[1].all_faults().map(|(fault, times)| (fault.error, times)).collect::<Vec<_>>(),
            [(Some(529), 2)]
        );
        assert_eq!(steps[2].all_faults().next().expect("fault").1, u32::MAX, "nothing to say: for ever");
    }

    #[rstest]
    #[case("scenes: []\n", 1, "at least one scene")]
    #[case("scenes:\n  - turns: []\n", 2, "at least one turn")]
    #[case("scenes:\n  - turns:\n      - - {}\n", 3, "an empty step")]
    #[case("scenes:\n  - turns:\n      - - text: a\n        - txt: b\n", 4, "txt")]
    #[case("scenes:\n  - when: '('\n    turns: [[{text: a}]]\n", 2, "`when` is no regular expression")]
    #[case("scenes:\n  - turns:\n      - - text: ' '\n", 3, "a blank text")]
    #[case("scenes:\n  - turns:\n      - - {text: a, error: 200}\n", 3, "400 to 599")]
    #[case("scenes:\n  - turns:\n      - - {tool: Bash, input: ls}\n", 3, "no mapping")]
    #[case("scenes: {\n", 1, "")]
    #[case("", 1, "")]
    fn names_file_line_and_what_is_expected(#[case] text: &str, #[case] line: u64, #[case] part: &str) {
        let error = Script::parse(text, "a.yaml").expect_err("mistake");
        assert!(error.message.contains(part), "{error}");
        assert_eq!(error.line, line, "{error}");
        assert!(error.to_string().starts_with("a.yaml:"), "{error}");
    }
}
