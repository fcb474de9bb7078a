//! Bringing together what the checker reads, when all is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{
    check::{Event, History, Nonce, Recorded, UpstreamCall},
    victims::Processes,
    world::{Conversation, World},
};
use crate::Server;

/// How long a conversation that is over may take to end its processes.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// Everything that was recorded in a run.
///
/// # Errors
/// When a log cannot be exported, or a record cannot be read.
pub(super) async fn gather(world: &World, server: &Server) -> Result<History> {
    let conversations = world.records().conversations.clone();
    let mut executions = Vec::new();
    for conversation in conversations {
        executions.push(recorded(server, conversation).await?);
    }
    let records = world.records();
    Ok(History {
        executions,
        nonces: nonces(&world.outside.join("nonces")),
        upstream: upstream(&server.data.join("rehearsal.jsonl"))?,
        answers: records.answers.clone(),
        said: records.said.clone(),
    })
}

async fn recorded(server: &Server, conversation: Conversation) -> Result<Recorded> {
    let Conversation { id, play, expected_status, status, seen } = conversation;
    let events = server.export(&id)?.into_iter().map(serde_json::from_value::<Event>);
    let events = events.collect::<Result<_, _>>().context("an exported event")?;
    let folder = server.data.join("executions").join(&id);
    Ok(Recorded {
        processes_left: processes_left(&id).await,
        events,
        seen,
        journals: journals(&folder.join("run"))?,
        transcript: transcript(&folder.join("home/.claude/projects")),
        id,
        scene: play.to_owned(),
        status,
        expected_status: expected_status.to_owned(),
    })
}

/// After a moment to end them.
async fn processes_left(id: &str) -> usize {
    let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
    loop {
        let left = Processes::of(id).all().len();
        if left == 0 || tokio::time::Instant::now() > deadline {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn journals(run: &Path) -> Result<BTreeMap<u64, Vec<u64>>> {
    let mut journals = BTreeMap::new();
    for entry in fs::read_dir(run).into_iter().flatten().flatten() {
        let Some(incarnation) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(text) = fs::read(entry.path().join("journal.jsonl")) else { continue };
        let facts = lines(&String::from_utf8_lossy(&text))
            .filter(|line| line["line"] == "fact")
            .map(|line| line["seq"].as_u64().context("a fact without a number"))
            .collect::<Result<_>>()?;
        journals.insert(incarnation, facts);
    }
    Ok(journals)
}

/// What people wrote, as the session itself has it.
fn transcript(projects: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for folder in fs::read_dir(projects).into_iter().flatten().flatten() {
        for file in fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            // One that was put aside is no session's.
            if file.path().extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            let Ok(text) = fs::read(file.path()) else { continue };
            for entry in lines(&String::from_utf8_lossy(&text)).filter(|entry| entry["type"] == "user") {
                match &entry["message"]["content"] {
                    Value::String(text) => texts.push(text.clone()),
                    Value::Array(blocks) => {
                        texts.extend(
                            blocks.iter().filter_map(|block| block["text"].as_str()).map(str::to_owned),
                        );
                    }
                    _ => {}
                }
            }
        }
    }
    texts
}

/// Whole lines of JSON; one that a crash has cut is no line.
fn lines(text: &str) -> impl Iterator<Item = Value> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| serde_json::from_str(line).ok())
}

/// `<workspace> <token> <label>`; the execution is in the workspace's path.
fn nonces(path: &Path) -> Vec<Nonce> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let nonce = |line: &str| {
        let mut words = line.rsplitn(3, ' ');
        let (label, token, workspace) = (words.next()?, words.next()?, words.next()?);
        let execution = Path::new(workspace).parent()?.file_name()?.to_str()?;
        Some(Nonce { execution: execution.into(), token: token.into(), label: label.into() })
    };
    text.lines()
        .map(|line| {
            // What cannot be read is nobody's: the checker says so.
            nonce(line).unwrap_or_else(|| Nonce {
                execution: String::new(),
                token: line.into(),
                label: String::new(),
            })
        })
        .collect()
}

fn upstream(path: &Path) -> Result<Vec<UpstreamCall>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut calls = Vec::new();
    for line in text.lines() {
        calls.push(serde_json::from_str(line).with_context(|| format!("a call: {line}"))?);
    }
    Ok(calls)
}

/// Keeps what the conversations that are not in order left behind: journals, workers' logs, transcripts; and
/// what the server printed. The rest goes with the server's folder.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep(server: &Server, executions: &BTreeSet<&str>, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    fs::write(to.join("server.log"), server.output())?;
    fs::copy(server.data.join("rehearsal.jsonl"), to.join("rehearsal.jsonl"))?;
    for id in executions.iter().filter(|id| !id.is_empty()) {
        let (from, to) = (server.data.join("executions").join(id), to.join(id));
        copy(&from.join("run"), &to.join("run"))?;
        copy(&from.join("home/.claude/projects"), &to.join("projects"))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
