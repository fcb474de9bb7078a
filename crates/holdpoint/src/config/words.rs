//! What the configuration comes to, in words.

use super::{CliSource, Config};
use crate::install;

impl Config {
    /// Where it comes from.
    #[must_use]
    pub fn file_in_words(&self) -> String {
        let file = self.file.as_ref().map(|file| file.display().to_string());
        file.unwrap_or_else(|| "(none: built-in defaults)".to_owned())
    }

    /// Who answers. Never with a key.
    #[must_use]
    pub fn model_in_words(&self) -> String {
        let gateway = &self.gateway;
        match (&self.rehearsal, &gateway.api_key) {
            (Some(script), _) => format!("rehearsal: {}", script.display()),
            (None, _) if !gateway.upstreams.is_empty() => {
                let named = gateway.upstreams.iter().map(|upstream| {
                    let unset = match &upstream.key.value {
                        Some(_) => String::new(),
                        None => format!(", {} is not set", upstream.key.variable),
                    };
                    format!("{} ({}{unset})", upstream.name, upstream.url)
                });
                named.collect::<Vec<_>>().join(", then ")
            }
            (None, Some(_)) => {
                let by = if gateway.proxy.is_some() { ", through the proxy of the environment" } else { "" };
                format!("{} (key set{by})", gateway.upstream)
            }
            (None, None) => "rehearsal: ANTHROPIC_API_KEY is not set".to_owned(),
        }
    }

    /// Which Claude CLI runs.
    #[must_use]
    pub fn cli_in_words(&self) -> String {
        match &self.claude.cli {
            CliSource::Installed => format!("{} (installed by Holdpoint)", install::VERSION),
            CliSource::Path => "the one on PATH".to_owned(),
            CliSource::File(path) => path.display().to_string(),
        }
    }
}
