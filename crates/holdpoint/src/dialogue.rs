//! Answering a hold line by line. Knows no terminal: it is given lines and says what comes next.

use std::collections::BTreeMap;

use holdpoint_model::{HoldKind, hold::Question};
use serde_json::{Value, json};

use crate::{client::types::HoldItem, render::holds};

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ask for the next line, with this before it.
    Ask(String),
    /// Send this decision.
    Send(Value),
    /// Let the person edit this text, then call [`Dialogue::edited`].
    Edit(String),
    /// The conversation is done.
    Finish,
    /// Leave it open.
    Leave,
}

/// One hold being answered.
#[derive(Debug)]
pub struct Dialogue {
    hold: HoldItem,
    questions: Vec<Question>,
    answers: BTreeMap<String, Value>,
    at: At,
}

#[derive(Debug)]
enum At {
    Choice,
    Reason,
    Reply(Vec<String>),
    Question(usize),
}

impl Dialogue {
    /// Of this hold.
    #[must_use]
    pub fn new(hold: HoldItem) -> Self {
        let at = match hold.kind {
            Some(HoldKind::Reply) => At::Reply(Vec::new()),
            Some(HoldKind::Question) => At::Question(0),
            Some(HoldKind::Tool | HoldKind::Plan) | None => At::Choice,
        };
        Self { questions: hold.questions(), hold, answers: BTreeMap::new(), at }
    }

    /// The hold.
    #[must_use]
    pub fn hold(&self) -> &HoldItem {
        &self.hold
    }

    /// What to say before the next line.
    #[must_use]
    pub fn prompt(&self) -> String {
        match &self.at {
            At::Choice => {
                let mut choices = vec!["[a]llow".to_owned()];
                if let Some(rule) = &self.hold.subject.grant {
                    choices.push(format!("[c] all of{}in this conversation", holds::grant(rule)));
                }
                let deny = if self.hold.kind == Some(HoldKind::Plan) { "[d] send back" } else { "[d]eny" };
                choices.extend([deny.to_owned(), "[e]dit".to_owned(), "Enter: later".to_owned()]);
                format!("{} > ", choices.join(" · "))
            }
            At::Reason => "why? (Enter: no reason) > ".into(),
            At::Reply(lines) if lines.is_empty() => {
                "reply (/finish: it is done · Enter: later · \\ at the end: more lines) > ".into()
            }
            At::Reply(_) => "… > ".into(),
            At::Question(n) => {
                let many = if self.questions.len() > 1 {
                    format!("{} of {}: ", n + 1, self.questions.len())
                } else {
                    String::new()
                };
                let several = self.questions.get(*n).is_some_and(|question| question.multi_select);
                let numbers = if several { "numbers, as in 1,3," } else { "a number" };
                format!("{many}{numbers} or your own words (/skip: no answer at all · Enter: later) > ")
            }
        }
    }

    /// The person typed this.
    pub fn line(&mut self, line: &str) -> Step {
        let text = line.trim();
        match std::mem::replace(&mut self.at, At::Choice) {
            At::Choice => self.choice(text),
            At::Reason => self.send(json!({"action": "deny", "message": text})),
            At::Reply(mut lines) => {
                if lines.is_empty() {
                    match text {
                        "" => return Step::Leave,
                        "/finish" => return Step::Finish,
                        _ => {}
                    }
                }
                if let Some(more) = line.strip_suffix('\\') {
                    lines.push(more.to_owned());
                    self.at = At::Reply(lines);
                    return Step::Ask(self.prompt());
                }
                lines.push(line.to_owned());
                let text = lines.join("\n");
                self.send(json!({"action": "reply", "message": text.trim()}))
            }
            At::Question(n) => self.answer(n, text),
        }
    }

    /// The person edited what [`Step::Edit`] gave.
    pub fn edited(&mut self, text: &str) -> Step {
        if self.hold.kind == Some(HoldKind::Plan) {
            return self.send(json!({"action": "allow", "input": {"plan": text.trim()}}));
        }
        match serde_json::from_str::<Value>(text) {
            Ok(input @ Value::Object(_)) => self.send(json!({"action": "allow", "input": input})),
            Ok(_) => self.again("the arguments must be a JSON object"),
            Err(error) => self.again(&format!("that is no JSON: {error}")),
        }
    }

