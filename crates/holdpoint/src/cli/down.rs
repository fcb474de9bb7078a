//! `holdpoint down`: stops the control plane and everything it runs.

use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cli::Context,
    config::Config,
    containers,
    failure::Failure,
    left::{self, Left},
    log,
    port::command_of,
    render::clean,
    serve, term,
};

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// How many seconds the control plane has to end in good order
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub timeout: u64,
}

/// How often to look.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Carries it out.
///
/// # Errors
/// When something is left that cannot be ended.
pub(super) async fn run(args: DownArgs, context: &Context) -> anyhow::Result<()> {
    let was_running = stop_control_plane(context, Duration::from_secs(args.timeout)).await?;
    // Workers outlive a control plane that was killed; they are ended in the same way that it would.
    let left = if context.data.database().is_file() {
        log::to_stderr("warn", context.term.error_color);
        let plan = serve::Plan {
            // No agent is needed to end one, so that a broken holdpoint.toml is no reason to go on.
            config: Config::built_in(&context.data)?,
            connect: containers::options(&Config::built_in(&context.data)?.container, &context.environment),
            data: context.data.clone(),
            cli: std::path::PathBuf::new(),
            path: context.environment.path.clone(),
            is_passing: false,
        };
        serve::end_left_behind(plan).await?
    } else {
        0
    };
    let still_there = left::of(&context.data);
    if !still_there.is_empty() {
        return Err(not_ended(&still_there).into());
    }
    if context.json {
        return term::json(&serde_json::json!({"was_running": was_running, "workers_ended": left}));
    }
    let text = match (was_running, left) {
        (true, _) => "Holdpoint is down. Conversations go on at the next `holdpoint up`.".to_owned(),
        (false, 0) => "Holdpoint was not running.".to_owned(),
        (false, n) => format!("Holdpoint was not running; {n} workers that it had left were ended."),
    };
    Ok(term::line(&text)?)
}

fn not_ended(left: &[Left]) -> Failure {
    let lines: Vec<String> =
        left.iter().map(|left| format!("process {}: {}", left.pid, clean(&command_of(left.pid)))).collect();
    let pids: Vec<String> = left.iter().map(|left| left.pid.to_string()).collect();
    Failure::new("the control plane is down, and not everything that it started has ended")
        .why(format!("{}\nthey go on working, and conversations cannot go on beside them", lines.join("\n")))
        .next(format!("kill -9 {}", pids.join(" ")))
        .next("holdpoint down")
}

async fn stop_control_plane(context: &Context, within: Duration) -> anyhow::Result<bool> {
    let Some(pid) = context.data.locked_by() else { return Ok(false) };
    let process = Pid::from_raw(pid).ok_or_else(|| anyhow::anyhow!("{pid} is no process id"))?;
    kill_process(process, Signal::INT).map_err(|error| {
        Failure::new(format!("failed to stop process {pid}"))
            .why(std::io::Error::from(error))
            .next("run this as the user who started it")
    })?;
    let deadline = Instant::now() + within;
    while context.data.locked_by().is_some() {
        if Instant::now() > deadline {
            return Err(Failure::new(format!("process {pid} did not end within {} s", within.as_secs()))
                .why("it may wait for a session to end")
                .next("holdpoint down --timeout 120")
                .next(format!("kill -9 {pid}; holdpoint down"))
                .into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_end_is_named_with_what_to_type() {
        let pid = i32::try_from(std::process::id()).expect("pid");
        let worker = "01900000-0000-7000-8000-000000000000/3".parse().expect("a worker");
        let text = not_ended(&[Left { worker, pid }, Left { worker, pid: 1 }]).to_string();
        assert!(text.contains(&format!("process {pid}: ")), "{text}");
        assert!(text.contains(&format!("→ kill -9 {pid} 1\n→ holdpoint down")), "{text}");
    }
}
