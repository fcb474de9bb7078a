//! Whether the environment has the keys and secrets that the configuration asks for, and they can be any.

use secrecy::ExposeSecret as _;

use super::{Finding, Machine, Verdict, control_plane::ControlPlane};
use crate::{config::DEFAULT_UPSTREAM, failure::Failure};

/// How keys of the model endpoint begin, where that is the usual one.
const KEY_START: &str = "sk-ant-";

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    if machine.config_fault.is_some() {
        let what = "what has to be in it is not known before the configuration is right";
        return vec![Finding::warning(what).next("holdpoint config check")];
    }
    let config = &machine.config;
    let answers = machine.control_plane().await;
    let has_model = matches!(answers, ControlPlane::Answers { rehearsal: Some(false), .. });
    let mut findings = Vec::new();
    let mut keys = Vec::new();
    if config.rehearsal.is_none() {
        if !config.gateway.has_model() && !has_model {
            findings.push(
                Finding::warning("a script answers instead of a model: ANTHROPIC_API_KEY is not set")
                    .next("export ANTHROPIC_API_KEY=sk-ant-…     (then: holdpoint up)"),
            );
        }
        keys.extend(config.gateway.upstreams.iter().filter_map(|upstream| upstream.api_key().err()));
        if let Some(key) = &config.gateway.api_key {
            let is_usual = config.gateway.upstreams.is_empty() && config.gateway.upstream == DEFAULT_UPSTREAM;
            keys.extend(key_fault(key.expose_secret(), is_usual));
        }
    }
    keys.extend(config.notify.channels().err());
    if !config.checkpoints.is_local() {
        keys.extend(config.checkpoints.open(machine.context.data.root()).err());
    }
    // A control plane that runs has those of its own start.
    let is_up = matches!(answers, ControlPlane::Answers { .. });
    findings.extend(keys.into_iter().map(|failure| {
        match is_up {
            false => Finding::of(Verdict::Problem, failure),
            true => Finding::of(Verdict::Warning, failure)
                .because("the running control plane is not affected; one that is started from here would be"),
        }
    }));
    if findings.is_empty() {
        findings.push(Finding::ok(match (has_model, config.gateway.has_model()) {
            (true, false) => "the running control plane has a key; this terminal has none".to_owned(),
            _ => config.model_in_words(),
        }));
    }
    findings
}

/// Why this cannot be a key; without the key. `is_usual` is whether the model endpoint is the usual one.
fn key_fault(key: &str, is_usual: bool) -> Option<Failure> {
    let why = if key.contains('$') {
        "it holds a `$`: what was to stand in its place was not put in, as in a file that nothing expands"
    } else if key.contains(['"', '\'']) {
        "there are quotes in it: they belong to the shell, not to the key"
    } else if key.contains(char::is_whitespace) {
        "there is a space or a line end in it"
    } else if is_usual && !key.starts_with(KEY_START) {
        "it does not begin as keys of this endpoint do"
    } else {
        return None;
    };
    let failure = Failure::new("ANTHROPIC_API_KEY cannot be a key").why(why);
    Some(failure.next(format!("export ANTHROPIC_API_KEY={KEY_START}…")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_key_is_told_apart_and_never_shown() {
        for (key, is_usual, expected) in [
            ("sk-ant-abc", true, None),
            ("anything", false, None),
            ("anything", true, Some("begin")),
            ("${ANTHROPIC_API_KEY}", true, Some("expands")),
            ("\"sk-ant-abc\"", true, Some("quotes")),
            ("sk-ant-abc sk-ant-def", true, Some("space")),
        ] {
            let fault = key_fault(key, is_usual);
            assert_eq!(fault.is_some(), expected.is_some(), "{key}");
            if let (Some(fault), Some(part)) = (fault, expected) {
                assert!(fault.why.contains(part), "{fault}");
                assert!(!fault.to_string().contains(key), "{fault}");
            }
        }
    }
}
