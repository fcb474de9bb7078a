//! `holdpoint inspect`: one session, from outside.

use crate::{
    cli::{Context, executions::OneArgs},
    client::{
        ApiError, ErrorKind,
        ids::{self, short},
        types::InstanceItem,
    },
    render::{clean, time},
    term,
};

/// Carries it out.
///
/// # Errors
/// When there is no such conversation, it has no worker, or it may not be looked into.
pub(super) async fn run(args: OneArgs, context: &Context) -> anyhow::Result<()> {
    let api = context.api()?;
    let id = ids::execution(&api, &args.execution).await?;
    let seen = api.get(&format!("/v1/executions/{id}/worker")).await.map_err(|error| instead(error, &id))?;
    if context.json {
        return term::json(&seen);
    }
    let seen: InstanceItem = serde_json::from_value(seen)?;
    Ok(term::line(blocks(&seen, time::now()).trim_end())?)
}

/// With what can be looked at where nothing runs.
pub(super) fn instead(mut error: ApiError, id: &str) -> ApiError {
    if matches!(error.kind, ErrorKind::Refused(status) if matches!(status.as_u16(), 409 | 410)) {
        error.failure = error.failure.next(format!("holdpoint logs {}", short(id)));
    }
    error
}

fn blocks(seen: &InstanceItem, now: i64) -> String {
    let mut text = String::new();
    let mut block = |title: &str, rows: Vec<(&str, String)>| {
        text.push_str(title);
        text.push('\n');
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("  {name:<11}{}\n", clean(&value)));
        }
        text.push('\n');
    };
    let pids = |pids: &[i64]| pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    block(
        &format!("Worker {} of {}", seen.incarnation, clean(&seen.execution)),
        vec![
            ("engine", seen.engine.clone()),
            ("state", seen.state.clone()),
            ("since", time::ago(seen.started_at, now)),
            ("worker", seen.worker_pid.map(|pid| format!("process {pid}")).unwrap_or_default()),
            ("session", format!("process {}", pids(&seen.session_pids))),
        ],
    );
    let cpus = seen.cpus.map(|cpus| format!(", of {cpus} processors")).unwrap_or_default();
    block(
        "Uses",
        vec![
            ("memory", seen.memory_bytes.said(time::mebibytes)),
            ("processes", seen.processes.said(|count| count.to_string())),
            ("time", format!("{}{cpus}", time::length(i64::try_from(seen.cpu_ms).unwrap_or(i64::MAX)))),
        ],
    );
    let Some(container) = &seen.container else {
        return text + "Nothing is between this session and the machine: it is a process of this user.\n";
    };
    block(
        "Container",
        vec![
            ("id", container.id.clone()),
            ("name", container.name.clone()),
            ("image", container.image.clone()),
            ("digest", container.image_digest.clone()),
            ("user", container.user.clone()),
            ("network", container.network.clone()),
        ],
    );
    text.push_str("Sees of this machine\n");
    for mount in &container.mounts {
        let may = if mount.read_only { "read" } else { "write" };
        text.push_str(&format!("  {may:<7}{}\n", clean(&mount.target)));
        if mount.source != mount.target {
            text.push_str(&format!("         from {}\n", clean(&mount.source)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_session_in_blocks() {
        let mut seen: InstanceItem = serde_json::from_value(json!({
            "execution": "0190", "incarnation": 2, "engine": "podman", "state": "running", "worker_pid": 7,
            "session_pids": [8], "memory_bytes": {"used": 3 << 20, "limit": 1 << 30},
            "processes": {"used": 31, "limit": null}, "cpu_ms": 1500, "cpus": 1.5,
            "container": {"id": "abc", "name": "n\u{1b}", "image": "i", "user": "5:5", "network": "none",
                "mounts": [{"source": "/s", "target": "/t", "read_only": true}]}
        }))
        .expect("read");
        let text = blocks(&seen, 0);
        for part in [
            "Worker 2 of 0190",
            "3 MiB of 1024 MiB",
            "processes  31\n",
            "of 1.5 processors",
            "  read   /t",
            "from /s",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
        assert!(!text.contains('\u{1b}'), "{text}");
        seen.container = None;
        assert!(blocks(&seen, 0).contains("Nothing is between"));
    }
}
