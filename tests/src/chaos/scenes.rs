//! What is played: one script for all conversations, and what the people in each of them mean to do.

use std::path::Path;

/// The script. `@NOTE@` is the tool that leaves a nonce; each text is unlike any other by its `{{id}}`.
const SCRIPT: &str = r#"
title: chaos
scenes:
  - name: errand
    when: "^errand"
    turns:
      - - {text: "On my way {{id}}.", tool: Bash, input: {command: "@NOTE@ 0.1 0.1 {{id}} errand"}}
        - {text: "Back {{id}}.", delay: 10, chunk: 6}
  - name: one
    when: "^one"
    turns:
      - - {think: "Just one.", text: "One {{id}}.", delay: 4, chunk: 6, tool: Bash, input: {command: "@NOTE@ 0.1 0.2 {{id}} one"}}
        - {text: "Done {{id}}: {{last_result}}", delay: 8, chunk: 6}
@TAIL@
  - name: three
    when: "^three"
    turns:
      - - think: "Three of them."
          tools:
            - {tool: Bash, input: {command: "@NOTE@ 0 0.1 {{id}} first"}}
            - {tool: Bash, input: {command: "@NOTE@ 0.1 0 {{id}} second"}}
            - {tool: Bash, input: {command: "@NOTE@ 0.1 0.1 {{id}} third"}}
        - {text: "All three {{id}}.", delay: 8, chunk: 4}
@TAIL@
  - name: question
    when: "^question"
    turns:
      - - text: "Before I begin {{id}}."
          tool: AskUserQuestion
          input:
            questions:
              - {question: "Which?", header: W, multiSelect: false, options: [{label: A, description: a}, {label: B, description: b}]}
        - {text: "Then {{id}}.", tool: Bash, input: {command: "@NOTE@ 0 0.1 {{id}} answered"}}
        - {text: "Thank you {{id}}."}
@TAIL@
  - name: plan
    when: "^plan"
    turns:
      - - {tool: EnterPlanMode, input: {}}
        - {text: "A plan {{id}}.", tool: ExitPlanMode, input: {plan: "1. Note it. {{id}}"}}
        - {text: "To work {{id}}.", tool: Bash, input: {command: "@NOTE@ 0.1 0 {{id}} planned"}}
        - {text: "It is done {{id}}."}
@TAIL@
  - name: subagent
    when: "^subagent"
    turns:
      - - text: "I send somebody {{id}}."
          tool: Agent
          input: {description: An errand, subagent_type: general-purpose, prompt: "errand {{id}}"}
        - {text: "All is done {{id}}.", delay: 8, chunk: 6}
@TAIL@
  - name: replies
    when: "^replies"
    turns:
      - - {text: "What first? {{id}}", delay: 10, chunk: 4}
      - - {text: "That {{id}}.", tool: Bash, input: {command: "@NOTE@ 0 0.2 {{id}} replied"}}
        - {text: "And then? {{id}}"}
      - - {text: "You said {{id}}: {{prompt}}", tool: Bash, input: {command: "@NOTE@ 0.1 0 {{id}} again"}}
        - {text: "Done {{id}}."}
@TAIL@
  - name: working
    when: "^working"
    turns:
      - - {text: "It takes a while {{id}}.", delay: 6, chunk: 4, tool: Bash, input: {command: "@NOTE@ 0.5 0.3 {{id}} long"}}
        - {text: "More {{id}}.", tool: Bash, input: {command: "@NOTE@ 0.2 0.2 {{id}} longer"}}
        - {text: "Both are done {{id}}.", delay: 10, chunk: 6}
@TAIL@
  - name: grant
    when: "^grant"
    turns:
      - - {text: "Two alike {{id}}.", tool: Bash, input: {command: "@NOTE@ 0 0.1 {{id}} granted"}}
        - tools:
            - {tool: Bash, input: {command: "@NOTE@ 0 0.1 {{id}} covered"}}
            - {tool: Bash, input: {command: "@NOTE@ 0.1 0 {{id}} covered-too"}}
        - {text: "Done {{id}}."}
@TAIL@
  - name: reading
    when: "^reading"
    turns:
      - - text: "All at once {{id}}."
          tools:
            - {tool: Read, input: {file_path: /etc/hostname}}
            - {tool: Read, input: {file_path: /etc/hosts}}
            - {tool: Read, input: {file_path: /etc/os-release}}
        - {text: "I have read {{id}}."}
@TAIL@
"#;

