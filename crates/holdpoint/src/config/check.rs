//! Values that parse and still cannot be: checked with the place in the file where they are.

use std::{collections::BTreeSet, ops::Range, path::Path};

use holdpoint_containers::Choice;
use holdpoint_model::{
    AgentDef, HumanDuration,
    agent::MAX_REMINDERS,
    form::{self, FormField},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    deploy::registry_fault,
    diagnostic::Diagnostic,
    file::{DeployTable, FileConfig, FromEnv, GatewayTable, NotifyTable, ServerTable},
    server::network,
};

/// The longest name of an agent.
const MAX_AGENT_NAME: usize = 64;

/// Everything that is wrong with the values of `file`, whose text is `text` and whose relative
/// paths start at `folder`.
#[must_use]
pub(super) fn check(file: &FileConfig, text: &str, folder: &Path) -> Vec<Diagnostic> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let mut found = Found { table: &table, folder, diagnostics: Vec::new() };
    if file.max_sessions == Some(0) {
        found.add(&["max_sessions"], "with no sessions nothing can run", "expected 1 or more");
    }
    found.url(&["base_url"], file.base_url.as_deref());
    found.server(&file.server);
    found.gateway(&file.gateway);
    found.notify(&file.notify);
    if let Some(Err(why)) = file.container.engine.as_deref().map(str::parse::<Choice>) {
        found.add(&["container", "engine"], &why, "try \"auto\"");
    }
    found.deploy(&file.deploy);
    found.url(&["container", "mirror"], file.container.mirror.as_deref());
    if let Some(log) = &file.log
        && let Err(error) = log.parse::<tracing_subscriber::filter::Targets>()
    {
        found.add(&["log"], &format!("`{log}` says nothing about logging: {error}"), "try \"info\"");
    }
    if let Some(cli) = &file.claude.cli
        && cli != "path"
    {
        found.file(&["claude", "cli"], Path::new(cli), "the Claude CLI");
    }
    if let Some(script) = &file.rehearsal.script {
        found.file(&["rehearsal", "script"], script, "the rehearsal script");
    }
    for (name, agent) in &file.agents {
        found.agent(name, agent);
    }
    found.diagnostics
}

struct Found<'a> {
    table: &'a Spanned<DeTable<'a>>,
    folder: &'a Path,
    diagnostics: Vec<Diagnostic>,
}

