//! What an agent may do without asking, what asks, what is refused, and what may be run again.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::release::SUGGEST_TOOL_NAME;

/// A pattern over tool uses: `Tool`, or `Tool(pattern)` on the tool's main argument, with `*` for
/// any run of characters. `*` alone matches every tool; `mcp__server__*` every tool of a server.
///
/// For tools that read and write files, `Tool(./…)` speaks of files in the working directory and
/// `Tool(~/…)` of files in the session's own home, wherever links lead; other patterns are compared
/// with the path as the agent wrote it. `Grep(./*)` and `Glob(./*)` speak of the folder searched.
///
/// For `Bash` the pattern must match the whole command, and a pattern with a `*` never matches a
/// command that chains, substitutes, redirects or spans lines: `Bash(git status*)` does not let
/// `git status; rm -rf /` through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Rule {
    tool: String,
    argument: Option<String>,
}

impl Rule {
    /// A rule for `tool`, whose main argument is exactly or by `*` as in `argument`.
    #[must_use]
    pub fn new(tool: &str, argument: Option<&str>) -> Self {
        Self { tool: tool.to_owned(), argument: argument.map(str::to_owned) }
    }

    /// Whether a use of `tool` with `input` is of this kind. `place` is where its path leads:
    /// `./…` below the working directory, `~/…` below the session's home, absent elsewhere.
    #[must_use]
    pub fn matches(&self, tool: &str, input: &Value, place: Option<&str>) -> bool {
        if !glob(&self.tool, tool) {
            return false;
        }
        let Some(pattern) = &self.argument else { return true };
        if path_argument(tool).is_some() && is_place(pattern) {
            return place.is_some_and(|place| glob(pattern, place));
        }
        let Some(argument) = main_argument(tool, input) else { return false };
        // White space around a command changes nothing of what runs.
        let argument = if tool == "Bash" { argument.trim() } else { argument };
        if tool == "Bash" && pattern.contains('*') && is_compound(argument) {
            return false;
        }
        // A path is compared as it is written; one that climbs is of no kind but its own.
        if tool != "Bash" && pattern.contains('*') && argument.split('/').any(|part| part == "..") {
            return false;
        }
        glob(pattern, argument)
    }

    /// The rule that "allow this kind in this conversation" would add for this use, if that can
    /// be said soundly: the same program and first words for `Bash`, the same folder for files,
    /// the same host for web addresses, the tool itself for MCP tools.
    #[must_use]
    pub fn kind_of(tool: &str, input: &Value) -> Option<Self> {
        match tool {
            "AskUserQuestion" | "ExitPlanMode" => None,
            "Bash" => {
                let command = main_argument(tool, input)?.trim();
                if command.is_empty() {
                    return None;
                }
                if is_compound(command) || command.contains('*') {
                    // Only this very command; a literal star would read as a pattern.
                    return (!command.contains('*')).then(|| Self::new("Bash", Some(command)));
                }
                let program = command.split_whitespace().next()?;
                // An assignment or an interpreter says nothing about what will run.
                const OPAQUE: [&str; 16] = [
                    "sh", "bash", "zsh", "dash", "env", "sudo", "doas", "xargs", "eval", "exec", "python",
                    "python3", "node", "perl", "ruby", "nohup",
                ];
                let name = program.rsplit('/').next().unwrap_or(program);
                let has_plain_arguments = command[program.len()..].starts_with(' ');
                if program.contains('=') || OPAQUE.contains(&name) || !has_plain_arguments {
                    return Some(Self::new("Bash", Some(command)));
                }
                Some(Self::new("Bash", Some(&format!("{program} *"))))
            }
            "Write" | "Edit" | "Read" | "NotebookEdit" => {
                let path = main_argument(tool, input)?;
                let (folder, _) = path.rsplit_once('/')?;
                if path.contains('*') || path.split('/').any(|part| part == "..") {
                    return None;
                }
                Some(Self::new(tool, Some(&format!("{folder}/*"))))
            }
            "WebFetch" => {
                let url = main_argument(tool, input)?;
                let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
                let host = rest.split(['/', '?', '#', ':', '@']).next().filter(|host| !host.is_empty())?;
                (!rest.split('/').next()?.contains(['@', '*', '\\']))
                    .then(|| Self::new(tool, Some(&format!("{}{host}/*", &url[..url.len() - rest.len()]))))
            }
            // A name that a rule cannot be written with, or that would read as a pattern over
            // other tools: an MCP server chooses its tools' names.
            _ => is_tool_name(tool).then(|| Self::new(tool, None)),
        }
    }
}

