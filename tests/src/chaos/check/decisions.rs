//! Decisions: every one that was taken is in the log, has its effect, and has it once.

use std::collections::HashMap;

use serde_json::Value;

use super::{Answered, Event, Fault, Findings, History, Outcome, Recorded, UpstreamCall};

/// Where a hold stands, as its events say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Open,
    Answered,
    Releasing,
    Settled,
}

struct Hold<'a> {
    stands: Stands,
    kind: &'a str,
    input: &'a Value,
    call: &'a str,
    of_subagent: bool,
    decision: Option<&'a Value>,
    /// The worker has written the answer to the session.
    written: bool,
    /// It was written, and may be written again only because that does no harm.
    written_before: bool,
}

pub(super) fn check(recorded: &Recorded, history: &History, findings: &mut Findings) {
    let mut holds: HashMap<&str, Hold<'_>> = HashMap::new();
    for event in &recorded.events {
        step(recorded, history, event, &mut holds, findings);
    }
    let over = matches!(recorded.status.as_str(), "cancelled" | "error");
    for (id, hold) in holds.iter().filter(|_| !over) {
        if matches!(hold.stands, Stands::Answered | Stands::Releasing) {
            findings.add(
                Fault::DecisionLost,
                &recorded.id,
                format!("hold {id} was decided, and that is all"),
            );
        }
    }
    for answered in history.answers.iter().filter(|answered| answered.execution == recorded.id) {
        told(recorded, answered, holds.get(answered.hold.as_str()), findings);
    }
}

fn step<'a>(
    recorded: &'a Recorded,
    history: &History,
    event: &'a Event,
    holds: &mut HashMap<&'a str, Hold<'a>>,
    findings: &mut Findings,
) {
    let (id, seq, hold_id) = (&recorded.id, event.seq, event.text("hold"));
    if event.kind == "hold_opened" {
        let hold = Hold {
            stands: Stands::Open,
            kind: event.text("hold_kind"),
            input: &event.data["subject"]["input"],
            call: event.data["subject"]["tool_use_id"].as_str().unwrap_or_default(),
            of_subagent: event.data["subject"]["agent_id"].is_string(),
            decision: None,
            written: false,
            written_before: false,
        };
        if holds.insert(hold_id, hold).is_some() {
            findings.add(Fault::EventDoubled, id, format!("seq {seq}: hold {hold_id} is opened twice"));
        }
        return;
    }
    let Some(hold) = holds.get_mut(hold_id) else { return };
    let twice = |what: &str| format!("seq {seq}: hold {hold_id} {what}");
    match event.kind.as_str() {
        "hold_answered" => {
            if hold.stands != Stands::Open {
                findings.add(Fault::DecisionUsedTwice, id, twice("is answered a second time"));
            }
            hold.stands = Stands::Answered;
            hold.decision = Some(&event.data["decision"]);
        }
        "release_intent" => {
            match hold.stands {
                Stands::Answered if hold.written_before => {
                    let what = twice("is released again although the session had the answer");
                    findings.add(Fault::DecisionUsedTwice, id, what);
                }
                Stands::Answered => {}
                Stands::Open => {
                    findings.add(Fault::RunWithoutDecision, id, twice("is released without an answer"));
                }
                Stands::Releasing | Stands::Settled => {
                    findings.add(Fault::DecisionUsedTwice, id, twice("is released twice"));
                }
            }
            (hold.stands, hold.written) = (Stands::Releasing, false);
        }
        "answer_written" => hold.written = true,
        "release_voided" => {
            let allows = hold.decision.is_some_and(|decision| decision["answer"]["action"] == "allow");
            hold.written_before = hold.written && allows && hold.kind == "tool" && !recorded.is_repeatable();
            hold.stands = Stands::Answered;
        }
        "hold_released" => {
            if hold.stands == Stands::Settled {
                findings.add(Fault::DecisionUsedTwice, id, twice("has its effect twice"));
            }
            hold.stands = Stands::Settled;
        }
        "hold_indeterminate" => hold.stands = Stands::Settled,
        "hold_cancelled" | "hold_superseded" | "hold_expired" => {
            let over = matches!(recorded.status.as_str(), "cancelled" | "error");
            let broken_off = event.kind != "hold_expired"
                && hold.stands == Stands::Answered
                && broke_off(recorded, history, hold_id, hold, seq);
            let decided = matches!(hold.stands, Stands::Answered | Stands::Releasing);
            if decided && !over && !broken_off {
                let what = twice(&format!("was decided and came to nothing: {}", event.data));
                findings.add(Fault::DecisionLost, id, what);
            }
            hold.stands = Stands::Settled;
        }
        _ => {}
    }
}