    fn choice(&mut self, text: &str) -> Step {
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match word.to_lowercase().as_str() {
            "" => Step::Leave,
            "a" | "allow" | "y" | "yes" if rest.is_empty() => self.send(json!({"action": "allow"})),
            "c" if rest.is_empty() && self.hold.subject.grant.is_some() => {
                self.send(json!({"action": "allow", "scope": "conversation"}))
            }
            "d" | "deny" | "n" | "no" if rest.is_empty() => {
                self.at = At::Reason;
                Step::Ask(self.prompt())
            }
            "d" | "deny" | "n" | "no" => self.send(json!({"action": "deny", "message": rest.trim()})),
            "e" | "edit" if rest.is_empty() => Step::Edit(self.editable()),
            _ => self.again("type one of the letters in brackets"),
        }
    }

    fn editable(&self) -> String {
        let input = &self.hold.subject.input;
        match self.hold.kind {
            Some(HoldKind::Plan) => input.get("plan").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => serde_json::to_string_pretty(input).unwrap_or_default(),
        }
    }

    fn answer(&mut self, n: usize, text: &str) -> Step {
        match text {
            "" => return Step::Leave,
            "/skip" => return self.send(json!({"action": "deny", "message": ""})),
            _ => {}
        }
        let Some(question) = self.questions.get(n) else { return Step::Leave };
        match parse_answer(question, text) {
            Ok(value) => {
                self.answers.insert(question.question.clone(), value);
            }
            Err(why) => {
                self.at = At::Question(n);
                return self.again(&why);
            }
        }
        if n + 1 < self.questions.len() {
            self.at = At::Question(n + 1);
            return Step::Ask(self.prompt());
        }
        let answers = std::mem::take(&mut self.answers);
        self.send(json!({"action": "answer", "answers": answers}))
    }

    fn again(&self, why: &str) -> Step {
        Step::Ask(format!("{why}\n{}", self.prompt()))
    }

    fn send(&self, decision: Value) -> Step {
        Step::Send(bound(&self.hold, decision))
    }
}

/// Binds a decision to what was seen.
#[must_use]
pub fn bound(hold: &HoldItem, mut decision: Value) -> Value {
    if !hold.subject.digest.is_empty() {
        decision["digest"] = json!(hold.subject.digest);
    }
    decision
}