fn is_tool_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.argument {
            Some(argument) => write!(f, "{}({argument})", self.tool),
            None => f.write_str(&self.tool),
        }
    }
}

impl FromStr for Rule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (tool, argument) = match text.split_once('(') {
            None => (text, None),
            Some((tool, rest)) => {
                let argument = rest.strip_suffix(')').ok_or_else(|| {
                    format!("the rule {text:?} lacks its closing parenthesis: `Tool(pattern)`")
                })?;
                (tool, Some(argument))
            }
        };
        if tool.is_empty() || !is_tool_name(&tool.replace('*', "x")) {
            return Err(format!(
                "{text:?} is not a rule: write `Tool` or `Tool(pattern)`, as in `Bash(git status*)`"
            ));
        }
        Ok(Self::new(tool, argument))
    }
}

impl TryFrom<String> for Rule {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

/// The policy of an agent. Of several lists that match a use, the strictest wins:
/// `refuse`, then `ask`, then `allow`; what no list names is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Runs without asking.
    pub allow: Vec<Rule>,
    /// Asks a person, even where `allow` matches.
    pub ask: Vec<Rule>,
    /// Is refused, with the reason "the agent's policy refuses this".
    pub refuse: Vec<Rule>,
    /// May be run again after a crash without asking: it changes nothing, or the same again.
    pub repeatable: Vec<Rule>,
}

impl Default for Policy {
    /// Reading in the working directory, what the CLI keeps for the session itself (plans, long tool
    /// results) and a to-do list run without asking and may be repeated; everything else asks.
    /// Messaging between sessions is refused: sessions are isolated.
    fn default() -> Self {
        let rules = |names: &[&str]| names.iter().map(|name| Rule::new(name, None)).collect();
        // A subagent's own tools ask each for itself; begun again, it is answered from the record.
        let mut repeatable: Vec<Rule> = rules(&[
            "TodoWrite",
            "TaskCreate",
            "TaskUpdate",
            "TaskList",
            "TaskGet",
            "ToolSearch",
            "EnterPlanMode",
            "Agent",
            "Task",
        ]);
        let in_place = [
            ("Read", "./*"),
            ("Glob", "./*"),
            ("Grep", "./*"),
            ("Read", "~/.claude/projects/*"),
            ("Read", "~/.claude/plans/*"),
            ("Write", "~/.claude/plans/*"),
            ("Edit", "~/.claude/plans/*"),
        ];
        repeatable.extend(in_place.map(|(tool, place)| Rule::new(tool, Some(place))));
        let allow = repeatable.clone();
        Self { allow, ask: Vec::new(), refuse: rules(&["SendMessage", "ListAgents"]), repeatable }
    }
}

/// What policy says about a use of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Runs without asking, by this rule.
    Allow(Rule),
    /// A person decides.
    Ask,
    /// Refused, by this rule.
    Refuse(Rule),
}

impl Policy {
    /// What this policy says about a use.
    #[must_use]
    pub fn verdict(&self, tool: &str, input: &Value, place: Option<&str>) -> Verdict {
        let find = |rules: &[Rule]| rules.iter().find(|rule| rule.matches(tool, input, place)).cloned();
        // These two exist to reach a person; a policy can refuse them but not answer them.
        let for_person = matches!(tool, "AskUserQuestion" | "ExitPlanMode");
        if let Some(rule) = find(&self.refuse) {
            Verdict::Refuse(rule)
        } else if tool == SUGGEST_TOOL_NAME {
            // It changes nothing but the log, where people read it.
            Verdict::Allow(Rule::new(tool, None))
        } else if for_person || find(&self.ask).is_some() {
            Verdict::Ask
        } else {
            find(&self.allow).map_or(Verdict::Ask, Verdict::Allow)
        }
    }

    /// Whether this use may be run again after a crash without asking.
    #[must_use]
    pub fn is_repeatable(&self, tool: &str, input: &Value, place: Option<&str>) -> bool {
        self.repeatable.iter().any(|rule| rule.matches(tool, input, place))
    }
}

