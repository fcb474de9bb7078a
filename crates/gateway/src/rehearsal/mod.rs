//! An upstream that a script answers: offline, free, repeatable; and as strict as the real API.
//!
//! The place in the script is read off each request's own messages, so nothing is remembered and
//! everything survives a restart; only faults that come a number of times are counted in memory.
//! Every answer has fresh ids: what works here does not work by repetition.

mod answer;
mod ids;
mod journal;
mod position;
mod script;
mod source;
mod strict;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_model::ExecutionId;
use http::StatusCode;
use serde_json::json;

pub(crate) use self::position::persons_words;
use self::{answer::Answer, position::Position};
pub use self::{
    journal::{Entry, Journal},
    script::{Fault, Scene, Script, ScriptError, Step, ToolUse, When},
    source::Source,
};
use crate::{
    cassette::Cassette,
    error::ApiError,
    thread::Thread,
    upstream::{Call, Reply, Upstream, UpstreamError},
};

/// The built-in tour: a conversation that shows what a person may be asked.
pub const TOUR: &str = include_str!("../../scripts/tour.yaml");

/// How a release is tried out.
pub const VERIFICATION: &str = include_str!("../../scripts/verification.yaml");

/// Scenes for tests: every kind of hold, and every kind of trouble.
pub const HOLDS: &str = include_str!("../../scripts/holds.yaml");

/// Finds scripts by name.
pub trait Scripts: Send + Sync + 'static {
    /// The script, or cassette, of this name.
    fn script(&self, name: &str) -> Option<Source>;
}

impl Scripts for HashMap<String, Source> {
    fn script(&self, name: &str) -> Option<Source> {
        self.get(name).cloned()
    }
}

/// One script, whatever the name.
#[derive(Debug, Clone)]
pub struct Always(pub Arc<Script>);

impl Scripts for Always {
    fn script(&self, _: &str) -> Option<Source> {
        Some(Source::Script(self.0.clone()))
    }
}

/// The scripted upstream.
#[derive(Clone)]
pub struct Rehearsal {
    scripts: Arc<dyn Scripts>,
    journal: Journal,
    /// How often a fault has come: by conversation, and by line, turn and place in the script.
    faults: Arc<Mutex<HashMap<FaultKey, u32>>>,
    /// Which recorded thread each subagent of a conversation is.
    threads: Arc<Mutex<HashMap<ExecutionId, HashMap<Thread, Thread>>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FaultKey {
    execution: ExecutionId,
    script: String,
    scene: usize,
    turn: usize,
    step: usize,
    fault: usize,
}

impl fmt::Debug for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rehearsal").finish_non_exhaustive()
    }
}

impl Rehearsal {
    /// An upstream that plays these scripts and writes down what it is asked.
    #[must_use]
    pub fn new(scripts: impl Scripts, journal: Journal) -> Self {
        Self { scripts: Arc::new(scripts), journal, faults: Arc::default(), threads: Arc::default() }
    }

