//! What the examples share: a session in the current directory, with the key of whoever runs it.

use std::path::Path;

use anyhow::Context;
use holdpoint_claude::{Options, SessionChoice};

pub(crate) fn options(config_dir: &Path, session: SessionChoice) -> anyhow::Result<Options> {
    let key = std::env::var_os("ANTHROPIC_API_KEY").context("set ANTHROPIC_API_KEY")?;
    let mut options = Options::new("claude", std::env::current_dir()?, config_dir, session)
        .env("HOME", config_dir)
        .env("ANTHROPIC_API_KEY", key);
    if let Some(url) = std::env::var_os("ANTHROPIC_BASE_URL") {
        options = options.env("ANTHROPIC_BASE_URL", url);
    }
    Ok(options)
}
