//! Between a worker and a session in a container.
//!
//! The worker stays outside, with its token and its journal; only the Claude CLI and what that starts are
//! inside. Two processes stand between them. `holdpoint bridge` (module `outside`) is what the worker starts
//! in place of the CLI: same arguments, same environment, same stdio. `holdpoint inside` (module `inside`) is
//! the container's first process: it starts the CLI, collects the dead, leads the CLI's calls of the model
//! from a port on loopback to the gateway's socket, and watches the container's limits. They talk over a Unix
//! socket in a folder that both see. When either goes, the kernel takes everything inside with it.

mod advice;
mod frame;
mod inside;
mod outside;
mod socket;

pub use frame::{Exit, Launch, MAX_CHUNK_BYTES};
pub use inside::{InsideOptions, inside};
pub use outside::{BridgeOptions, bridge};
pub use socket::{bind, connect};

/// The name of the worker's socket in its folder.
pub const SESSION_SOCKET: &str = "session.sock";

/// The name of the gateway's socket in its folder.
pub const GATEWAY_SOCKET: &str = "gateway.sock";
