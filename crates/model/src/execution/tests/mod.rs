//! The aggregate from outside: what each command and fact does in each state that matters, and
//! what no sequence of them may ever do.

mod commands;
mod facts;
mod losses;
mod random;
mod releases;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::command::{DecideCtx, Gone};
use crate::event::{AssistantBlock, Block, Created, ToolResult, TurnResult};
use crate::hold::Assignee;
use crate::wire::Fact;
use crate::{
    Actor, AgentDef, Channel, Command, DecisionRequest, Event, EventBody, Execution, ExecutionId, Hold,
    HoldId, HoldState, Incarnation, MessageId, Refusal, SessionId, UnixMs, UserId,
};

use super::create;

/// An execution that is driven by hand, with its log.
struct Run {
    execution: Execution,
    log: Vec<Event>,
    now: UnixMs,
    ids: u128,
}

impl Run {
    fn new(definition: AgentDef) -> Self {
        let id = ExecutionId(Uuid::from_u128(1));
        let mut ids = 1_000;
        let created = Created {
            agent: "claude".into(),
            definition,
            title: "a test".into(),
            owner: person("ada"),
            session: SessionId(Uuid::from_u128(2)),
            inputs: std::collections::BTreeMap::new(),
            rehearsal: false,
            forked_from: None,
            release: None,
        };
        let mut fresh = || {
            ids += 1;
            Uuid::from_u128(ids)
        };
        let bodies = create(created, "do it".into(), vec![], &mut DecideCtx { now: 0, fresh_id: &mut fresh });
        let log: Vec<Event> = (1..)
            .zip(bodies)
            .map(|(seq, body)| Event { execution: id, seq, at: 0, incarnation: None, worker_seq: None, body })
            .collect();
        let execution = Execution::rebuild(&log).expect("a log");
        Self { execution, log, now: 0, ids }
    }

    /// With a worker that is up and has the first message.
    fn working(definition: AgentDef) -> Self {
        let mut run = Self::new(definition);
        run.start_worker();
        run.fact(ready());
        run.send_first();
        run
    }

    /// As [`Self::working`], and waiting at a hold over a call of `Bash`.
    fn asking(definition: AgentDef, call: &str) -> (Self, HoldId) {
        let mut run = Self::working(definition);
        run.fact(asks(call, "Bash", bash("make")));
        let hold = run.hold_of(call).id;
        (run, hold)
    }

    /// As [`Self::working`], with the turn over.
    fn at_rest(definition: AgentDef) -> Self {
        let mut run = Self::working(definition);
        run.end_turn(true);
        run
    }

    fn apply(&mut self, command: Command) -> Result<Vec<EventBody>, Refusal> {
        let told_by = match &command {
            Command::Fact { incarnation, worker_seq, .. } => Some((*incarnation, *worker_seq)),
            _ => None,
        };
        let ids = &mut self.ids;
        let mut fresh = || {
            *ids += 1;
            Uuid::from_u128(*ids)
        };
        let bodies =
            self.execution.decide(command, &mut DecideCtx { now: self.now, fresh_id: &mut fresh })?;
        for (at, body) in bodies.iter().enumerate() {
            let event = Event {
                execution: self.execution.id,
                seq: self.execution.seq + 1,
                at: self.now,
                incarnation: told_by.map(|(incarnation, _)| incarnation),
                worker_seq: told_by.filter(|_| at == 0).map(|(_, worker_seq)| worker_seq),
                body: body.clone(),
            };
            self.execution.evolve(&event);
            self.log.push(event);
        }
        Ok(bodies)
    }

    /// Applies what is not refused here.
    fn does(&mut self, command: Command) -> Vec<EventBody> {
        let shown = format!("{command:?}");
        match self.apply(command) {
            Ok(events) => events,
            Err(refusal) => panic!("{shown} was refused: {refusal}"),
        }
    }

    fn refused(&mut self, command: Command) -> Refusal {
        let before = self.execution.clone();
        let shown = format!("{command:?}");
        match self.apply(command) {
            Ok(events) => panic!("{shown} was not refused: {events:?}"),
            Err(refusal) => {
                assert_eq!(self.execution, before, "a refusal changes nothing");
                refusal
            }
        }
    }

    /// The next fact of the present worker.
    fn fact(&mut self, fact: Fact) -> Vec<EventBody> {
        let (incarnation, worker_seq) = (self.execution.incarnation, self.execution.worker_seq + 1);
        self.does(Command::Fact { incarnation, worker_seq, fact })
    }

