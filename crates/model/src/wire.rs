//! What a worker and the control plane say to each other: JSON text frames over one WebSocket that
//! the worker opens, and the specification file that a worker starts with.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{AssistantBlock, Block, Level, Message, Problem, ResultFile, ToolResult, TurnResult};
use crate::{
    ContainerDef, Digest, ExecutionId, HoldId, Incarnation, MessageId, Policy, Rule, SessionId, UnixMs,
    WorkerSeq,
};

/// The version of these types: what a worker of this program speaks.
pub const WIRE_VERSION: u32 = 1;

/// The oldest version that a control plane of this program still understands: workers outlive it, and an
/// upgrade finds them at work. One that speaks another is refused with the reason; it ends, and its
/// conversation goes on with a worker of the new program, as after any loss.
pub const OLDEST_WIRE: u32 = 1;

/// The longest frame taken, in bytes: a fact holds at most one tool result or one message.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// The longest tool result kept in the log, in bytes; the session itself has all of it.
pub const MAX_TOOL_RESULT_BYTES: usize = 256 * 1024;

/// How long a worker may go on without hearing from the control plane. Long, so that an upgrade or
/// a repair of the control plane costs nothing; the worker ends itself before it is over.
pub const LEASE_MS: u64 = 10 * 60 * 1000;

/// How often a worker renews its lease.
pub const RENEW_EVERY_MS: u64 = 5_000;

/// How long before the end of its lease a worker ends its own process tree.
pub const LEASE_MARGIN_MS: u64 = 20_000;

/// From a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "up", rename_all = "snake_case")]
pub enum Up {
    /// First frame after connecting.
    Hello {
        /// [`WIRE_VERSION`].
        wire: u32,
        /// Whose worker.
        execution: ExecutionId,
        /// Its number.
        incarnation: Incarnation,
        /// The highest fact number in its journal.
        last_seq: WorkerSeq,
        /// Holds whose release it has, written or not: not to be handed over again.
        releases: Vec<HoldId>,
        /// Messages that it has: not to be sent again.
        messages: Vec<MessageId>,
    },
    /// Facts, in order.
    Facts {
        /// Each with its number.
        facts: Vec<NumberedFact>,
    },
    /// Part of what the model is writing: for the eye only, never a fact.
    Delta(Delta),
    /// A sign of life, and a request to renew the lease.
    Renew,
}

/// To a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "down", rename_all = "snake_case")]
pub enum Down {
    /// Answer to `Hello`.
    Welcome {
        /// Facts up to this number are committed.
        acked: WorkerSeq,
        /// From now.
        lease_ms: u64,
    },
    /// The worker must end: it is fenced off, or speaks another version.
    Refused {
        /// In words.
        reason: String,
    },
    /// This connection ends, and the worker is to come back: something keeps what it tells from being committed, a
    /// full disk say. One that does not know this frame leaves it out, and comes back all the same.
    TryAgain {
        /// In words.
        reason: String,
    },
    /// Facts up to this number are committed.
    Ack {
        /// The number.
        up_to: WorkerSeq,
    },
    /// The lease, renewed from now.
    Lease {
        /// How long.
        lease_ms: u64,
    },
    /// Hand this decision to the session, once. The intent is committed.
    Release(Release),
    /// Send this message to the session, once. The intent is committed.
    Send {
        /// Which.
        message: Message,
    },
    /// Stop the present turn.
    Interrupt,
    /// End the session and the worker.
    Stop {
        /// Whether it will go on later: the CLI then must not be told that its stream closed.
        park: bool,
    },
}

/// A decision on its way to the CLI.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// Which hold.
    pub hold: HoldId,
    /// The call that asks.
    pub tool_use_id: String,
    /// The digest of the raw input that was decided on: the worker compares it with what is asked.
    pub digest: Digest,
    /// What to tell the CLI.
    pub behaviour: Behaviour,
}

