//! What people wrote: it reaches the session once.

use std::collections::HashMap;

use super::{Fault, Findings, History, Outcome, Recorded};

pub(super) fn check(recorded: &Recorded, history: &History, findings: &mut Findings) {
    let id = &recorded.id;
    let texts: HashMap<&str, &str> =
        recorded.of_kind("message_queued").map(|event| (event.text("id"), event.text("text"))).collect();
    let mut delivered: HashMap<&str, usize> = HashMap::new();
    let mut in_flight: HashMap<&str, bool> = HashMap::new();
    for event in &recorded.events {
        let message = event.text("message");
        match event.kind.as_str() {
            "message_intent"
                if in_flight.insert(message, true) == Some(true) || delivered.contains_key(message) =>
            {
                let what = format!("seq {}: message {message} is sent a second time", event.seq);
                findings.add(Fault::ReplySentTwice, id, what);
            }
            "message_requeued" => {
                in_flight.insert(message, false);
            }
            "message_delivered" => *delivered.entry(message).or_default() += 1,
            _ => {}
        }
    }
    for (message, times) in delivered.iter().filter(|(_, times)| **times > 1) {
        let what = format!("message {message} was delivered {times} times");
        findings.add(Fault::ReplySentTwice, id, what);
    }
    for (message, text) in &texts {
        let times = recorded.transcript.iter().filter(|said| said.contains(text)).count();
        if times > 1 {
            let what = format!("the session was told {text:?} {times} times (message {message})");
            findings.add(Fault::ReplySentTwice, id, what);
        }
        if recorded.status == "finished" && !delivered.contains_key(message) {
            let what = format!("message {message} ({text:?}) never reached the session");
            findings.add(Fault::ReplyLost, id, what);
        }
    }
    for said in history.said.iter().filter(|said| said.execution == *id && said.outcome == Outcome::Taken) {
        if !texts.values().any(|text| *text == said.text) {
            let what = format!("{:?} was taken and is not in the log", said.text);
            findings.add(Fault::ReplyLost, id, what);
        }
    }
    // The model counts the person's messages, too.
    let turns = history.upstream.iter().filter(|call| call.execution == *id && call.thread == "main");
    let turns = turns.map(|call| call.turn).max().unwrap_or(0);
    // One that comes after a turn begins another, and the model sees it as such. (One that steers may be part
    // of the turn that it came into.)
    let own_turn = recorded
        .of_kind("message_queued")
        .filter(|event| event.data["mode"] != "steer" && delivered.contains_key(event.text("id")))
        .count();
    if recorded.status == "finished" && turns < own_turn {
        let what = format!("{own_turn} messages were delivered, the model was shown {turns}");
        findings.add(Fault::ReplyLost, id, what);
    }
    if turns > texts.len() {
        let what = format!("the model was shown {turns} messages of {} that were written", texts.len());
        findings.add(Fault::ReplySentTwice, id, what);
    }
}
