//! `holdpoint up`: sets up what is missing, and starts.

use std::net::{IpAddr, SocketAddr};

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::Context,
    config::{Config, Overrides},
    containers, install, log, port, serve,
    serve::{Deployed, Isolation, Plan, Running},
    term,
};

/// Arguments of `up`.
#[derive(Debug, Default, Args)]
pub struct UpArgs {
    /// The port to listen on [default: 3370; 0 takes any that is free] [env: HOLDPOINT_PORT]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The address to listen on [default: 127.0.0.1, this machine alone]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<IpAddr>,
    /// Do not open a browser
    #[arg(long)]
    pub no_open: bool,
    /// Answer every conversation from this script instead of a model
    #[arg(long, value_name = "SCRIPT")]
    pub rehearse: Option<std::path::PathBuf>,
}

/// Carries it out; ends with Ctrl-C, `holdpoint down` or a signal.
///
/// # Errors
/// When something is missing that cannot be set up, or it cannot start.
pub(super) async fn run(args: UpArgs, context: &Context) -> anyhow::Result<()> {
    let overrides = Overrides { port: args.port, host: args.host, rehearsal: args.rehearse };
    let config = context.config(&overrides)?;
    context.data.create()?;
    log::to_stderr(&config.log, context.term.error_color);
    if context.data.locked_by().is_none() {
        // Before the download: nobody wants to wait for it to be told that a port is taken.
        port::check(SocketAddr::new(config.host, config.port))?;
    }
    let plan = plan(config, context).await?;
    let (key, host) = (plan.config.gateway.has_model(), plan.config.host);
    // Signals end it, and nothing else.
    let stop = CancellationToken::new();
    serve::run(plan, stop, |running| {
        if context.json {
            let _ = term::json(&serde_json::json!({
                "url": running.url, "first_link": running.first_link, "rehearsal": running.rehearsal,
                "release": running.release.map(|release| release.number),
                "isolated": matches!(running.isolation, Isolation::Containers { .. }),
            }));
        } else {
            let _ = term::print(&welcome(running, key, host));
        }
        if !args.no_open && context.environment.has_display {
            let _ = open::that_detached(running.first_link.as_ref().unwrap_or(&running.url));
        }
    })
    .await
}

/// What the control plane needs, the Claude CLI included.
pub(super) async fn plan(config: Config, context: &Context) -> anyhow::Result<Plan> {
    let cli = install::resolve(&config.claude, &context.data, &context.environment, context.term).await?;
    let connect = containers::options(&config.container, &context.environment);
    Ok(Plan {
        config,
        data: context.data.clone(),
        cli,
        path: context.environment.path.clone(),
        connect,
        is_passing: false,
    })
}

fn welcome(running: &Running, has_key: bool, host: IpAddr) -> String {
    let mut text = format!("\nHoldpoint is up at {}\n", running.url);
    if let Some(link) = &running.first_link {
        text.push_str(&format!(
            "\nNobody can sign in yet. This link makes the first admin; it works once, for a day:\n  {link}\n"
        ));
    }
    if running.rehearsal {
        text.push_str(
            "\nA script answers instead of a model: nothing is generated, and nothing costs anything.\n",
        );
        if !has_key {
            text.push_str("For the real model, stop this and start it with your key:\n  ANTHROPIC_API_KEY=sk-ant-… holdpoint up\n");
        }
    }
    if !host.is_loopback() {
        text.push_str("\nIt listens beyond this machine. Put TLS in front of it, and set `base_url`.\n");
    }
    if running.adopted > 0 {
        text.push_str(&format!("\n{} conversations go on where they were.\n", running.adopted));
    }
    if let Some(Deployed { number, is_behind }) = running.release {
        text.push_str(&format!("\nNew conversations run on release {number}."));
        text.push_str(if is_behind {
            " The configuration has changed since:\n  holdpoint deploy --plan\n"
        } else {
            "\n"
        });
    }
    text.push_str(&format!("\n{}\n", running.isolation));
    text.push_str("\nFrom another terminal:\n  holdpoint ask \"What can you do?\" --follow\n  holdpoint inbox\n\nCtrl-C stops it; conversations go on at the next start.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_welcome_says_who_answers_and_how_to_get_in() {
        let running = Running {
            url: "http://localhost:3370".into(),
            first_link: Some("http://localhost:3370/welcome?token=t".into()),
            rehearsal: true,
            adopted: 0,
            isolation: Isolation::Nothing { why: Some("no podman".into()), next: vec!["apt-get".into()] },
            release: Some(Deployed { number: 3, is_behind: true }),
        };
        let text = welcome(&running, false, [127, 0, 0, 1].into());
        for part in [
            "http://localhost:3370/welcome?token=t",
            "script answers",
            "ANTHROPIC_API_KEY",
            "nothing isolates them",
            "no podman",
            "→ apt-get",
            "release 3. The configuration has changed",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let text =
            welcome(&Running { first_link: None, rehearsal: false, ..running }, true, [0, 0, 0, 0].into());
        assert!(!text.contains("welcome?token") && text.contains("TLS"), "{text}");
    }
}
