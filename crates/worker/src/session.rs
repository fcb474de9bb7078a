//! Starting the session: which conversation to go on with, and how.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::FutureExt as _;
use holdpoint_beneath::{Refused, is_the_trees_doing};
use holdpoint_claude::{
    Claude, Events, Handle, HookEvent, HookMatcher, OnHookFailure, Options, SessionChoice, SpawnError,
    ToolServer, UserMessage,
    transcript::{self, Transcript, TranscriptFile},
};
use holdpoint_model::{
    Incarnation, MessageId, SessionId, Suggestion,
    event::{Message, Problem},
    release::{OWN_TOOLS, SUGGEST_TOOL},
    wire::{Bridge, WorkerSpec},
};
use serde_json::json;
use tracing::{info, warn};

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
    let config_dir = config_dir_of(spec);
    let mut found = usable_transcript(&config_dir, spec.session, spec.incarnation)?;
    let has = |transcript: &Transcript, message: &Message| transcript.contains_user_message(message.id.0);
    let is_lost =
        |message: &&Message| !found.as_ref().is_some_and(|(_, transcript)| has(transcript, message));
    let lost_messages: Vec<Message> = spec.turn_messages.iter().filter(is_lost).cloned().collect();
    let resumed = found.is_some();
    let choice =
        if resumed { SessionChoice::resume(spec.session.0) } else { SessionChoice::New(spec.session.0) };
    let mut goes_on = false;
    if let Some((file, transcript)) = &mut found {
        // A turn whose message the transcript has goes on by itself; one whose message was lost begins
        // again with that message, and the gateway answers it from the record.
        goes_on = spec.turn_open && spec.turn_messages.first().is_none_or(|first| has(transcript, first));
        if goes_on {
            transcript.reopen();
        }
        if file.save(transcript)? {
            info!("mended the transcript");
        }
    }
    info!(resumed, goes_on, lost = lost_messages.len(), "starting the session");
    let (handle, events) = Claude::spawn(options(spec, config_dir, choice, goes_on)).await?;
    let entries = found.iter().flat_map(|(_, transcript)| &transcript.entries);
    let in_transcript = entries.filter_map(|entry| entry.user_message.map(MessageId)).collect();
    Ok(Started { handle, events, resumed, goes_on, in_transcript, lost_messages })
}

fn config_dir_of(spec: &WorkerSpec) -> PathBuf {
    spec.home.join(".claude")
}

/// The transcript, straightened, if there is one that the CLI can resume. One without a single message (the
/// CLI was killed before its first flush, or could not write), or one that the session has made into
/// something else than a file, is put aside, since the CLI would refuse both to resume it and to begin
/// another under the same id. One that the machine cannot read now is not empty: the session does not start.
fn usable_transcript(
    config_dir: &Path,
    session: SessionId,
    incarnation: Incarnation,
) -> io::Result<Option<(TranscriptFile, Transcript)>> {
    let Some(file) = transcript::find(config_dir, session.0) else { return Ok(None) };
    let mut transcript = match file.read() {
        Ok(transcript) => transcript,
        Err(error) if is_the_trees_doing(&error) => {
            warn!(%error, "what the session has for a transcript is none");
            Transcript::default()
        }
        Err(error) => return Err(error),
    };
    transcript.straighten();
    if transcript.entries.iter().any(|entry| matches!(entry.kind.as_str(), "user" | "assistant")) {
        return Ok(Some((file, transcript)));
    }
    file.put_aside(&format!("unusable-{incarnation}"))?;
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
    if let Some(bridge) = &spec.bridge {
        options = options.through(through(bridge, spec, &config_dir_of(spec)));
    }
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
    if spec.suggests {
        options = options.sdk_mcp_server(OWN_TOOLS, Arc::new(own_tools()));
    }
    if let Some(turns) = spec.max_turns {
        options = options.max_turns(turns);
    }
    if let Some(budget) = spec.max_budget_usd {
        options = options.max_budget_usd(budget);
    }
    options
}

/// What a session has from Holdpoint itself. That something was suggested is in the log by the call alone
/// ([`Suggestion::in_block`]); here the model only hears whether it was understood.
fn own_tools() -> ToolServer {
    let text = |what: &str| json!({"type": "string", "description": what});
    let schema = json!({
        "type": "object",
        "properties": {
            "name": text("The package, as its index knows it."),
            "kind": {"type": "string", "enum": ["python", "npm", "system"]},
            "purpose": text("What it is for here."),
            "workaround": text("How you do without it for now."),
        },
        "required": ["name", "kind", "purpose", "workaround"],
    });
    let about = "Tells the people who look after your image which package it lacks. They add it or not; nothing is installed now.";
    ToolServer::new(OWN_TOOLS, env!("CARGO_PKG_VERSION")).tool(SUGGEST_TOOL, about, schema, |arguments| {
        let heard = Suggestion::parse(&arguments)
            .map(|suggestion| format!("Noted: {}. Go on without it.", suggestion.name));
        std::future::ready(heard).boxed()
    })
}

