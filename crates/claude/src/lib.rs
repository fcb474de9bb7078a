//! A driver for the Claude Code CLI's stream-json control protocol.
//!
//! [`Claude::spawn`] starts one session of the CLI and gives back a [`Handle`], through which a host talks to
//! it, and its [`Events`]. Whatever the CLI asks (may this tool run, which of these do you prefer) arrives
//! as an event and is answered later through the handle, in any order; an open question holds nothing up.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use holdpoint_claude::{Claude, Close, Event, Options, PermissionAnswer, SessionChoice, UserMessage};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new("claude", "/srv/work", "/srv/config", SessionChoice::new())
//!     .env("HOME", "/srv/home")
//!     .env("ANTHROPIC_BASE_URL", "http://127.0.0.1:8787")
//!     .env("ANTHROPIC_API_KEY", "a-session-token");
//! let (session, mut events) = Claude::spawn(options).await?;
//! session.send(UserMessage::text("What is in this folder?")).await?;
//!
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Assistant(message) => println!("{:?}", message.blocks),
//!         Event::Ask(ask) => {
//!             println!("may {} run with {}?", ask.tool_name, ask.input);
//!             session.answer(&ask.request_id, PermissionAnswer::deny("not today")).await?;
//!         }
//!         Event::Result(turn) => {
//!             println!("{:?}, {} $", turn.outcome, turn.total_cost_usd);
//!             break;
//!         }
//!         _ => {}
//!     }
//! }
//! session.close(Close::finishing(Duration::from_secs(10))).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it takes care of
//!
//! - **Nothing is waited for twice.** A question ([`Event::Ask`], [`Event::HookCall`],
//!   [`Event::Elicitation`]) is open until it is answered or withdrawn; late and double answers are
//!   suppressed and reported as [`AnswerOutcome`]s.
//! - **A failed turn is a failure.** The CLI calls a failed model call a "success"; [`Outcome`] does not.
//! - **Nothing is lost unseen.** What has no type arrives raw as [`Event::Unknown`]; partial deltas that were
//!   dropped are counted.
//! - **Nothing is left running.** [`Handle::kill`], the drop of the last handle and the end of the CLI itself
//!   take every process the session started with them. When the host process itself is killed, the kernel
//!   kills the CLI; commands it was running are then found by [`kill_by_env_marker`].
//! - **One session, one driver**, by a lock in the config directory.
//! - **The environment is cleared**, see [`Options`].
//!
//! Tested against CLI 2.1.330. Linux only: process trees are read from `/proc`.

#![warn(missing_docs)]

mod answer;
pub mod dialog;
mod driver;
mod error;
mod event;
pub mod frame;
mod lock;
mod mcp;
mod options;
mod preflight;
mod process;
pub mod transcript;
mod wire;

pub use answer::{AnswerOutcome, DEFAULT_DENIAL, ElicitationAnswer, HookAnswer, PermissionAnswer};
pub use driver::{
    Claude, Close, CloseReport, DELTA_QUEUE_LEN, EVENT_QUEUE_LEN, Events, Handle, Interrupted, Rewound,
};
pub use error::{ControlError, ProbeError, SendError, SpawnError};
pub use event::*;
pub use mcp::{SdkMcpServer, ToolOutcome, ToolServer};
pub use options::{
    CONTROL_TIMEOUT, HookEvent, HookMatcher, INHERITED_ENV, OnHookFailure, Options, PermissionMode,
    RUN_MARKER_ENV, STDERR_TAIL_BYTES, SessionChoice, SettingSource,
};
pub use preflight::{CliVersion, probe_version};
pub use process::{KillReport, freeze_tree, kill_by_env_marker, kill_tree, thaw_tree};
pub use wire::{ContentPart, UserMessage};
