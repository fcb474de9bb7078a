//! `holdpoint down`: stops the control plane and everything it runs.

use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cli::{Context, up},
    config::{CliSource, Overrides},
    failure::Failure,
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
    let mut config = context.config(&Overrides::default())?;
    config.claude.cli = CliSource::Path;
    let left = if context.data.database().is_file() {
        up::init_log("warn");
        let plan = serve::Plan {
            config,
            data: context.data.clone(),
            cli: std::path::PathBuf::new(),
            path: context.environment.path.clone(),
        };
        serve::end_left_behind(plan).await?
    } else {
        0
    };
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
