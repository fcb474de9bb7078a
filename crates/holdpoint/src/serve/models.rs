//! Who answers model calls: the API, or a script or cassette.

use std::{collections::HashMap, path::Path, sync::Arc};

use anyhow::Context as _;
use holdpoint_control::VERIFICATION_SCRIPT;
use holdpoint_gateway::{
    Http, HttpSettings, ModelPattern, Rehearsal, Route, Source, Switch, Upstream, Upstreams,
    rehearsal::{Journal, Scripts, TOUR, VERIFICATION},
};
use secrecy::{ExposeSecret as _, SecretString};
use tracing::warn;

use crate::{
    config::{Config, Gateway},
    data::DataDir,
};

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
    /// Without a key, or with a script set, a script answers every conversation; agents may
    /// bring scripts of their own in any case.
    pub(super) fn new(config: &Config, data: &DataDir) -> anyhow::Result<Self> {
        let mut scripts: HashMap<String, Source> = HashMap::new();
        let verification =
            Source::parse(VERIFICATION, VERIFICATION_SCRIPT).context("the script of verifications")?;
        scripts.insert(VERIFICATION_SCRIPT.to_owned(), verification);
        let of_agents = config.agents.values().filter_map(|agent| agent.rehearsal.clone());
        for path in of_agents.chain(config.rehearsal.clone()) {
            scripts.insert(name_of(&path), load(&path)?);
        }
        let script = match &config.rehearsal {
            Some(path) => Some(name_of(path)),
            None if !config.gateway.has_model() => {
                scripts.insert(
                    TOUR_NAME.to_owned(),
                    Source::parse(TOUR, TOUR_NAME).context("the built-in script")?,
                );
                Some(TOUR_NAME.to_owned())
            }
            None => None,
        };
        let journal = Journal::file(&data.root().join(JOURNAL_FILE))
            .context("failed to open the rehearsal's record")?;
        let rehearsal: Arc<dyn Upstream> = Arc::new(Rehearsal::new(Known(scripts), journal));
        // Where a script answers everybody, no key has to be there.
        let live = if script.is_some() { None } else { Some(live(&config.gateway)?) };
        Ok(Self { upstream: Arc::new(Switch { live, rehearsal }), rehearsal: script.is_some(), script })
    }

    /// The script of agents that have none of their own.
    pub(super) fn default_script(&self) -> Option<String> {
        self.script.clone()
    }
}

/// Scripts by name. One of an agent that was deployed since the start is read when it is asked for.
struct Known(HashMap<String, Source>);

impl Scripts for Known {
    fn script(&self, name: &str) -> Option<Source> {
        let known = self.0.get(name).cloned();
        known.or_else(|| {
            let path = Path::new(name);
            // A name that is no path is a mistake of ours, and no file of the working directory.
            let script = path.is_absolute().then(|| load(path))?;
            script
                .inspect_err(|error| warn!(%error, script = name, "the script of an agent cannot be used"))
                .ok()
        })
    }
}

/// A script is known by its path.
pub(super) fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// The model, at one endpoint or several.
fn live(gateway: &Gateway) -> anyhow::Result<Arc<dyn Upstream>> {
    let route =
        |name: &str, url: &str, key: SecretString, proxy: Option<&SecretString>, models: &[String]| {
            let settings = HttpSettings {
                base_url: url.to_owned(),
                api_key: key,
                proxy: proxy.map(|proxy| proxy.expose_secret().to_owned()),
            };
            let upstream =
                Http::new(settings).with_context(|| format!("failed to set up the upstream `{name}`"))?;
            let models: Result<_, String> = models.iter().map(|model| ModelPattern::new(model)).collect();
            let models = models.map_err(anyhow::Error::msg)?;
            anyhow::Ok(Route { name: name.to_owned(), models, upstream: Arc::new(upstream) })
        };
    let mut routes = Vec::new();
    for upstream in &gateway.upstreams {
        let key = upstream.api_key()?;
        routes.push(route(&upstream.name, &upstream.url, key, upstream.proxy.as_ref(), &upstream.models)?);
    }
    if let (true, Some(key)) = (routes.is_empty(), &gateway.api_key) {
        let all = ["*".to_owned()];
        routes.push(route("upstream", &gateway.upstream, key.clone(), gateway.proxy.as_ref(), &all)?);
    }
    Ok(Arc::new(Upstreams::new(routes)))
}

fn load(path: &Path) -> anyhow::Result<Source> {
    let text = std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
    Ok(Source::parse(&text, &name_of(path))?)
}
