//! The checker: pure, over what was recorded. It believes nobody alone: the log says what was decided, the
//! nonces what ran, the rehearsal's record what was asked of the model, the harness what it was told.

mod calls;
mod decisions;
mod events;
mod history;
mod messages;
mod runs;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_more;

use std::collections::BTreeMap;

pub use history::{Answered, Event, History, Nonce, Outcome, Recorded, Said, UpstreamCall, words_of};

/// What may be wrong. Every one has a row in the table, and a planted bug in the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A committed or seen event is not in the log, or a journaled fact never came into it.
    EventLost,
    /// An event, a fact, a block or a result is there twice.
    EventDoubled,
    /// Numbers go backwards, or an older incarnation speaks after a newer one.
    EventReordered,
    /// A decision was taken and is not in the log, or never had its effect.
    DecisionLost,
    /// Two releases or two answers for one decision.
    DecisionUsedTwice,
    /// Something else ran than what was decided on.
    OtherArguments,
    /// A tool ran that nobody and nothing allowed.
    RunWithoutDecision,
    /// A tool ran again and nobody allowed that again.
    RerunWithoutDecision,
    /// A person's message reached the session or the model twice.
    ReplySentTwice,
    /// A person's message was taken and never reached the session.
    ReplyLost,
    /// The model was asked twice for what it had answered in full.
    PaidTwice,
    /// A request that the model's API refuses.
    CallRefused,
    /// A turn ended with an error although the script has none.
    TurnFailed,
    /// A conversation did not come to its end, or to a wrong one.
    Stuck,
    /// A process was left behind by a conversation that is over.
    LeftBehind,
}

impl Fault {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 15] = [
        Self::EventLost,
        Self::EventDoubled,
        Self::EventReordered,
        Self::DecisionLost,
        Self::DecisionUsedTwice,
        Self::OtherArguments,
        Self::RunWithoutDecision,
        Self::RerunWithoutDecision,
        Self::ReplySentTwice,
        Self::ReplyLost,
        Self::PaidTwice,
        Self::CallRefused,
        Self::TurnFailed,
        Self::Stuck,
        Self::LeftBehind,
    ];

    /// In words, as in the table.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::EventLost => "events lost",
            Self::EventDoubled => "events doubled",
            Self::EventReordered => "events reordered",
            Self::DecisionLost => "decisions lost",
            Self::DecisionUsedTwice => "decisions used twice",
            Self::OtherArguments => "decisions used for other arguments",
            Self::RunWithoutDecision => "tools run without a decision",
            Self::RerunWithoutDecision => "tools run again without a new one",
            Self::ReplySentTwice => "replies sent twice",
            Self::ReplyLost => "replies lost",
            Self::PaidTwice => "model calls paid twice",
            Self::CallRefused => "model calls the API would refuse",
            Self::TurnFailed => "turns failed",
            Self::Stuck => "executions stuck or ended wrongly",
            Self::LeftBehind => "processes left behind",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What kind of thing.
    pub fault: Fault,
    /// In which execution; empty where that is not known.
    pub execution: String,
    /// What exactly.
    pub what: String,
}

/// What the checker found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Each of them.
    pub all: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, fault: Fault, execution: &str, what: impl Into<String>) {
        self.all.push(Finding { fault, execution: execution.to_owned(), what: what.into() });
    }

    /// How many of a kind.
    #[must_use]
    pub fn count(&self, fault: Fault) -> usize {
        self.all.iter().filter(|finding| finding.fault == fault).count()
    }

    /// How many of each kind, zeros included.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Fault, usize> {
        Fault::ALL.into_iter().map(|fault| (fault, self.count(fault))).collect()
    }
}

/// Looks for everything that must not be.
#[must_use]
pub fn check(history: &History) -> Findings {
    let mut findings = Findings::default();
    for recorded in &history.executions {
        events::check(recorded, &mut findings);
        decisions::check(recorded, history, &mut findings);
        messages::check(recorded, history, &mut findings);
        calls::check(recorded, history, &mut findings);
        end(recorded, &mut findings);
    }
    runs::check(history, &mut findings);
    findings
}

/// How it ended, and whether it is over indeed.
fn end(recorded: &Recorded, findings: &mut Findings) {
    let id = &recorded.id;
    if recorded.status != recorded.expected_status {
        let why = recorded.of_kind("execution_failed").next().map(|event| event.data.to_string());
        let what = format!("it is {}, not {}", recorded.status, recorded.expected_status);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        findings.add(Fault::Stuck, id, what + &why);
    }
    if recorded.processes_left > 0 {
        findings.add(Fault::LeftBehind, id, format!("{} processes still run", recorded.processes_left));
    }
    for event in recorded.of_kind("turn_ended") {
        if event.data["ok"] != true {
            findings.add(Fault::TurnFailed, id, format!("seq {}: {}", event.seq, event.data));
        }
    }
}