impl Found<'_> {
    fn add(&mut self, path: &[&str], message: &str, label: &str) {
        let span = span_of(self.table, path);
        self.diagnostics.push(Diagnostic::new(span, message).label(label));
    }

    fn server(&mut self, server: &ServerTable) {
        for proxy in server.trusted_proxies.iter().filter(|proxy| network(proxy).is_none()) {
            self.add(
                &["server", "trusted_proxies"],
                &format!("{proxy:?} is no address or network"),
                "expected as in [\"10.0.0.0/8\", \"::1\"]",
            );
        }
        if let Some(tls) = &server.tls {
            self.file(&["server", "tls", "cert"], &tls.cert, "the certificate");
            self.file(&["server", "tls", "key"], &tls.key, "the certificate's key");
        }
    }

    fn deploy(&mut self, deploy: &DeployTable) {
        if let Some(registry) = &deploy.registry
            && let Some(why) = registry_fault(registry)
        {
            self.add(&["deploy", "registry"], &format!("{registry:?} is no repository in a registry"), why);
        }
        if let Some(credentials) = &deploy.credentials {
            self.variable(&["deploy", "credentials", "user", "env"], &credentials.user);
            self.variable(&["deploy", "credentials", "password", "env"], &credentials.password);
        }
        for (name, source) in [("master", &deploy.master), ("project", &deploy.project)] {
            let Some(source) = source else { continue };
            let at = ["deploy", name];
            match (&source.git, &source.folder) {
                (Some(_), Some(_)) => {
                    self.add(&at, "it is both a repository and a folder", "expected `git` or `folder`");
                }
                (None, None) => {
                    self.add(&at, "it says not where it is", "expected `git` or `folder`");
                }
                (None, Some(folder)) => {
                    self.folder(&["deploy", name, "folder"], folder, "the configuration's folder")
                }
                (Some(_), None) => {}
            }
            if let Some(token) = &source.token {
                self.variable(&["deploy", name, "token", "env"], token);
                if !source.git.as_deref().is_some_and(|git| git.trim().starts_with("https://")) {
                    self.add(
                        &["deploy", name, "token"],
                        "a token is for an https address alone",
                        "take it out",
                    );
                }
            }
        }
    }

    fn url(&mut self, path: &[&str], url: Option<&str>) {
        let Some(url) = url else { return };
        if let Err(why) = http_url(url) {
            self.add(
                path,
                &format!("{url:?} is no address of a server: {why}"),
                "expected http://… or https://…",
            );
        }
    }

    fn file(&mut self, key: &[&str], path: &Path, what: &str) {
        let absolute = self.folder.join(path);
        if !absolute.is_file() {
            let there = if absolute.exists() { "is not a file" } else { "is not there" };
            self.add(key, &format!("{what} {there}"), &format!("looked for {}", absolute.display()));
        }
    }

    fn folder(&mut self, key: &[&str], path: &Path, what: &str) {
        let absolute = self.folder.join(path);
        if !absolute.is_dir() {
            let there = if absolute.exists() { "is not a folder" } else { "is not there" };
            self.add(key, &format!("{what} {there}"), &format!("looked for {}", absolute.display()));
        }
    }

    fn agent(&mut self, name: &str, agent: &AgentDef) {
        let at = ["agents", name];
        let key = |key: &'static str| ["agents", name, key];
        if !is_agent_name(name) {
            let span = key_span_of(self.table, &at);
            self.diagnostics.push(
                Diagnostic::new(span, format!("{name:?} cannot be the name of an agent"))
                    .label("expected small letters, digits, - and _, beginning with a letter or digit"),
            );
        }
        if let Some(folder) = &agent.claude_folder {
            self.folder(&key("claude_folder"), folder, "the .claude folder");
        }
        for (i, plugin) in agent.plugins.iter().enumerate() {
            self.folder(&["agents", name, "plugins", &i.to_string()], plugin, "the plugin's folder");
        }
        if let Some(script) = &agent.rehearsal {
            self.file(&key("rehearsal"), script, "the rehearsal script");
        }
        for (i, shared) in agent.container.folders.iter().enumerate() {
            let place = ["agents", name, "container", "folders", &i.to_string(), "path"];
            self.folder(&place, &shared.path, "the shared folder");
        }
        for (key, why) in agent.container.problems() {
            self.add(&["agents", name, "container", key], &why, "see docs/holdpoint.example.toml");
        }
        let limits = &agent.limits;
        self.budget(&["agents", name, "limits", "budget_usd"], limits.budget_usd);
        self.budget(&["agents", name, "limits", "budget_per_day_usd"], limits.budget_per_day_usd);
        self.budget(&["agents", name, "limits", "budget_per_month_usd"], limits.budget_per_month_usd);
        if agent.limits.turns == Some(0) {
            self.add(
                &["agents", name, "limits", "turns"],
                "without a turn nothing can happen",
                "expected 1 or more",
            );
        }
        self.reminders(name, agent);
        self.form(name, agent);
    }

    fn reminders(&mut self, name: &str, agent: &AgentDef) {
        let Some(remind) = &agent.limits.remind else { return };
        let at = ["agents", name, "limits", "remind"];
        if remind.len() > MAX_REMINDERS {
            self.add(
                &at,
                "these are more reminders than anybody reads",
                &format!("expected up to {MAX_REMINDERS}"),
            );
        }
        let hold_ms = agent.hold_expiry_ms();
        for (i, lead) in remind.iter().enumerate() {
            if !(1..hold_ms).contains(&lead.0) {
                self.add(
                    &["agents", name, "limits", "remind", &i.to_string()],
                    &format!("a reminder {lead} before the end would never come"),
                    &format!(
                        "expected more than 0s and less than {}, which a hold waits",
                        HumanDuration(hold_ms)
                    ),
                );
            }
        }
    }

    fn budget(&mut self, at: &[&str], budget: Option<f64>) {
        if budget.is_some_and(|budget| !budget.is_finite() || budget <= 0.0) {
            self.add(at, "a budget must be more than nothing", "US dollars, as in 5.0");
        }
    }

    fn gateway(&mut self, gateway: &GatewayTable) {
        self.url(&["gateway", "upstream"], gateway.upstream.as_deref());
        for (key, most) in
            [("concurrent_calls", gateway.concurrent_calls), ("calls_per_minute", gateway.calls_per_minute)]
        {
            if most == Some(0) {
                self.add(&["gateway", key], "with no calls nothing can be answered", "expected 1 or more");
            }
        }
        let person = "budget_per_person_per_day_usd";
        self.budget(&["gateway", person], gateway.budget_per_person_per_day_usd);
        let person = "budget_per_person_per_month_usd";
        self.budget(&["gateway", person], gateway.budget_per_person_per_month_usd);
        if gateway.upstream.is_some() && !gateway.upstreams.is_empty() {
            self.add(
                &["gateway", "upstream"],
                "`upstream` has no meaning beside `upstreams`",
                "make it the first of `upstreams`, or leave it out",
            );
        }
        let mut seen = BTreeSet::new();
        for (i, upstream) in gateway.upstreams.iter().enumerate() {
            let i = i.to_string();
            let at = |key: &'static str| ["gateway", "upstreams", i.as_str(), key];
            self.url(&at("url"), Some(&upstream.url));
            self.variable(&["gateway", "upstreams", &i, "key", "env"], &upstream.key);
            if upstream.name.trim().is_empty() {
                self.add(&at("name"), "an upstream needs a name", "expected what messages call it");
            } else if !seen.insert(upstream.name.trim()) {
                let message = format!("two upstreams are called `{}`", upstream.name);
                self.add(&at("name"), &message, "expected a name of its own");
            }
            let models = upstream.models.as_deref();
            if models.is_some_and(|models| models.iter().all(|model| model.trim().is_empty())) {
                self.add(
                    &at("models"),
                    "an upstream that takes no model is of no use",
                    "leave it out to take all",
                );
            }
        }
    }

    fn notify(&mut self, notify: &NotifyTable) {
        if let Some(webhook) = &notify.webhook {
            self.url(&["notify", "webhook", "url"], Some(&webhook.url));
            self.variable(&["notify", "webhook", "secret", "env"], &webhook.secret);
        }
        let Some(ntfy) = &notify.ntfy else { return };
        let at = ["notify", "ntfy", "url"];
        self.url(&at, Some(&ntfy.url));
        if reqwest::Url::parse(ntfy.url.trim()).is_ok_and(|url| url.path() == "/") {
            self.add(&at, "this address names no topic", "expected https://SERVER/TOPIC");
        }
        if let Some(token) = &ntfy.token {
            self.variable(&["notify", "ntfy", "token", "env"], token);
        }
    }

    fn variable(&mut self, path: &[&str], from: &FromEnv) {
        let is_name = |name: &str| {
            !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !is_name(&from.env) {
            self.add(
                path,
                "this cannot be the name of a variable",
                "expected letters, digits and _; the secret itself is set in the environment",
            );
        }
    }

    fn form(&mut self, name: &str, agent: &AgentDef) {
        for fault in form::check(&agent.form) {
            let i = fault.field.to_string();
            self.add(&["agents", name, "form", &i, fault.key], &fault.message, &fault.hint);
        }
        let is_field = |field: &&FormField| field.kind.has_value();
        if agent.prompt.is_empty() && !agent.fields().iter().any(|field| is_field(&field)) {
            self.add(
                &["agents", name, "form"],
                "a form without a field makes no first message",
                "add a field to it, or a `prompt` to the agent",
            );
        }
        let fields = agent.fields();
        for placeholder in placeholders(&agent.prompt) {
            let known = || fields.iter().filter(is_field).map(|field| field.name.as_str());
            if !known().any(|name| name == placeholder) {
                let known: Vec<&str> = known().collect();
                self.add(
                    &["agents", name, "prompt"],
                    &format!("`{{{{{placeholder}}}}}` is no field of the form"),
                    &format!("fields: {}", known.join(", ")),
                );
            }
        }
    }
}

