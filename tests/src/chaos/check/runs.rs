//! What really ran, by the nonces, against what was allowed.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::{Fault, Findings, History, Nonce, Recorded, words_of};

/// One call of our tool, as the log has it.
#[derive(Default)]
struct Call {
    /// The command's own words, and those of every edit: token → label.
    words: BTreeMap<String, String>,
    /// How many decisions allow the command with this token.
    allowed: BTreeMap<String, usize>,
    /// Policy lets it run again.
    free: bool,
    /// It has a result that says that it ran.
    ok: bool,
}

pub(super) fn check(history: &History, findings: &mut Findings) {
    let mut nonces: HashMap<&str, Vec<&Nonce>> = HashMap::new();
    for nonce in &history.nonces {
        nonces.entry(nonce.execution.as_str()).or_default().push(nonce);
    }
    for recorded in &history.executions {
        let calls = calls_of(recorded);
        let ran = nonces.remove(recorded.id.as_str()).unwrap_or_default();
        of_execution(recorded, &calls, &ran, findings);
        before_deciding(recorded, history, findings);
    }
    for (execution, left) in nonces {
        let what = format!("{} runs in an execution that nobody started", left.len());
        findings.add(Fault::RunWithoutDecision, execution, what);
    }
}

fn of_execution(
    recorded: &Recorded,
    calls: &BTreeMap<String, Call>,
    ran: &[&Nonce],
    findings: &mut Findings,
) {
    let id = &recorded.id;
    let mut runs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for nonce in ran {
        let of = calls.iter().find(|(_, call)| call.words.contains_key(&nonce.token));
        let Some((name, call)) = of else {
            findings.add(Fault::RunWithoutDecision, id, format!("{nonce:?} belongs to no call of the log"));
            continue;
        };
        *runs.entry((name, &nonce.token)).or_default() += 1;
        if call.words[&nonce.token] != nonce.label {
            let what = format!("{name}: {nonce:?} ran, {:?} was decided on", call.words);
            findings.add(Fault::OtherArguments, id, what);
        } else if !call.free && !call.allowed.contains_key(&nonce.token) {
            let (fault, why) = match call.allowed.is_empty() {
                true => (Fault::RunWithoutDecision, "nobody allowed it"),
                false => (Fault::OtherArguments, "something else was allowed"),
            };
            findings.add(fault, id, format!("{name}: {nonce:?} ran, and {why}"));
        }
    }
    for ((name, token), times) in &runs {
        let call = &calls[*name];
        let allowed = call.allowed.get(*token).copied().unwrap_or(0);
        if !call.free && *times > allowed && allowed > 0 {
            let what = format!("{name}: {token} ran {times} times, and was allowed {allowed} times");
            findings.add(Fault::RerunWithoutDecision, id, what);
        }
    }
    for (name, _) in calls.iter().filter(|(_, call)| call.ok) {
        if !runs.keys().any(|(of, _)| of == name) {
            findings.add(Fault::DecisionLost, id, format!("{name} is said to have run, and has not"));
        }
    }
}

fn calls_of(recorded: &Recorded) -> BTreeMap<String, Call> {
    let mut calls: BTreeMap<String, Call> = BTreeMap::new();
    let mut holds: HashMap<&str, (&str, &Value)> = HashMap::new();
    let repeatable = recorded.is_repeatable();
    for event in &recorded.events {
        match event.kind.as_str() {
            "assistant" if event.data["block"]["type"] == "tool_use" => {
                let block = &event.data["block"];
                if let (Some(name), Some((token, label))) = (block["id"].as_str(), words_of(&block["input"]))
                {
                    calls.entry(name.to_owned()).or_default().words.insert(token, label);
                }
            }
            "hold_opened" => {
                let subject = &event.data["subject"];
                let (Some(name), Some((token, label))) =
                    (subject["tool_use_id"].as_str(), words_of(&subject["input"]))
                else {
                    continue;
                };
                holds.insert(event.text("hold"), (name, &subject["input"]));
                calls.entry(name.to_owned()).or_default().words.insert(token, label);
            }
            "hold_answered" => {
                let answer = &event.data["decision"]["answer"];
                let Some((name, input)) = holds.get(event.text("hold")) else { continue };
                if answer["action"] != "allow" {
                    continue;
                }
                let released = if answer["input"].is_object() { &answer["input"] } else { *input };
                let Some((token, label)) = words_of(released) else { continue };
                let call = calls.entry((*name).to_owned()).or_default();
                call.words.insert(token.clone(), label);
                *call.allowed.entry(token).or_default() += 1;
                call.free |= repeatable;
            }
            "tool_started" => {
                if let Some(call) = calls.get_mut(event.text("tool_use_id")) {
                    call.free = true;
                }
            }
            "tool_result" if event.data["is_error"] != true => {
                if let Some(call) = calls.get_mut(event.text("tool_use_id")) {
                    call.ok = true;
                }
            }
            _ => {}
        }
    }
    calls
}

/// When a person was asked, the command had run as often as had been decided before, at most.
fn before_deciding(recorded: &Recorded, history: &History, findings: &mut Findings) {
    for answered in history.answers.iter().filter(|answered| answered.execution == recorded.id) {
        let Some((token, _)) = words_of(&answered.shown) else { continue };
        let asked = recorded
            .events
            .iter()
            .find(|event| event.kind == "hold_opened" && event.text("hold") == answered.hold);
        let Some(asked) = asked else { continue };
        let call = asked.data["subject"]["tool_use_id"].as_str().unwrap_or_default();
        let of_call: Vec<&str> = recorded
            .of_kind("hold_opened")
            .filter(|event| event.data["subject"]["tool_use_id"] == call && event.seq < asked.seq)
            .map(|event| event.text("hold"))
            .collect();
        let decided = recorded
            .of_kind("hold_answered")
            .filter(|event| of_call.contains(&event.text("hold")))
            .filter(|event| event.data["decision"]["answer"]["action"] == "allow")
            .count();
        if answered.ran_before > decided && !recorded.is_repeatable() {
            let what = format!("{call}: {token} had run {} times before it was decided", answered.ran_before);
            findings.add(Fault::RunWithoutDecision, &recorded.id, what);
        }
    }
}