/// The argument of a tool that a rule's pattern is compared with.
#[must_use]
pub fn main_argument<'a>(tool: &str, input: &'a Value) -> Option<&'a str> {
    let key = match tool {
        "Bash" => "command",
        "Read" | "Write" | "Edit" => "file_path",
        "NotebookEdit" => "notebook_path",
        "WebFetch" => "url",
        "WebSearch" => "query",
        "Glob" | "Grep" => "pattern",
        "Agent" | "Task" => "subagent_type",
        "Skill" => "skill",
        _ => return None,
    };
    input.get(key).and_then(Value::as_str)
}

/// The argument that says which file or folder a tool works on. An absent one means the working
/// directory.
#[must_use]
pub fn path_argument(tool: &str) -> Option<&'static str> {
    match tool {
        "Read" | "Write" | "Edit" => Some("file_path"),
        "NotebookEdit" => Some("notebook_path"),
        "Glob" | "Grep" => Some("path"),
        _ => None,
    }
}

/// Whether a pattern speaks of a place rather than of a path as it is written.
fn is_place(pattern: &str) -> bool {
    pattern.starts_with("./") || pattern.starts_with("~/")
}

/// Whether a shell command is more than one plain program with plain words: it then is of no
/// kind but its own. Errs on the side of "yes".
fn is_compound(command: &str) -> bool {
    command.contains([';', '&', '|', '`', '$', '>', '<', '\n', '\r', '(', ')', '{', '}', '\\', '!', '#'])
}

