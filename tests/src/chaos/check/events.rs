//! The log itself: nothing lost, doubled or out of order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Event, Fault, Findings, Recorded};

pub(super) fn check(recorded: &Recorded, findings: &mut Findings) {
    numbers(recorded, findings);
    seen(recorded, findings);
    facts(recorded, findings);
    doubles(recorded, findings);
}

/// `seq` is 1, 2, 3, ….
fn numbers(recorded: &Recorded, findings: &mut Findings) {
    let id = &recorded.id;
    let mut known = HashSet::new();
    let mut before = 0;
    for event in &recorded.events {
        if !known.insert(event.seq) {
            findings.add(Fault::EventDoubled, id, format!("seq {} is there twice", event.seq));
        } else if event.seq < before {
            findings.add(Fault::EventReordered, id, format!("seq {} comes after {before}", event.seq));
        }
        before = event.seq;
    }
    let last = known.iter().max().copied().unwrap_or(0);
    for seq in (1..=last).filter(|seq| !known.contains(seq)) {
        findings.add(Fault::EventLost, id, format!("seq {seq} is missing, and there is a seq {last}"));
    }
    if last == 0 {
        findings.add(Fault::EventLost, id, "the log is empty");
    }
}

/// Whatever anybody saw was committed: it is in the log, as it was.
fn seen(recorded: &Recorded, findings: &mut Findings) {
    let id = &recorded.id;
    let log: HashMap<u64, &Event> = recorded.events.iter().map(|event| (event.seq, event)).collect();
    let mut before = 0;
    for event in &recorded.seen {
        match log.get(&event.seq) {
            None => findings.add(Fault::EventLost, id, format!("seq {} was seen: {event:?}", event.seq)),
            Some(known) if (&known.kind, &known.data) != (&event.kind, &event.data) => {
                let what = format!("seq {} was {} and is {}", event.seq, event.data, known.data);
                findings.add(Fault::EventLost, id, what);
            }
            Some(_) => {}
        }
        match event.seq {
            seq if seq == before => {
                findings.add(Fault::EventDoubled, id, format!("seq {seq} was sent twice"))
            }
            seq if seq != before + 1 => {
                findings.add(Fault::EventReordered, id, format!("seq {seq} was sent after {before}"));
            }
            _ => {}
        }
        before = event.seq;
    }
}

/// Every incarnation's facts are there from 1 on, once, in order, and none after the next one began.
fn facts(recorded: &Recorded, findings: &mut Findings) {
    let id = &recorded.id;
    let mut facts: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    let mut current = 0;
    for event in &recorded.events {
        if event.kind == "worker_starting" {
            let next = event.data["incarnation"].as_u64().unwrap_or_default();
            if next <= current {
                let what = format!("seq {}: worker {next} starts after worker {current}", event.seq);
                findings.add(Fault::EventReordered, id, what);
            }
            current = next;
        }
        let Some(told_by) = event.incarnation else { continue };
        if told_by != current {
            let what = format!("seq {}: worker {told_by} speaks while {current} acts", event.seq);
            findings.add(Fault::EventReordered, id, what);
        }
        let Some(number) = event.worker_seq else { continue };
        let known = facts.entry(told_by).or_default();
        if known.contains(&number) {
            findings.add(Fault::EventDoubled, id, format!("fact {told_by}/{number} is told twice"));
        } else if known.last().is_some_and(|last| *last > number) {
            let what = format!("seq {}: fact {told_by}/{number} comes too late", event.seq);
            findings.add(Fault::EventReordered, id, what);
        }
        known.insert(number);
    }
    for (told_by, known) in &facts {
        let last = known.last().copied().unwrap_or_default();
        for number in (1..=last).filter(|number| !known.contains(number)) {
            findings.add(Fault::EventLost, id, format!("fact {told_by}/{number} is missing"));
        }
    }
    let nothing = BTreeSet::new();
    for (told_by, journal) in &recorded.journals {
        let known = facts.get(told_by).unwrap_or(&nothing);
        for number in journal.iter().filter(|number| !known.contains(number)) {
            let what = format!("fact {told_by}/{number} is in the journal and not in the log");
            findings.add(Fault::EventLost, id, what);
        }
    }
}

/// What happens once is told once. Texts of the script are unlike each other, so an equal one is the same.
fn doubles(recorded: &Recorded, findings: &mut Findings) {
    let id = &recorded.id;
    let mut results = HashSet::new();
    let mut blocks = HashSet::new();
    for event in &recorded.events {
        match event.kind.as_str() {
            "tool_result" if !results.insert(event.text("tool_use_id")) => {
                let what = format!("seq {}: {} has two results", event.seq, event.text("tool_use_id"));
                findings.add(Fault::EventDoubled, id, what);
            }
            "assistant" => {
                let block = &event.data["block"];
                let mark = match block["type"].as_str() {
                    Some("tool_use") => &block["id"],
                    Some("text") => &block["text"],
                    _ => continue,
                };
                if !blocks.insert(mark.to_string()) {
                    let what = format!("seq {}: the model says {mark} twice", event.seq);
                    findings.add(Fault::EventDoubled, id, what);
                }
            }
            _ => {}
        }
    }
    let ends = recorded.of_kind("turn_ended").count();
    let begins = recorded.of_kind("message_delivered").count();
    if ends > begins {
        findings.add(Fault::EventDoubled, id, format!("{ends} turns ended and {begins} messages began one"));
    }
}