/// Whether the answer that asked was never recorded in full, so that nobody can ask for this again: the model is
/// asked anew, and may say something else. Nobody is deceived, since nothing was released, and the log says what
/// became of it. What a subagent asked goes with the answer that had sent it.
fn broke_off(recorded: &Recorded, history: &History, id: &str, hold: &Hold<'_>, seq: u64) -> bool {
    let is_cut = |call: &Event| call.data["incomplete"] == true;
    let fresh = || recorded.of_kind("model_call").filter(|call| call.data["replayed"] != true);
    // Their ids have the order in which they came. The main loop waits for one answer at a time, so the last
    // call before the hold is the one that asked.
    let before = fresh().filter(|call| call.text("call") < id && call.seq < seq);
    if !hold.of_subagent && before.max_by_key(|call| call.text("call")).is_some_and(is_cut) {
        return true;
    }
    // A hold may come into the log later than the call that was made again; then the model was asked the same.
    if !fresh().any(|call| call.seq < seq && is_cut(call)) {
        return false;
    }
    let calls =
        || history.upstream.iter().filter(|call| call.execution == recorded.id && call.outcome == "answered");
    let place = |call: &UpstreamCall| (call.thread == "main", call.scene.clone(), call.turn, call.step);
    let mut asked = calls().filter(|call| match hold.of_subagent {
        true => call.thread == "main",
        false => call.tool_use_ids.iter().any(|id| id == hold.call),
    });
    asked.any(|asked| {
        calls().any(|again| place(again) == place(asked) && again.message_id != asked.message_id)
    })
}

/// What the harness was told is what the log says.
fn told(recorded: &Recorded, answered: &Answered, hold: Option<&Hold<'_>>, findings: &mut Findings) {
    let id = &recorded.id;
    let Some(hold) = hold else {
        let what = format!("hold {} was shown and is not in the log", answered.hold);
        return findings.add(Fault::EventLost, id, what);
    };
    if *hold.input != answered.shown {
        let what = format!("hold {}: {} was shown, {} is asked", answered.hold, answered.shown, hold.input);
        findings.add(Fault::OtherArguments, id, what);
    }
    match &answered.outcome {
        Outcome::Unknown => {}
        Outcome::Taken => {
            if !hold.decision.is_some_and(|decision| is_that(decision, answered)) {
                let what = format!(
                    "hold {}: {} was told that {} is taken; the log has {:?}",
                    answered.hold, answered.by, answered.request, hold.decision
                );
                findings.add(Fault::DecisionLost, id, what);
            }
        }
        Outcome::Refused { status: 409, answered_by: Some(by) } => {
            if hold.decision.is_none_or(|decision| decision["by"]["name"] != by.as_str()) {
                let what = format!(
                    "hold {}: {by} is said to have answered; the log has {:?}",
                    answered.hold, hold.decision
                );
                findings.add(Fault::DecisionLost, id, what);
            }
        }
        Outcome::Refused { status: 409, .. } => {}
        Outcome::Refused { status, .. } => {
            let what = format!("hold {}: {} was refused with {status}", answered.hold, answered.request);
            findings.add(Fault::DecisionLost, id, what);
        }
    }
}

/// Whether the decision in the log is the one that was sent.
fn is_that(decision: &Value, answered: &Answered) -> bool {
    let (answer, request) = (&decision["answer"], &answered.request);
    let action = match answer["action"].as_str() {
        Some("answers") => "answer",
        other => other.unwrap_or_default(),
    };
    if decision["by"]["name"] != answered.by.as_str() || request["action"] != action {
        return false;
    }
    match action {
        "deny" => answer["message"] == request["message"],
        "reply" => answer["text"] == request["message"],
        // A plan's edit is one key of its input.
        "allow" if request["input"]["plan"].is_string() => {
            answer["input"]["plan"] == request["input"]["plan"]
        }
        "allow" => answer["input"] == request["input"],
        _ => true,
    }
}