/// `[a-z0-9][a-z0-9_-]*`
fn is_agent_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= MAX_AGENT_NAME
        && name.starts_with(fits)
        && name.chars().all(|c| fits(c) || matches!(c, '_' | '-'))
}

/// The words between `{{` and `}}` that look like the name of a field.
fn placeholders(prompt: &str) -> impl Iterator<Item = &str> {
    prompt.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(name, _)| name).filter(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    })
}

/// The address of a server, without a slash at its end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn http_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text.trim()).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not http", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a password".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Where the value at `path` is; a number is a place in a list. Where a part of the path is not
/// there, its nearest parent.
fn span_of(table: &Spanned<DeTable<'_>>, path: &[&str]) -> Range<usize> {
    walk(table, path).0
}

/// Where the last key of `path` is.
fn key_span_of(table: &Spanned<DeTable<'_>>, path: &[&str]) -> Range<usize> {
    walk(table, path).1
}

fn walk(table: &Spanned<DeTable<'_>>, path: &[&str]) -> (Range<usize>, Range<usize>) {
    let mut value_span = table.span();
    let mut key_span = table.span();
    let Some((first, rest)) = path.split_first() else { return (value_span, key_span) };
    let Some((key, mut value)) = table.get_ref().get_key_value(*first) else { return (value_span, key_span) };
    (value_span, key_span) = (value.span(), key.span());
    for part in rest {
        match value.get_ref() {
            DeValue::Table(table) => {
                let Some((key, inner)) = table.get_key_value(*part) else { break };
                key_span = key.span();
                value = inner;
            }
            DeValue::Array(array) => {
                let Some(inner) = part.parse().ok().and_then(|i: usize| array.get(i)) else { break };
                value = inner;
            }
            _ => break,
        }
        value_span = value.span();
    }
    (value_span, key_span)
}
