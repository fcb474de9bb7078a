//! What was asked of the model, by its own record.

use std::collections::{BTreeMap, HashSet};

use super::{Fault, Findings, History, Recorded, UpstreamCall};

/// A place in the script: thread kind, scene, turn, step. A subagent's name changes with every process.
type Place<'a> = (bool, &'a str, usize, usize);

pub(super) fn check(recorded: &Recorded, history: &History, findings: &mut Findings) {
    let id = &recorded.id;
    let calls = || history.upstream.iter().filter(|call| call.execution == *id);
    for call in calls().filter(|call| call.outcome != "answered" && call.outcome != "side") {
        let what = format!("{} in turn {}, step {}", call.outcome, call.turn, call.step);
        findings.add(Fault::CallRefused, id, what);
    }

    let mut places: BTreeMap<Place<'_>, Vec<&UpstreamCall>> = BTreeMap::new();
    for call in calls().filter(|call| call.outcome == "answered") {
        let place = (call.thread == "main", call.scene.as_str(), call.turn, call.step);
        places.entry(place).or_default().push(call);
    }
    // The log names the message of every block: such a message was answered in full.
    let taken: HashSet<&str> =
        recorded.of_kind("assistant").map(|event| without_part(event.text("message_id"))).collect();
    let cut_short = recorded
        .of_kind("model_call")
        .filter(|event| event.data["incomplete"] == true && event.data["replayed"] != true)
        .count();
    let again = |main: bool| -> usize {
        places.iter().filter(|(place, _)| place.0 == main).map(|(_, calls)| calls.len() - 1).sum()
    };
    // Whoever asks the main loop again may be told to send another subagent, which says all of it anew.
    let of_subagent = places.keys().filter(|place| !place.0).count();
    let (again, allowed) = (again(true) + again(false), cut_short + again(true).min(cut_short) * of_subagent);
    let mut found = 0;
    for (place, calls) in &places {
        let of_log = |call: &&&UpstreamCall| call.message_id.as_deref().is_some_and(|id| taken.contains(id));
        let whole = calls.iter().filter(of_log).count();
        // All but the last: a response whose first block was told and whose end never came is no whole one.
        let spare = (calls.len() - 1).min(cut_short);
        if whole > 1 + spare {
            found += whole - 1 - spare;
            let what = format!("{place:?} was answered {whole} times, and every answer was used");
            findings.add(Fault::PaidTwice, id, what);
        }
    }
    if again > allowed + found {
        let doubled: Vec<_> = places.iter().filter(|(_, calls)| calls.len() > 1).collect();
        let what = format!("{again} calls were made again, {cut_short} had been cut short: {doubled:?}");
        findings.add(Fault::PaidTwice, id, what);
    }
}

/// A part of a response that is replayed has the name of the whole with the incarnation behind it.
fn without_part(message: &str) -> &str {
    message.rsplit_once("_r").map_or(message, |(whole, _)| whole)
}
