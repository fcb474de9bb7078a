//! `holdpoint exec`: a command beside a session.

use std::io::{IsTerminal as _, Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    cli::{Context, inspect::instead},
    client::{Api, ids},
    failure::{EndedWith, Failure},
    render::clean,
    term,
};

/// The most that is read from stdin, in bytes: it goes along with the request.
const MAX_STDIN_BYTES: u64 = 4 * 1024 * 1024;

pub(super) const HELP: &str = "\
It runs in the session's workspace, as what the session is: in its container, where it has one. It gets the
session's HOME and PATH, and none of its tokens. No shell is in between; for one: -- sh -c \"ls | wc -l\"

What stdin holds is read to its end and handed on, unless it is a terminal: there is no interactive use.
What a command leaves running ends with it. The exit code is the command's. The conversation's log says who
ran what.";

/// Arguments of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Which conversation: its id, or an end or beginning of it that means one only
    pub execution: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Carries it out.
///
/// # Errors
/// When it could not be run; or with the command's own code.
pub(super) async fn run(args: ExecArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let mut body = json!({ "command": args.command });
    if let Some(bytes) = piped()? {
        body["stdin_base64"] = STANDARD.encode(bytes).into();
    }
    let request = api.request(Method::POST, &format!("/v1/executions/{id}/exec")).json(&body);
    let response = api.send(request).await.map_err(|error| instead(error, &id))?;
    let mut stream = response.bytes_stream();
    let mut buffer = Vec::new();
    while let Some(bytes) = stream.next().await {
        buffer.extend_from_slice(&bytes.map_err(|error| cut_off(&api, &error))?);
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            let piece: Value = serde_json::from_slice(&line)?;
            if let Some(code) = show(&piece, context)? {
                return if code == 0 { Ok(()) } else { Err(EndedWith(as_code(code)).into()) };
            }
        }
    }
    Err(Failure::new("nobody knows how the command ended").why("the answer has no end").into())
}

fn cut_off(api: &Api, error: &reqwest::Error) -> Failure {
    Failure::new("nobody knows how the command ended").why(api.unreachable(error))
}

/// One that cannot be told in eight bits is no success.
fn as_code(code: i64) -> u8 {
    u8::try_from(code).ok().filter(|code| *code != 0).unwrap_or(u8::MAX)
}

/// What stdin holds, unless a person would have to type it.
fn piped() -> anyhow::Result<Option<Vec<u8>>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    stdin.lock().take(MAX_STDIN_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_STDIN_BYTES {
        return Err(Failure::new("stdin holds too much to hand on")
            .why("a command gets at most 4 MiB")
            .next("put a file into the workspace: holdpoint message EXECUTION --file FILE TEXT")
            .into());
    }
    Ok(Some(bytes))
}

/// Shows a piece; the exit code, if it is the end.
fn show(piece: &Value, context: &Context) -> anyhow::Result<Option<i64>> {
    if context.json {
        term::json(piece)?;
    }
    if let Some(why) = piece["stopped"].as_str() {
        return Err(Failure::new("the command has no exit code").why(clean(why)).into());
    }
    if let Some(code) = piece["exit"].as_i64() {
        return Ok(Some(code));
    }
    if context.json {
        return Ok(None);
    }
    if let Some(bytes) = output(piece, "out") {
        if context.term.has_screen {
            // A session may have a hand in it: it must not command the terminal.
            term::print(&clean(&String::from_utf8_lossy(&bytes)))?;
        } else {
            term::print_bytes(&bytes)?;
        }
    }
    if let Some(bytes) = output(piece, "err") {
        let mut stderr = std::io::stderr();
        // Nobody may read it: that is no reason to stop.
        let _ = if context.term.has_error_screen {
            stderr.write_all(clean(&String::from_utf8_lossy(&bytes)).as_bytes())
        } else {
            stderr.write_all(&bytes)
        };
    }
    Ok(None)
}

fn output(piece: &Value, name: &str) -> Option<Vec<u8>> {
    if let Some(text) = piece[name].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    STANDARD.decode(piece[format!("{name}_base64")].as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_text_or_base64_and_a_failure_is_never_told_as_success() {
        assert_eq!(output(&json!({"out": "a"}), "out"), Some(b"a".to_vec()));
        assert_eq!(output(&json!({"err_base64": "/w=="}), "err"), Some(vec![0xff]));
        assert_eq!(output(&json!({"out": "a"}), "err"), None);
        assert_eq!([3, 137, 256, -1].map(as_code), [3, 137, 255, 255]);
    }
}