    /// The turn is over, and the session says that nothing follows.
    fn end_turn(&mut self, ok: bool) -> Vec<EventBody> {
        let mut events = self.fact(Fact::TurnEnded(turn(ok)));
        events.extend(self.fact(Fact::Idle));
        events
    }

    fn start_worker(&mut self) -> Incarnation {
        self.does(Command::StartWorker { engine: "process".into(), reason: "a test".into() });
        self.execution.incarnation
    }

    fn send_first(&mut self) -> MessageId {
        let message = self.execution.messages[0].message.id;
        self.does(Command::BeginMessage { message, incarnation: self.execution.incarnation });
        self.fact(Fact::MessageDelivered { message });
        message
    }

    fn lose(&mut self) -> Vec<EventBody> {
        self.does(Command::WorkerGone {
            incarnation: self.execution.incarnation,
            how: Gone::Lost { reason: "killed".into() },
        })
    }

    /// Another worker after a loss, up.
    fn restart(&mut self) {
        self.start_worker();
        self.fact(ready());
    }

    fn decide(&mut self, hold: HoldId, request: DecisionRequest) -> Result<Vec<EventBody>, Refusal> {
        self.apply(Command::Decide { hold, request, by: person("grace") })
    }

    fn release(&mut self, hold: HoldId) -> Vec<EventBody> {
        self.does(Command::BeginRelease { hold, incarnation: self.execution.incarnation })
    }

    fn hold_of(&self, call: &str) -> &Hold {
        self.execution.hold_of_call(call).expect("a hold of that call")
    }

    fn state_of(&self, hold: HoldId) -> Option<&HoldState> {
        self.execution.holds.get(&hold).map(|hold| &hold.state)
    }

    fn message(&mut self, text: &str) -> Vec<EventBody> {
        self.does(Command::Message {
            text: text.into(),
            files: vec![],
            mode: crate::event::SendMode::Queue,
            by: person("ada"),
        })
    }
}

/// The kinds of events, to compare in one line.
fn kinds(events: &[EventBody]) -> Vec<&'static str> {
    events.iter().map(EventBody::kind).collect()
}

fn person(name: &str) -> Actor {
    let id = name.bytes().fold(7_u128, |sum, byte| sum * 31 + u128::from(byte));
    Actor { user: Some(UserId(Uuid::from_u128(id))), name: name.into(), channel: Channel::Browser }
}

fn assignee(name: &str) -> Assignee {
    let user = person(name).user.expect("a person");
    Assignee { user, name: name.into() }
}

fn ready() -> Fact {
    Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false }
}

fn bash(command: &str) -> Value {
    json!({ "command": command })
}

fn asks(call: &str, tool: &str, input: Value) -> Fact {
    Fact::Asked {
        tool_use_id: call.into(),
        tool: tool.into(),
        input,
        place: None,
        description: None,
        agent_id: None,
    }
}

/// A subagent asks.
fn subagent_asks(call: &str) -> Fact {
    Fact::Asked {
        tool_use_id: call.into(),
        tool: "Bash".into(),
        input: bash("make"),
        place: None,
        description: None,
        agent_id: Some("sub".into()),
    }
}

fn result_of(call: &str) -> Fact {
    Fact::ToolResult(ToolResult {
        tool_use_id: call.into(),
        is_error: false,
        content: "done".into(),
        truncated: false,
        patch: None,
        from_transcript: false,
    })
}

fn calls(call: &str) -> Fact {
    Fact::Assistant(AssistantBlock {
        message_id: "msg".into(),
        block: Block::ToolUse { id: call.into(), name: "Bash".into(), input: bash("make") },
        parent_tool_use_id: None,
    })
}

fn turn(ok: bool) -> TurnResult {
    TurnResult {
        ok,
        reason: if ok { "completed" } else { "api_error" }.into(),
        text: "that is all".into(),
        structured: None,
        num_turns: 1,
        api_status: None,
        interrupted: false,
    }
}

fn allow() -> DecisionRequest {
    DecisionRequest { action: "allow".into(), ..DecisionRequest::default() }
}

fn deny() -> DecisionRequest {
    DecisionRequest { action: "deny".into(), ..DecisionRequest::default() }
}

fn reply(text: &str) -> DecisionRequest {
    DecisionRequest { action: "reply".into(), message: Some(text.into()), ..DecisionRequest::default() }
}
