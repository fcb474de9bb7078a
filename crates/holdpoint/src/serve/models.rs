//! Who answers model calls: the API, or a script.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use holdpoint_gateway::{
    Http, HttpSettings, Rehearsal, Script, Switch, Upstream,
    rehearsal::{Journal, TOUR},
};
use secrecy::ExposeSecret as _;

use crate::{config::Config, data::DataDir};

/// The name of the built-in script.
const TOUR_NAME: &str = "the built-in tour";

/// The rehearsal's own record in the data folder.
const JOURNAL_FILE: &str = "rehearsal.jsonl";

pub(super) struct Models {
    pub(super) upstream: Arc<dyn Upstream>,
    /// A script answers every conversation.
    pub(super) rehearsal: bool,
    script: Option<String>,
}

impl Models {
    /// Without an API key, or with a script set, a script answers every conversation; agents may
    /// bring scripts of their own in any case.
    pub(super) fn new(config: &Config, data: &DataDir) -> anyhow::Result<Self> {
        let mut scripts: HashMap<String, Arc<Script>> = HashMap::new();
        let of_agents = config.agents.values().filter_map(|agent| agent.rehearsal.clone());
        for path in of_agents.chain(config.rehearsal.clone()) {
            scripts.insert(name_of(&path), Arc::new(load(&path)?));
        }
        let script = match (&config.rehearsal, &config.gateway.api_key) {
            (Some(path), _) => Some(name_of(path)),
            (None, None) => {
                let tour = Script::parse(TOUR, TOUR_NAME).context("the built-in script")?;
                scripts.insert(TOUR_NAME.to_owned(), Arc::new(tour));
                Some(TOUR_NAME.to_owned())
            }
            (None, Some(_)) => None,
        };
        let journal = Journal::file(&data.root().join(JOURNAL_FILE))
            .context("failed to open the rehearsal's record")?;
        let rehearsal: Arc<dyn Upstream> = Arc::new(Rehearsal::new(scripts, journal));
        let live: Option<Arc<dyn Upstream>> = match &config.gateway.api_key {
            None => None,
            Some(key) => Some(Arc::new(Http::new(HttpSettings {
                base_url: config.gateway.upstream.clone(),
                api_key: key.clone(),
                proxy: config.gateway.proxy.as_ref().map(|proxy| proxy.expose_secret().to_owned()),
            })?)),
        };
        Ok(Self { upstream: Arc::new(Switch { live, rehearsal }), rehearsal: script.is_some(), script })
    }

    /// The script of agents that have none of their own.
    pub(super) fn default_script(&self) -> Option<String> {
        self.script.clone()
    }
}

/// A script is known by its path.
pub(super) fn name_of(path: &Path) -> String {
    path.display().to_string()
}

fn load(path: &PathBuf) -> anyhow::Result<Script> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(Script::parse(&text, &name_of(path))?)
}