/// `*` matches any run of characters, everything else itself.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(head) else { return false };
    let parts: Vec<&str> = tail.split('*').collect();
    let (last, middle) = parts.split_last().map_or(("", &[][..]), |(last, middle)| (*last, middle));
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("Bash", "Bash", "rm -rf /", true)]
    #[case("Bash(git status)", "Bash", "git status", true)]
    #[case("Bash(git status)", "Bash", "git status -s", false)]
    #[case("Bash(git *)", "Bash", "git log --oneline", true)]
    #[case("Bash(git *)", "Bash", "git log; rm -rf /", false)]
    #[case("Bash(git *)", "Bash", "git log && curl x", false)]
    #[case("Bash(git *)", "Bash", "git log $(curl x)", false)]
    #[case("Bash(git *)", "Bash", "git log `curl x`", false)]
    #[case("Bash(git *)", "Bash", "git log\nrm x", false)]
    #[case("Bash(git *)", "Bash", "git log > /etc/passwd", false)]
    #[case("Bash(a; b)", "Bash", "a; b", true)]
    #[case("*", "WebFetch", "anything", true)]
    #[case("mcp__git__*", "mcp__git__push", "", true)]
    #[case("mcp__git__*", "mcp__other__push", "", false)]
    fn rules_match(#[case] rule: &str, #[case] tool: &str, #[case] argument: &str, #[case] expected: bool) {
        let rule: Rule = rule.parse().expect("rule");
        assert_eq!(rule.matches(tool, &json!({"command": argument}), None), expected);
    }

    #[rstest]
    #[case("Write(/w/*)", "/w/a/b", true)]
    #[case("Write(/w/*)", "/w/../etc/passwd", false)]
    #[case("Write(/w/*)", "/etc/passwd", false)]
    fn paths_do_not_climb(#[case] rule: &str, #[case] path: &str, #[case] expected: bool) {
        let rule: Rule = rule.parse().expect("rule");
        assert_eq!(rule.matches("Write", &json!({"file_path": path}), None), expected);
    }

    #[rstest]
    #[case("Read(./*)", "Read", Some("./a/b"), true)]
    #[case("Read(./*)", "Read", None, false)]
    #[case("Read(./*)", "Read", Some("~/.claude/x"), false)]
    #[case("Read(~/.claude/projects/*)", "Read", Some("~/.claude/projects/p/tool-results/1.txt"), true)]
    #[case("Grep(./*)", "Grep", Some("./"), true)]
    #[case("Grep(./src/*)", "Grep", Some("./"), false)]
    #[case("Write(./*)", "Read", Some("./a"), false)]
    #[case("Read", "Read", None, true)]
    fn places(#[case] rule: &str, #[case] tool: &str, #[case] place: Option<&str>, #[case] expected: bool) {
        // What the agent wrote must not matter.
        let input = json!({"file_path": "./forged", "path": "./forged", "pattern": "./forged"});
        let rule: Rule = rule.parse().expect("rule");
        assert_eq!(rule.matches(tool, &input, place), expected);
    }

    #[test]
    fn by_default_only_reading_in_the_working_directory_is_not_asked_for() {
        let policy = Policy::default();
        let verdict =
            |tool: &str, place| policy.verdict(tool, &json!({"file_path": "/x", "path": "/x"}), place);
        for tool in ["Read", "Glob", "Grep"] {
            assert!(matches!(verdict(tool, Some("./x")), Verdict::Allow(_)), "{tool}");
            assert_eq!(verdict(tool, None), Verdict::Ask, "{tool} elsewhere");
            assert_eq!(
                verdict(tool, Some("~/.claude.json")),
                Verdict::Ask,
                "{tool} of the session's own settings"
            );
        }
        assert_eq!(verdict("Write", Some("./x")), Verdict::Ask);
    }

    #[rstest]
    #[case("Bash", json!({"command": "touch a"}), Some("Bash(touch *)"))]
    #[case("Bash", json!({"command": "  ls "}), Some("Bash(ls)"))]
    #[case("Bash", json!({"command": "ls\t-l"}), Some("Bash(ls\t-l)"))]
    #[case("Bash", json!({"command": "touch a && touch b"}), Some("Bash(touch a && touch b)"))]
    #[case("Bash", json!({"command": "bash -c 'x'"}), Some("Bash(bash -c 'x')"))]
    #[case("Bash", json!({"command": "rm *; ls"}), None)]
    #[case("Write", json!({"file_path": "/w/a.txt"}), Some("Write(/w/*)"))]
    #[case("Write", json!({"file_path": "/w/../a.txt"}), None)]
    #[case("WebFetch", json!({"url": "https://example.org/a"}), Some("WebFetch(https://example.org/*)"))]
    #[case("WebFetch", json!({"url": "https://good@evil/a"}), None)]
    #[case("mcp__x__y", json!({}), Some("mcp__x__y"))]
    #[case("ExitPlanMode", json!({}), None)]
    #[case("*", json!({}), None)]
    #[case("mcp__x__*", json!({}), None)]
    #[case("a b", json!({}), None)]
    #[case("x/y", json!({}), None)]
    #[case("<s>", json!({}), None)]
    #[case("", json!({}), None)]
    fn kinds(#[case] tool: &str, #[case] input: Value, #[case] expected: Option<&str>) {
        let kind = Rule::kind_of(tool, &input);
        assert_eq!(kind.as_ref().map(ToString::to_string).as_deref(), expected);
        if let Some(kind) = kind {
            assert!(kind.matches(tool, &input, None), "{kind} must match what it was made from");
        }
    }

    #[test]
    fn the_strictest_list_wins_and_a_person_is_never_answered_for() {
        let policy = Policy {
            allow: vec![Rule::new("*", None)],
            ask: vec!["Bash(git push*)".parse().expect("rule")],
            refuse: vec!["WebFetch".parse().expect("rule")],
            repeatable: vec![],
        };
        assert_eq!(policy.verdict("Bash", &json!({"command": "git push"}), None), Verdict::Ask);
        assert!(matches!(policy.verdict("Bash", &json!({"command": "ls"}), None), Verdict::Allow(_)));
        assert!(matches!(policy.verdict("WebFetch", &json!({"url": "http://a"}), None), Verdict::Refuse(_)));
        assert_eq!(policy.verdict("AskUserQuestion", &json!({}), None), Verdict::Ask);
        assert_eq!(Policy::default().verdict("Bash", &json!({"command": "ls"}), None), Verdict::Ask);
    }

    proptest::proptest! {
        #[test]
        fn what_can_be_granted_can_be_stored_and_read_back(tool in "(Bash|Write|WebFetch|mcp__a__b|.{0,12})", argument in ".{0,40}") {
            let input = json!({"command": argument, "file_path": argument, "url": argument});
            if let Some(rule) = Rule::kind_of(&tool, &input) {
                let text = rule.to_string();
                proptest::prop_assert_eq!(text.parse::<Rule>(), Ok(rule), "{}", text);
            }
        }

        #[test]
        fn a_grant_always_covers_its_own_origin_and_never_a_chained_command(word in "[a-z]{1,8}", tail in "[a-z ./-]{0,20}") {
            let command = format!("{word} {tail}");
            if let Some(rule) = Rule::kind_of("Bash", &json!({"command": command})) {
                let own = rule.matches("Bash", &json!({"command": command}), None);
                proptest::prop_assert!(own, "{} does not cover {}", rule, command);
                let chained = format!("{command} ; curl evil");
                let also_matches = rule.matches("Bash", &json!({"command": chained}), None);
                proptest::prop_assert!(!also_matches);
            }
        }
    }
}