/// Numbers mean options; everything else is the person's own words.
fn parse_answer(question: &Question, text: &str) -> Result<Value, String> {
    let is_numbers = text.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | ' '));
    if question.options.is_empty() || !is_numbers {
        return Ok(json!(text));
    }
    let labels: Vec<&str> = text
        .split([',', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse::<usize>()
                .ok()
                .and_then(|n| question.options.get(n.checked_sub(1)?))
                .map(|choice| choice.label.as_str())
                .ok_or_else(|| format!("there is no option {part}: 1 to {}", question.options.len()))
        })
        .collect::<Result<_, _>>()?;
    match (labels.as_slice(), question.multi_select) {
        ([], _) => Err("type a number".into()),
        ([one], false) => Ok(json!(one)),
        (_, false) => Err("only one can be chosen".into()),
        (several, true) => Ok(json!(several)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::types::SubjectItem;

    fn hold(kind: HoldKind, input: Value, grant: Option<&str>) -> HoldItem {
        HoldItem {
            kind: Some(kind),
            subject: SubjectItem {
                tool: "Bash".into(),
                input,
                digest: "sha256:x".into(),
                grant: grant.map(str::to_owned),
                ..SubjectItem::default()
            },
            ..HoldItem::default()
        }
    }

    #[test]
    fn a_tool_is_allowed_denied_or_edited() {
        let ask = || Dialogue::new(hold(HoldKind::Tool, json!({"command": "ls"}), Some("Bash(ls *)")));
        let bound = |value: Value| Step::Send(super::bound(ask().hold(), value));
        assert_eq!(ask().line("a"), bound(json!({"action": "allow"})));
        assert_eq!(ask().line(" YES "), bound(json!({"action": "allow"})));
        assert_eq!(ask().line("c"), bound(json!({"action": "allow", "scope": "conversation"})));
        assert_eq!(ask().line("d not now"), bound(json!({"action": "deny", "message": "not now"})));
        let mut asked = ask();
        assert!(matches!(asked.line("d"), Step::Ask(_)));
        assert_eq!(asked.line("because"), bound(json!({"action": "deny", "message": "because"})));
        assert_eq!(ask().line(""), Step::Leave);
        // "allow" with more words may mean something else than it says.
        assert!(matches!(ask().line("allow all of them"), Step::Ask(_)));
        let mut edit = ask();
        assert!(matches!(edit.line("e"), Step::Edit(text) if text.contains("\"ls\"")));
        assert!(matches!(edit.edited("ls -l"), Step::Ask(text) if text.contains("no JSON")));
        assert_eq!(
            edit.edited("{\"command\":\"ls -l\"}"),
            bound(json!({"action": "allow", "input": {"command": "ls -l"}}))
        );
        let rule = format!("Bash(git {} *)", "x".repeat(100));
        let long = Dialogue::new(hold(HoldKind::Tool, json!({"command": "git"}), Some(&rule)));
        assert!(long.prompt().contains(&format!("[c] all of\n    {rule}\nin this")), "{}", long.prompt());
        let mut plain = Dialogue::new(hold(HoldKind::Tool, json!({}), None));
        assert!(matches!(plain.line("c"), Step::Ask(_)), "there is nothing to grant");
    }

    #[test]
    fn a_reply_may_have_several_lines() {
        let ask = || Dialogue::new(hold(HoldKind::Reply, Value::Null, None));
        let mut several = ask();
        assert!(matches!(several.line("one\\"), Step::Ask(_)));
        assert!(
            matches!(several.line("two"), Step::Send(sent) if sent["message"] == "one\ntwo" && sent["action"] == "reply")
        );
        assert_eq!(ask().line("/finish"), Step::Finish);
        assert_eq!(ask().line("  "), Step::Leave);
    }

    #[test]
    fn questions_are_answered_by_number_or_in_words() {
        let input = json!({"questions": [
            {"question": "Which?", "options": [{"label": "Red"}, {"label": "Blue"}]},
            {"question": "What else?", "options": [{"label": "A"}, {"label": "B"}, {"label": "C"}], "multiSelect": true},
        ]});
        let mut asked = Dialogue::new(hold(HoldKind::Question, input.clone(), None));
        assert!(matches!(asked.line("3"), Step::Ask(text) if text.contains("no option 3")));
        assert!(matches!(asked.line("1,2"), Step::Ask(text) if text.contains("only one")));
        assert!(matches!(asked.line("2"), Step::Ask(text) if text.starts_with("2 of 2")));
        let Step::Send(sent) = asked.line("1, 3") else { panic!("complete") };
        assert_eq!(sent["answers"], json!({"Which?": "Blue", "What else?": ["A", "C"]}));
        let mut words =
            Dialogue::new(hold(HoldKind::Question, json!({"questions": [input["questions"][0]]}), None));
        assert!(
            matches!(words.line("neither"), Step::Send(sent) if sent["answers"] == json!({"Which?": "neither"}))
        );
        let mut skipped = Dialogue::new(hold(HoldKind::Question, input, None));
        assert!(matches!(skipped.line("/skip"), Step::Send(sent) if sent["action"] == "deny"));
    }

    #[test]
    fn a_plan_is_edited_as_text() {
        let mut plan = Dialogue::new(hold(HoldKind::Plan, json!({"plan": "1. Do"}), None));
        assert_eq!(plan.line("e"), Step::Edit("1. Do".into()));
        assert!(
            matches!(plan.edited("1. Do it\n"), Step::Send(sent) if sent["input"] == json!({"plan": "1. Do it"}))
        );
    }
}
