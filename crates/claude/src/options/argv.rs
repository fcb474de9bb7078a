//! The command line.
//!
//! Values always stand behind `=` in the same argument, so that one which begins with `-` stays a value.
//! Long or secret values do not stand here at all: prompts, schema and agents go with `initialize`, server
//! configurations and settings through [`PrivateFiles`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Options, SessionChoice};

/// Files only the CLI's user can read, written before the start.
#[derive(Debug, Default)]
pub(crate) struct PrivateFiles {
    pub(crate) mcp_config: Option<PathBuf>,
    pub(crate) settings: Option<PathBuf>,
}

impl Options {
    pub(crate) fn argv(&self, files: &PrivateFiles) -> Vec<OsString> {
        let mut argv = Argv::default();
        for flag in ["-p", "--verbose", "--output-format=stream-json", "--input-format=stream-json"] {
            argv.0.push(flag.into());
        }
        argv.value("permission-prompt-tool", "stdio");
        match &self.session {
            SessionChoice::New(id) => argv.value("session-id", id.to_string()),
            SessionChoice::Resume { session, at } => argv.resume(session.to_string(), at.as_ref()),
            SessionChoice::Fork { from, into, at } => {
                argv.resume(from.to_string(), at.as_ref());
                argv.flag("fork-session");
                argv.value("session-id", into.to_string());
            }
        }
        let sources: Vec<_> = self.setting_sources.iter().map(|source| source.as_str()).collect();
        argv.value("setting-sources", sources.join(","));
        for (flag, value) in [("model", &self.model), ("fallback-model", &self.fallback_model)] {
            if let Some(value) = value {
                argv.value(flag, value);
            }
        }
        if let Some(mode) = self.permission_mode {
            argv.value("permission-mode", mode.as_str());
        }
        for (flag, rules) in
            [("allowedTools", &self.allowed_tools), ("disallowedTools", &self.disallowed_tools)]
        {
            if !rules.is_empty() {
                argv.value(flag, rules.join(","));
            }
        }
        if let Some(tools) = &self.tools {
            argv.value("tools", tools.join(","));
        }
        self.paths_argv(files, &mut argv);
        if let Some(turns) = self.max_turns {
            argv.value("max-turns", turns.to_string());
        }
        if let Some(dollars) = self.max_budget_usd {
            argv.value("max-budget-usd", dollars.to_string());
        }
        for (flag, wanted) in [
            ("strict-mcp-config", self.strict_mcp_config),
            ("include-partial-messages", self.include_partial_messages),
            ("replay-user-messages", self.replay_user_messages),
            ("forward-subagent-text", self.forward_subagent_text),
        ] {
            if wanted {
                argv.flag(flag);
            }
        }
        for (flag, value) in &self.extra_args {
            match value {
                Some(value) => argv.value(flag, value),
                None => argv.flag(flag),
            }
        }
        argv.0
    }

    fn paths_argv(&self, files: &PrivateFiles, argv: &mut Argv) {
        for (flag, path) in [("mcp-config", &files.mcp_config), ("settings", &files.settings)] {
            if let Some(path) = path {
                argv.value(flag, path);
            }
        }
        for (flag, dirs) in [("plugin-dir", &self.plugin_dirs), ("add-dir", &self.add_dirs)] {
            for dir in dirs {
                argv.value(flag, dir);
            }
        }
    }

    /// The MCP configuration file's content, or `None` when there are no servers.
    pub(crate) fn mcp_config(&self) -> Option<Value> {
        let mut servers = self.mcp_servers.clone();
        servers.extend(self.sdk_server_configs());
        (!servers.is_empty()).then(|| json!({ "mcpServers": servers }))
    }

    /// How the in-process servers are declared to the CLI.
    pub(crate) fn sdk_server_configs(&self) -> Map<String, Value> {
        let declare = |name: &String| (name.clone(), json!({"type": "sdk", "name": name}));
        self.sdk_mcp_servers.keys().map(declare).collect()
    }
}

#[derive(Default)]
struct Argv(Vec<OsString>);

impl Argv {
    fn flag(&mut self, flag: &str) {
        self.0.push(format!("--{flag}").into());
    }

    fn value(&mut self, flag: &str, value: impl AsRef<std::ffi::OsStr>) {
        let mut argument = OsString::from(format!("--{flag}="));
        argument.push(value.as_ref());
        self.0.push(argument);
    }

    fn resume(&mut self, session: String, at: Option<&uuid::Uuid>) {
        self.value("resume", session);
        if let Some(at) = at {
            self.value("resume-session-at", at.to_string());
        }
    }
}

/// Where [`PrivateFiles`] and locks live inside the config directory.
pub(crate) fn driver_dir(config_dir: &Path) -> PathBuf {
    config_dir.join("driver")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PermissionMode;

    #[test]
    fn every_value_stands_behind_its_flag() {
        let options = Options::new("claude", "/w", "/c", SessionChoice::new())
            .model("-dash")
            .permission_mode(PermissionMode::Plan)
            .setting_sources([])
            .tools(["Read", "Bash"])
            .allow_tool("Bash(git *)")
            .plugin_dir("/p 1")
            .max_turns(3)
            .extra_arg("effort", Some("--low"))
            .extra_arg("brief", None);
        let argv = options.argv(&PrivateFiles::default());
        for argument in &argv {
            assert!(argument.to_str().unwrap().starts_with('-'), "{argument:?} stands alone");
        }
        for wanted in
            ["--model=-dash", "--setting-sources=", "--tools=Read,Bash", "--effort=--low", "--brief"]
        {
            assert!(argv.iter().any(|argument| argument == wanted), "{wanted} in {argv:?}");
        }
    }

    #[test]
    fn a_fork_names_both_ids() {
        let (from, into) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let options = Options::new("claude", "/w", "/c", SessionChoice::fork(from, into));
        let argv = options.argv(&PrivateFiles::default());
        for wanted in [format!("--resume={from}"), "--fork-session".into(), format!("--session-id={into}")] {
            assert!(argv.iter().any(|argument| *argument == *wanted), "{wanted} in {argv:?}");
        }
    }
}
