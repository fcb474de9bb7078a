//! The CLI's environment.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::Options;

/// What the CLI sees of the host's own environment: what makes programs findable and text readable, and
/// nothing that could hold a secret or steer the CLI.
pub const INHERITED_ENV: &[&str] = &["PATH", "LANG", "LC_ALL", "TERM", "TZ"];

/// The variable by which every process of one driver run can be found, also after the CLI is gone.
///
/// Its value is unique to the run. The CLI hands it on to every command it starts;
/// [`kill`](crate::Handle::kill) uses it to find what the process tree no longer shows.
pub const RUN_MARKER_ENV: &str = "CLAUDE_DRIVER_RUN";

impl Options {
    /// The whole environment of the CLI. `CLAUDECODE` is absent, so that a host inside a session is no
    /// "nested" one.
    pub(crate) fn environment(&self, run_marker: &str) -> BTreeMap<OsString, OsString> {
        let mut all = BTreeMap::new();
        for name in &self.inherit_env {
            // The one look at the ambient environment, for names that the caller chose.
            if let Some(value) = std::env::var_os(name) {
                all.insert(OsString::from(name), value);
            }
        }
        let mut set = |name: &str, value: &str| all.insert(OsString::from(name), OsString::from(value));
        set("CLAUDE_CODE_ENTRYPOINT", "sdk-rust");
        // A start that fails then says so as a `result`, and not only on stderr.
        set("CLAUDE_CODE_STARTUP_FAILURE_RESULTS", "1");
        set("CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "1");
        set("DISABLE_AUTOUPDATER", "1");
        if self.quiet_network {
            set("DISABLE_TELEMETRY", "1");
            set("DISABLE_ERROR_REPORTING", "1");
            set("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        }
        if self.resume_interrupted_turn {
            set("CLAUDE_CODE_RESUME_INTERRUPTED_TURN", "1");
        }
        if self.file_checkpointing {
            set("CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING", "true");
        }
        if !self.background_tasks {
            set("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1");
        }
        if let Some(retries) = self.max_retries {
            set("CLAUDE_CODE_MAX_RETRIES", &retries.to_string());
        }
        all.extend(self.env.clone());
        all.insert("CLAUDE_CONFIG_DIR".into(), self.config_dir.clone().into());
        all.insert(RUN_MARKER_ENV.into(), run_marker.into());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionChoice;

    #[test]
    fn the_host_environment_stays_outside() {
        let options = Options::new("claude", "/w", "/c", SessionChoice::new()).env("DISABLE_TELEMETRY", "0");
        let environment = options.environment("run-1");
        let allowed: Vec<_> = INHERITED_ENV
            .iter()
            .copied()
            .chain(["CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_STARTUP_FAILURE_RESULTS"])
            .chain(["CLAUDE_CODE_EMIT_SESSION_STATE_EVENTS", "DISABLE_AUTOUPDATER", "DISABLE_TELEMETRY"])
            .chain(["DISABLE_ERROR_REPORTING", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"])
            .chain(["CLAUDE_CONFIG_DIR", RUN_MARKER_ENV])
            .collect();
        for name in environment.keys() {
            assert!(allowed.contains(&name.to_str().unwrap()), "{name:?} leaked in");
        }
        assert_eq!(environment[&OsString::from("DISABLE_TELEMETRY")], "0", "the caller's value wins");
    }
}