    /// What it was asked so far.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    fn answer(&self, call: &Call) -> Reply {
        if call.path.starts_with("/v1/models") {
            return Reply::json(
                StatusCode::OK,
                &json!({"data": [], "has_more": false, "first_id": null, "last_id": null}),
            );
        }
        if call.path.starts_with("/v1/messages/count_tokens") {
            return Reply::json(StatusCode::OK, &json!({"input_tokens": call.body.len().div_ceil(4)}));
        }
        let mut entry = Entry {
            call: 0,
            execution: call.execution,
            incarnation: call.incarnation,
            thread: call.thread.clone(),
            script: call.script.clone().unwrap_or_default(),
            scene: String::new(),
            turn: 0,
            step: 0,
            outcome: String::new(),
            message_id: None,
            tool_use_ids: Vec::new(),
        };
        let reply = self.play(call, &mut entry).unwrap_or_else(|error| {
            if entry.outcome.is_empty() {
                entry.outcome = format!("refused: {}", error.message);
            }
            answer::error(&error)
        });
        self.journal.write(entry);
        reply
    }

    fn play(&self, call: &Call, entry: &mut Entry) -> Result<Reply, ApiError> {
        let name = call.script.as_deref().unwrap_or_default();
        let script = self.scripts.script(name).ok_or_else(|| {
            ApiError::new(
                StatusCode::NOT_FOUND,
                format!("there is no rehearsal script {name:?}: deploy it with the agent"),
            )
        })?;
        let merged = call.request.merged();
        strict::check(&call.request, &merged)?;
        let script = match script {
            Source::Script(script) => script,
            Source::Cassette(cassette) => return self.play_back(&cassette, call, entry),
        };
        // Recorded thinking is signed by the model, which nobody here can check.
        strict::check_thinking(&merged)?;
        if call.thread == Thread::Side {
            let answer = Answer::aside(&call.request);
            "side".clone_into(&mut entry.outcome);
            entry.message_id = Some(answer.message_id().to_owned());
            return Ok(answer.reply(call.request.stream));
        }
        let mut position = Position::of(&merged);
        position.plan_file = position::plan_file(&call.request).unwrap_or_default();
        let Some((index, scene)) = script.scene(&position.first_prompt).and_then(|scene| {
            script.scenes.iter().position(|one| std::ptr::eq(one, scene)).map(|at| (at, scene))
        }) else {
            let answer = Answer::no_scene(call, &script, &position);
            "no scene".clone_into(&mut entry.outcome);
            return Ok(answer.reply(call.request.stream));
        };
        entry.scene.clone_from(&scene.name);
        (entry.turn, entry.step) = (position.turn, position.step + 1);
        let step = scene.turns.get(position.turn.saturating_sub(1)).and_then(|turn| turn.get(position.step));
        let Some(step) = step else {
            let answer = Answer::end_of_scene(call, &script, scene, &position);
            "past the end".clone_into(&mut entry.outcome);
            return Ok(answer.reply(call.request.stream));
        };
        let key = |fault| FaultKey {
            execution: call.execution,
            script: script.name.clone(),
            scene: index,
            turn: position.turn,
            step: position.step,
            fault,
        };
        let due = step.all_faults().enumerate().find(|(at, (_, times))| self.is_due(key(*at), *times));
        let answer = Answer::of(call, step, &position);
        let Some((_, (fault, _))) = due else {
            "answered".clone_into(&mut entry.outcome);
            entry.message_id = Some(answer.message_id().to_owned());
            entry.tool_use_ids = answer.tool_use_ids();
            return Ok(answer.reply(call.request.stream));
        };
        if let Some(status) = fault.error {
            entry.outcome = format!("error {status}");
            return Err(answer::scripted_error(status, fault.retry_after));
        }
        if let Some(kind) = &fault.sse_error {
            entry.outcome = format!("sse_error {kind}");
            return Ok(answer.reply_with_error_event(kind));
        }
        "cut".clone_into(&mut entry.outcome);
        Ok(answer.reply_cut(fault.cut_after.unwrap_or_default()))
    }

    /// Answers from a cassette.
    fn play_back(&self, cassette: &Cassette, call: &Call, entry: &mut Entry) -> Result<Reply, ApiError> {
        entry.scene.clone_from(&cassette.name);
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let known = threads.entry(call.execution).or_default();
        let taken = known.values().cloned().collect();
        let chosen = cassette.answer(call, known.get(&call.thread), &taken).map_err(ApiError::invalid)?;
        let Some(chosen) = chosen else {
            "side".clone_into(&mut entry.outcome);
            return Ok(Answer::aside(&call.request).reply(call.request.stream));
        };
        known.insert(call.thread.clone(), chosen.thread);
        let answer = Answer::recorded(chosen.response);
        "answered".clone_into(&mut entry.outcome);
        entry.step = chosen.number;
        entry.message_id = Some(answer.message_id().to_owned());
        entry.tool_use_ids = answer.tool_use_ids();
        Ok(answer.reply(call.request.stream))
    }

    /// Whether a fault comes now; it is counted if so.
    fn is_due(&self, key: FaultKey, times: u32) -> bool {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let come = faults.entry(key).or_default();
        let due = *come < times;
        *come = come.saturating_add(u32::from(due));
        due
    }
}

impl Upstream for Rehearsal {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        async move { Ok(self.answer(&call)) }.boxed()
    }
}
