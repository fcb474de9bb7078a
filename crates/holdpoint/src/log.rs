//! Where the program's own log goes: stderr, whoever runs it.

use tracing_subscriber::EnvFilter;

/// What a worker logs, and everybody whose directives cannot be read.
pub const USUAL: &str = "info";

/// Logs to stderr from now on, in colour where a person reads it. A second call (a rehearsal inside a test) changes
/// nothing.
pub fn to_stderr(directives: &str, color: bool) {
    let filter = EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new(USUAL));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(color)
        .with_writer(std::io::stderr)
        // It would say so on stderr, and panic if that cannot be written either: on a full disk a line of the log
        // would take down whatever wrote it, a worker and its session with it.
        .log_internal_errors(false)
        .try_init();
}
