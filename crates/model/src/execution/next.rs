//! What should be done about an execution from outside.

use std::collections::BTreeSet;

use crate::event::SendMode;
use crate::{Execution, HoldId, HoldKind, HoldState, MessageId, Residency};

/// One thing to do. All of them are safe to do again: each begins with a command that is refused
/// when it is not needed any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Start a worker; says why.
    StartWorker(&'static str),
    /// Hand this decision (or the news of an expiry) to the session.
    Release(HoldId),
    /// Send this message to the session.
    Send(MessageId),
    /// Stop the present turn.
    Interrupt,
    /// End the worker: the execution is over.
    StopWorker,
}

impl Execution {
    /// What should be done now.
    #[must_use]
    pub fn next(&self) -> Vec<Need> {
        if self.status.is_final() {
            return if self.residency.has_worker() { vec![Need::StopWorker] } else { Vec::new() };
        }
        match self.residency {
            Residency::Starting => Vec::new(),
            Residency::Absent | Residency::Parked | Residency::Lost => {
                self.reason_to_start().map(Need::StartWorker).into_iter().collect()
            }
            Residency::Warm => self.next_when_warm(),
        }
    }

    fn next_when_warm(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self
            .holds
            .values()
            .filter(|hold| hold.asked_by == Some(self.incarnation))
            .filter(|hold| {
                matches!(hold.state, HoldState::Answered { .. } | HoldState::Expired { told: None })
            })
            .map(|hold| Need::Release(hold.id))
            .collect();
        if self.interrupt && self.turn.is_some() {
            needs.push(Need::Interrupt);
        }
        let in_flight = self.messages.iter().any(|pending| pending.sent_to.is_some());
        let may_queue = self.turn.is_none() && !in_flight;
        let mut queued = self.messages.iter().filter(|pending| pending.sent_to.is_none());
        if may_queue {
            needs.extend(queued.next().map(|pending| Need::Send(pending.message.id)));
        } else {
            needs.extend(
                queued
                    .filter(|pending| pending.message.mode == SendMode::Steer)
                    .map(|pending| Need::Send(pending.message.id)),
            );
        }
        needs
    }

    /// Why a session without a worker needs one now, if it does.
    fn reason_to_start(&self) -> Option<&'static str> {
        let decided = self.holds.values().any(|hold| {
            hold.kind != HoldKind::Reply
                && matches!(hold.state, HoldState::Answered { .. } | HoldState::Expired { told: None })
        });
        if decided {
            Some("a decision has to be handed over")
        } else if self.turn.is_none() && !self.messages.is_empty() {
            Some("a message has to be sent")
        } else if self.turn.is_some() && self.open_holds().next().is_none() {
            Some("an interrupted turn goes on")
        } else if self.turn.is_some() && self.interrupt {
            Some("the turn has to be interrupted")
        } else {
            None
        }
    }

    /// Whether a checkpoint should be taken: everything waits for people, and something has happened since
    /// the last one.
    #[must_use]
    pub fn wants_checkpoint(&self) -> bool {
        let is_over = self.status.is_final() && !self.residency.has_worker() && self.has_started;
        let rests = is_over || self.residency == Residency::Parked || self.is_waiting();
        rests && self.checkpoint_seq.is_none_or(|last| last < self.seq)
    }

    /// Whether everything waits for people, so that the worker may park: every running thing is an
    /// open hold, or the turn is over and a reply is awaited.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        if self.residency != Residency::Warm || self.status.is_final() || !self.messages.is_empty() {
            return false;
        }
        // What runs in the background would be lost; an interrupt would be forgotten.
        if self.background > 0 || self.interrupt {
            return false;
        }
        let open: Vec<_> = self.open_holds().collect();
        if open.len() != self.holds.len() || open.is_empty() {
            return false;
        }
        // The turn is over, but the session has not said that nothing follows.
        let Some(turn) = &self.turn else { return self.idle };
        // A hold that is being released was left out above; what policy let run is not a hold.
        let running = turn.tools.values().filter(|call| call.started && call.result_seq.is_none());
        let (subagents, others): (Vec<_>, Vec<_>) = running.partition(|call| is_subagent(&call.name));
        // A subagent waits if it asks; one that does not is at work.
        let asking: BTreeSet<&str> =
            self.open_holds().filter_map(|hold| hold.subject.agent_id.as_deref()).collect();
        others.is_empty() && subagents.len() <= asking.len()
    }
}

/// Whether a tool runs a subagent: its own tools ask each for itself.
fn is_subagent(tool: &str) -> bool {
    matches!(tool, "Agent" | "Task")
}
