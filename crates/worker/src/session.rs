//! Starting the session: which conversation to go on with, and how.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use holdpoint_claude::{
    Claude, Events, Handle, HookEvent, HookMatcher, OnHookFailure, Options, SessionChoice, SpawnError,
    UserMessage,
    transcript::{self, Transcript},
};
use holdpoint_model::{
    MessageId,
    event::{Message, Problem},
    wire::WorkerSpec,
};
use tracing::info;

/// The mark by which everything that the session starts can be found again, in its environment.
/// The engine looks for it; see `holdpoint_engine::SESSION_MARK`.
const SESSION_MARK: &str = "HOLDPOINT_SESSION";

/// How often the CLI tries a model call again. It waits longer each time, up to about half a minute:
/// this covers [`holdpoint_model::wire::LEASE_MS`].
const MODEL_CALL_RETRIES: u32 = 25;

/// The callback that sees every tool call before it is asked for.
pub(crate) const BEFORE_TOOL: &str = "before-tool";

/// A session that is starting.
pub(crate) struct Started {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    /// It goes on with an existing transcript.
    pub(crate) resumed: bool,
    /// An interrupted turn is to go on by itself.
    pub(crate) goes_on: bool,
    /// User messages that the transcript already has: never to be sent again (invariant 11).
    pub(crate) in_transcript: HashSet<MessageId>,
    /// Messages of the interrupted turn that the transcript lost: to be sent again, same uuid. The first
    /// begins the turn again; later ones were written into it and reach it as it goes on.
    pub(crate) lost_messages: Vec<Message>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("mend the transcript of the session: {0}")]
    Transcript(#[from] io::Error),
    #[error(transparent)]
    Spawn(#[from] SpawnError),
}

/// Starts the CLI.
pub(crate) async fn start(spec: &WorkerSpec) -> Result<Started, StartError> {
    let config_dir = spec.home.join(".claude");
    let mut found = usable_transcript(&config_dir, spec)?;
    let has = |transcript: &Transcript, message: &Message| transcript.contains_user_message(message.id.0);
    let lost_messages: Vec<Message> = spec
        .turn_messages
        .iter()
        .filter(|message| !found.as_ref().is_some_and(|(_, transcript)| has(transcript, message)))
        .cloned()
        .collect();
    let resumed = found.is_some();
    let choice =
        if resumed { SessionChoice::resume(spec.session.0) } else { SessionChoice::New(spec.session.0) };
    let mut goes_on = false;
    if let Some((path, transcript)) = &mut found {
        // A turn whose message the transcript has goes on by itself; one whose message was lost begins
        // again with that message, and the gateway answers it from the record.
        goes_on = spec.turn_open && spec.turn_messages.first().is_none_or(|first| has(transcript, first));
        if goes_on {
            transcript.reopen();
        }
        if transcript.save(path)? {
            info!("mended the transcript");
        }
    }
    info!(resumed, goes_on, lost = lost_messages.len(), "starting the session");
    let (handle, events) = Claude::spawn(options(spec, config_dir, choice, goes_on)).await?;
    let entries = found.iter().flat_map(|(_, transcript)| &transcript.entries);
    let in_transcript = entries.filter_map(|entry| entry.user_message.map(MessageId)).collect();
    Ok(Started { handle, events, resumed, goes_on, in_transcript, lost_messages })
}

/// The transcript, straightened, if there is one that the CLI can resume. One without a single message (the
/// CLI was killed before its first flush, or could not write) is put aside, since the CLI would refuse both to resume it and to
/// begin another under the same id. One that cannot be read is no empty one: the session does not start.
fn usable_transcript(config_dir: &Path, spec: &WorkerSpec) -> io::Result<Option<(PathBuf, Transcript)>> {
    let Some(path) = transcript::find(config_dir, spec.session.0) else { return Ok(None) };
    let mut transcript = Transcript::read(&path)?;
    transcript.straighten();
    if transcript.entries.iter().any(|entry| matches!(entry.kind.as_str(), "user" | "assistant")) {
        return Ok(Some((path, transcript)));
    }
    let aside = path.with_extension(format!("unusable-{}", spec.incarnation));
    std::fs::rename(&path, &aside)?;
    Ok(None)
}

fn options(spec: &WorkerSpec, config_dir: PathBuf, choice: SessionChoice, goes_on: bool) -> Options {
    let mut options = Options::new(&spec.cli, &spec.workspace, config_dir, choice)
        .inherit_env::<String>([])
        .env("HOME", &spec.home)
        .env("ANTHROPIC_BASE_URL", &spec.gateway_url)
        .env("ANTHROPIC_API_KEY", &spec.gateway_token)
        .env(SESSION_MARK, format!("{}/{}", spec.execution, spec.incarnation))
        .include_partial_messages(true)
        .resume_interrupted_turn(goes_on)
        .background_tasks(spec.background)
        // The gateway may be away for as long as the lease is good: a turn must not fail for that.
        .max_retries(MODEL_CALL_RETRIES)
        // Nothing runs if we cannot be asked: policy is ours, not the CLI's.
        .hook(HookEvent::PreToolUse, HookMatcher::all(BEFORE_TOOL).on_failure(OnHookFailure::Block));
    for (name, value) in &spec.environment {
        options = options.env(name, value);
    }
    if !spec.model.is_empty() {
        options = options.model(&spec.model);
    }
    if !spec.system_prompt.is_empty() {
        options = options.append_system_prompt(&spec.system_prompt);
    }
    for plugin in &spec.plugins {
        options = options.plugin_dir(plugin);
    }
    if let Some(turns) = spec.max_turns {
        options = options.max_turns(turns);
    }
    if let Some(budget) = spec.max_budget_usd {
        options = options.max_budget_usd(budget);
    }
    options
}

/// A person's message as the CLI takes it: verbatim, because a `/command` or an `@file` in it would
/// act without anybody being asked.
pub(crate) fn user_message(message: &Message) -> UserMessage {
    let mut text = message.text.clone();
    if !message.files.is_empty() {
        text.push_str("\n\nAttached files, in the working directory:");
        for file in &message.files {
            text.push_str("\n- ");
            text.push_str(file);
        }
    }
    UserMessage::text(text).uuid(message.id.0).verbatim()
}

/// A start that no other worker would fare better with, as people read it; None when it may.
pub(crate) fn hopeless(error: &StartError) -> Option<Problem> {
    let StartError::Spawn(error) = error else { return None };
    if let SpawnError::ConfigDirUnwritable { source, .. } = error
        && matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    {
        // It goes on when there is space again.
        return None;
    }
    let problem = |code: &str, hint: &str| {
        Some(Problem {
            code: code.into(),
            title: format!("failed to {error}"),
            detail: "The conversation has no session, so nothing can run.".into(),
            hint: hint.into(),
        })
    };
    match error {
        SpawnError::CliMissing { .. } | SpawnError::CliNotExecutable { .. } => problem(
            "cli_missing",
            "Run `holdpoint cli install`, or set `[claude] cli` in holdpoint.toml to a program that is there.",
        ),
        SpawnError::ConfigDirUnwritable { .. } => problem(
            "config_unwritable",
            "Make the data folder writable for the user that runs Holdpoint, and check for free space.",
        ),
        SpawnError::CwdMissing { .. } => problem(
            "workspace_missing",
            "The workspace was removed from the data folder; start the conversation again.",
        ),
        _ => None,
    }
}