/// The answer to a permission request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "behaviour", rename_all = "snake_case")]
pub enum Behaviour {
    /// Run it with this whole input.
    Allow {
        /// The input.
        input: Value,
    },
    /// Refuse it.
    Deny {
        /// What the model reads.
        message: String,
    },
}

/// Part of what the model is writing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delta {
    /// Changes whenever the model starts anew, a retry included: older deltas are void then.
    pub attempt: String,
    /// Which content block.
    pub index: u32,
    /// `text` or `thinking`.
    pub kind: String,
    /// The part.
    pub text: String,
    /// The subagent's call, if a subagent writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_tool_use_id: Option<String>,
}

/// A fact with the worker's number for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NumberedFact {
    /// From 1, without a gap, per incarnation.
    pub seq: WorkerSeq,
    /// When, by the worker's clock.
    pub at: UnixMs,
    /// What.
    pub fact: Fact,
}

/// What a worker saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The session is up.
    SessionReady {
        /// The CLI's version.
        cli_version: String,
        /// Whether it went on with an existing transcript.
        resumed: bool,
    },
    /// The session has the message.
    MessageDelivered {
        /// Which.
        message: MessageId,
    },
    /// A complete block.
    Assistant(AssistantBlock),
    /// A tool runs that policy allows and that may be repeated.
    ToolStarted {
        /// The call.
        tool_use_id: String,
        /// The tool.
        tool: String,
        /// By which rule.
        rule: Rule,
    },
    /// The session asks for permission.
    Asked {
        /// The call.
        tool_use_id: String,
        /// The tool.
        tool: String,
        /// The raw input.
        input: Value,
        /// Where its path leads; see [`Subject::place`](crate::hold::Subject::place).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<String>,
        /// The CLI's line about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Which subagent asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent_id: Option<String>,
    },
    /// The session has nothing to do any more but what runs in the background.
    Idle,
    /// So many tasks run in the background now.
    Background {
        /// How many.
        running: u32,
    },
    /// The session does not ask any more.
    AskWithdrawn {
        /// The call.
        tool_use_id: String,
    },
    /// The answer is about to be written to the CLI; journaled before the write.
    AnswerWritten {
        /// Which hold.
        hold: HoldId,
    },
    /// The answer came too late or fits nothing that is asked; it was not written.
    AnswerDropped {
        /// Which hold.
        hold: HoldId,
        /// In words.
        reason: String,
    },
    /// A tool's result.
    ToolResult(ToolResult),
    /// The CLI tries a model call again.
    ApiRetry {
        /// Which attempt comes next.
        attempt: u32,
        /// Of how many.
        max_retries: u32,
        /// In how many milliseconds.
        delay_ms: u64,
        /// The HTTP status that failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        /// The CLI's word for it.
        error: String,
    },
    /// The turn is over.
    TurnEnded(TurnResult),
    /// What is in the workspace now.
    Files {
        /// Result files.
        files: Vec<ResultFile>,
        /// How many more there are.
        omitted: u64,
    },
    /// Something people should know.
    Notice {
        /// How much it matters.
        level: Level,
        /// In words.
        text: String,
    },
    /// A frame without a word of ours.
    CliFrame {
        /// Its type.
        name: String,
        /// As it came, bounded.
        frame: Value,
    },
    /// The session ended or never came up, and another worker would fare no better.
    Fatal {
        /// What failed.
        error: Problem,
    },
}