/// The program that stands for the CLI where that is in a container, and its arguments.
fn through(bridge: &Bridge, spec: &WorkerSpec, config_dir: &Path) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![(&bridge.program).into(), "bridge".into()];
    let mut add = |name: &str, value: &OsStr| args.extend([name.into(), value.into()]);
    add("--folder", bridge.folder.as_os_str());
    add("--notes", bridge.notes.as_os_str());
    // What the CLI writes to, and says late or never when it cannot.
    for folder in
        [&spec.workspace, &spec.home, config_dir, &config_dir.join("projects"), &config_dir.join("debug")]
    {
        add("--writable", folder.as_os_str());
    }
    if let Some(bytes) = bridge.memory_bytes {
        add("--memory-bytes", OsStr::new(&bytes.to_string()));
    }
    if let Some(most) = bridge.processes {
        add("--processes", OsStr::new(&most.to_string()));
    }
    if let Some(gateway) = &bridge.gateway {
        add("--gateway", gateway.as_os_str());
    }
    args.push("--".into());
    args
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
        SpawnError::ConfigDirUnwritable { source, .. }
            if source.get_ref().is_some_and(|it| it.is::<Refused>()) =>
        {
            problem(
                "config_replaced",
                "The session has put something else in the place of its own folder, and nothing is written through that. Branch off at an earlier turn, or start the conversation again.",
            )
        }
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;

    const ANSWERED: &str = "{\"type\":\"user\",\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"parentUuid\":null}\n{\"type\":\"assistant\",\"uuid\":\"00000000-0000-0000-0000-000000000002\",\"parentUuid\":\"00000000-0000-0000-0000-000000000001\",\"message\":{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}}\n";

    #[test]
    fn a_folder_that_was_replaced_is_told_apart_from_one_that_cannot_be_written() {
        let code = |source: io::Error| {
            let error = SpawnError::ConfigDirUnwritable { path: "/home/.claude".into(), source };
            hopeless(&error.into()).map(|problem| problem.code)
        };
        assert_eq!(code(Refused::NotAFolder(".claude".into()).into()).as_deref(), Some("config_replaced"));
        assert_eq!(code(io::ErrorKind::PermissionDenied.into()).as_deref(), Some("config_unwritable"));
        assert_eq!(code(io::ErrorKind::StorageFull.into()), None, "that passes");
    }

    #[test]
    fn what_a_session_makes_of_its_transcript_harms_nothing_and_is_put_aside() {
        let dir = tempfile::tempdir().expect("dir");
        let (config, session) = (dir.path().join(".claude"), SessionId(uuid::Uuid::from_u128(1)));
        let project = config.join("projects/-work");
        fs::create_dir_all(&project).expect("folders");
        let at = project.join(format!("{}.jsonl", session.0));
        let host = dir.path().join("host");
        fs::write(&host, ANSWERED).expect("file");
        let usable = |incarnation| usable_transcript(&config, session, incarnation).expect("readable");
        let aside = |incarnation: Incarnation| at.with_extension(format!("unusable-{incarnation}"));

        symlink(&host, &at).expect("link");
        assert!(usable(1).is_none());
        assert!(aside(1).is_symlink() && at.symlink_metadata().is_err());
        mkfifoat(CWD, &at, Mode::RWXU).expect("pipe");
        assert!(usable(2).is_none());
        assert!(aside(2).symlink_metadata().is_ok());
        fs::create_dir(&at).expect("folder");
        assert!(usable(3).is_none());
        assert!(aside(3).is_dir());

        // The answer is taken back from the transcript, and from nothing that has taken its place since.
        fs::copy(&host, &at).expect("file");
        let (file, mut transcript) = usable(4).expect("a transcript");
        transcript.reopen();
        fs::rename(&at, project.join("was")).expect("rename");
        symlink(&host, &at).expect("link");
        file.save(&transcript).expect_err("a link");
        fs::remove_file(&at).expect("remove");
        fs::hard_link(&host, &at).expect("hard link");
        assert!(file.save(&transcript).expect("another file has the name"));
        assert_eq!(fs::read_to_string(&host).expect("untouched"), ANSWERED);
        fs::rename(project.join("was"), &at).expect("rename");
        assert!(file.save(&transcript).expect("taken back"));
        assert_eq!(fs::read_to_string(&at).expect("shorter").lines().count(), 1);
    }
}