/// Turns for messages that come when the scene itself is over. A message that reaches a turn which is being
/// taken up again makes of the rest of that turn the beginning of its own, so each has some steps to spare.
const TAIL: &str = r#"
      - - {text: "Heard {{id}}: {{prompt}}", delay: 4, chunk: 6}
        - {text: "More on that {{id}}."}
        - {text: "And more {{id}}."}
      - - {text: "Heard as well {{id}}: {{prompt}}"}
        - {text: "More on that, too {{id}}."}
        - {text: "And more, too {{id}}."}
      - - {text: "And heard {{id}}: {{prompt}}"}
        - {text: "More again {{id}}."}
      - - {text: "Still listening {{id}}: {{prompt}}"}
        - {text: "More once again {{id}}."}
"#;

/// The script for a folder that nobody's workspace is in.
pub(super) fn script(outside: &Path) -> String {
    let note = outside.join("note").display().to_string();
    SCRIPT.replace("@NOTE@", &note).replace("\n@TAIL@\n", TAIL)
}

/// Agents that linger differently, and those that a policy trusts.
pub(super) fn agents(outside: &Path) -> String {
    let note = outside.join("note").display().to_string();
    // Where sessions are in containers, they see it, too.
    let agents = ["quick", "soon", "long", "auto", "trusted", "again"];
    let shared: String = agents
        .map(|agent| {
            format!("[agents.{agent}.container]\nfolders = [{{ path = {outside:?}, write = true }}]\n")
        })
        .concat();
    format!(
        "[agents.quick]\nlinger = \"0s\"\n\
         [agents.soon]\nlinger = \"1s\"\n\
         [agents.long]\nlinger = \"10m\"\n\
         [agents.auto]\nlinger = \"1s\"\ncompletion = \"auto\"\n\
         [agents.trusted]\nlinger = \"0s\"\n[agents.trusted.policy]\nallow = [\"Bash({note} *)\"]\n\
         [agents.again]\nlinger = \"1s\"\n[agents.again.policy]\nallow = [\"Bash({note} *)\"]\n\
         repeatable = [\"Bash({note} *)\"]\n{shared}"
    )
}

/// What the people mean to do in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Whatever the seed says.
    Mixed,
    /// Allow.
    Allow,
    /// Refuse.
    Deny,
    /// Change the command.
    Edit,
    /// Allow this kind for the whole conversation.
    Grant,
    /// Cancel the conversation when it asks.
    Cancel,
}

/// One kind of conversation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Play {
    /// What it is called in reports.
    pub(super) name: &'static str,
    /// The scene: the first word of the prompt.
    pub(super) scene: &'static str,
    /// The agent, where it is not one of those that only linger differently.
    pub(super) agent: Option<&'static str>,
    /// How holds are answered.
    pub(super) manner: Manner,
    /// Replies at the end of a turn, before it is finished.
    pub(super) replies: usize,
    /// Messages sent while it works.
    pub(super) messages: usize,
}

const fn play(name: &'static str, scene: &'static str, manner: Manner) -> Play {
    Play { name, scene, agent: None, manner, replies: 0, messages: 0 }
}

/// All kinds. Every run plays them in turns, so that a short one has each.
pub(super) const PLAYS: [Play; 16] = [
    play("one approval", "one", Manner::Allow),
    play("three asks", "three", Manner::Mixed),
    Play { replies: 1, ..play("a question", "question", Manner::Mixed) },
    play("a plan", "plan", Manner::Mixed),
    play("a subagent", "subagent", Manner::Allow),
    Play { replies: 3, ..play("replies", "replies", Manner::Mixed) },
    Play { messages: 2, ..play("messages while working", "working", Manner::Allow) },
    play("a denial", "one", Manner::Deny),
    play("an edit", "one", Manner::Edit),
    play("a grant", "grant", Manner::Grant),
    play("several at once", "reading", Manner::Mixed),
    Play { agent: Some("trusted"), ..play("policy", "three", Manner::Mixed) },
    Play { agent: Some("again"), ..play("repeatable", "three", Manner::Mixed) },
    Play { agent: Some("auto"), ..play("ends by itself", "subagent", Manner::Mixed) },
    Play { messages: 1, replies: 1, ..play("much at once", "working", Manner::Mixed) },
    play("cancelled", "three", Manner::Cancel),
];

/// Agents that differ in how long they linger.
pub(super) const LINGERING: [&str; 3] = ["quick", "soon", "long"];

/// The tool that leaves a nonce: `note <before> <after> <token> <label>`, in one write of its own.
pub(super) const NOTE: &str = "#!/bin/sh\n\
    sleep \"$1\"\n\
    printf '%s %s %s\\n' \"$PWD\" \"$3\" \"$4\" >> \"${0%/*}/nonces\"\n\
    sleep \"$2\"\n\
    echo noted\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_play_has_a_scene() {
        let script = script(Path::new("/outside"));
        for play in PLAYS {
            assert!(script.contains(&format!("when: \"^{}\"", play.scene)), "{play:?}");
        }
        assert!(!script.contains('@'), "{script}");
    }
}