/// What a worker starts with: `spec.json` in its incarnation's folder, readable by the owner alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// [`WIRE_VERSION`] of who wrote it.
    pub wire: u32,
    /// Whose worker.
    pub execution: ExecutionId,
    /// Its number.
    pub incarnation: Incarnation,
    /// Where to connect: `ws://…`.
    pub control_url: String,
    /// The worker's own secret; never given to the CLI.
    pub worker_token: String,
    /// The session's model endpoint.
    pub gateway_url: String,
    /// The session's token for it, good for this incarnation alone.
    pub gateway_token: String,
    /// The CLI's program file, where the session runs.
    pub cli: PathBuf,
    /// The session runs in a container; None when beside the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<Bridge>,
    /// What the session gets there.
    #[serde(default)]
    pub container: ContainerDef,
    /// The session's id.
    pub session: SessionId,
    /// The session's working directory; the same path in every incarnation.
    pub workspace: PathBuf,
    /// HOME of the session; the same path in every incarnation.
    pub home: PathBuf,
    /// The worker's folder: journal, log.
    pub run_dir: PathBuf,
    /// Whether a turn was interrupted and has to go on by itself.
    pub turn_open: bool,
    /// Messages of the interrupted turn that the session had: sent again only if the transcript
    /// does not have them.
    pub turn_messages: Vec<Message>,
    /// Results of the interrupted turn's tools that are in the log: a tool among them never runs again.
    pub known_results: BTreeMap<String, ToolResult>,
    /// Workers that were lost in a row before this one, without any progress.
    #[serde(default)]
    pub losses: u32,
    /// Blocks of the interrupted turn that are in the log: they come again when the turn goes on,
    /// and are not told again. By [`block_digest`].
    pub known_blocks: Vec<Digest>,
    /// Whether work may go on in the background.
    #[serde(default)]
    pub background: bool,
    /// What policy both allows and calls repeatable, the worker lets through by itself.
    pub policy: Policy,
    /// The model.
    pub model: String,
    /// Added to the CLI's system prompt.
    pub system_prompt: String,
    /// Plugin folders.
    pub plugins: Vec<PathBuf>,
    /// It runs in an image that cannot be changed, and may say what is missing there.
    #[serde(default)]
    pub suggests: bool,
    /// Model calls for one message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u32>,
    /// What is left of the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// Patterns of files that are no results.
    pub exclude: Vec<String>,
    /// More environment for the session (`PATH`, `LANG`, …).
    pub environment: BTreeMap<String, String>,
}

/// How a worker reaches a session in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The program that carries stdio: `program bridge …`.
    pub program: PathBuf,
    /// The folder for the socket; the container sees it as [`crate::container::SESSION_DIR`].
    pub folder: PathBuf,
    /// A file that the container does not see, where the bridge writes what people should know.
    pub notes: PathBuf,
    /// The memory of everything inside, in bytes; the first process sees to it where the kernel does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most processes and threads inside; the first of them counts where the kernel does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// The folder with the gateway's socket, where the container does not see it: then the bridge leads the
    /// first process's calls there, and nobody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<PathBuf>,
}

/// The digest by which a block of the model's answer is recognised when it comes again.
#[must_use]
pub fn block_digest(block: &Block) -> Digest {
    match block {
        // The same call is the same block, whatever else a replay changed around it.
        Block::ToolUse { id, .. } => Digest::of_bytes(id.as_bytes()),
        Block::Text { text } => Digest::of_bytes(text.as_bytes()),
        Block::Thinking { thinking } => Digest::of_bytes(thinking.as_bytes()),
        Block::Other { raw } => Digest::of(raw),
    }
}

/// One line of a worker's journal: an append-only file of JSON lines in its run folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum JournalLine {
    /// A fact, written before it is sent.
    Fact(NumberedFact),
    /// A release was received; it is not to be handed over again.
    Release {
        /// Which hold.
        hold: HoldId,
    },
    /// A message was received; it is not to be sent again.
    Send {
        /// Which.
        message: MessageId,
    },
}

/// The name of the journal in a worker's run folder.
pub const JOURNAL_FILE: &str = "journal.jsonl";

/// The lines of a journal. A last line that was cut by a crash is left out; it was never acted on.
#[must_use]
pub fn read_journal(text: &str) -> Vec<JournalLine> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_left_out() {
        let whole = JournalLine::Fact(NumberedFact {
            seq: 1,
            at: 5,
            fact: Fact::SessionReady { cli_version: "1".into(), resumed: false },
        });
        let text = format!("{}\n{{\"line\":\"release\",\"ho", serde_json::to_string(&whole).expect("json"));
        assert_eq!(read_journal(&text), vec![whole]);
    }
}
