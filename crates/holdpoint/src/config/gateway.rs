//! `[gateway]`: the way to the model, and what may go there.

use std::collections::BTreeMap;

use holdpoint_gateway::Rates;
use holdpoint_model::{AgentDef, Budgets, PerSpan};
use secrecy::SecretString;

use super::{
    NamedSecret, check,
    file::{FromEnv, GatewayTable, UpstreamTable},
    trimmed,
};
use crate::{
    env::Environment,
    failure::{Exit, Failure},
};

/// The model endpoint where nothing else is said.
pub const DEFAULT_UPSTREAM: &str = "https://api.anthropic.com";

/// The way to the model.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// The endpoint, without a slash at its end, where there are no `upstreams`.
    pub upstream: String,
    /// Its key, if the environment has one.
    pub api_key: Option<SecretString>,
    /// The proxy on the way there, if the environment names one.
    pub proxy: Option<SecretString>,
    /// Several endpoints in its place, in the order in which they are tried.
    pub upstreams: Vec<NamedUpstream>,
    /// How much may go upstream.
    pub rates: Rates,
    /// The budgets that conversations share.
    pub budgets: Budgets,
}

/// One of several endpoints.
#[derive(Clone, Debug)]
pub struct NamedUpstream {
    /// What it is called.
    pub name: String,
    /// The endpoint, without a slash at its end.
    pub url: String,
    /// Its key. It is missed only where it is needed: most commands call no model.
    pub key: NamedSecret,
    /// The models that it takes; `*` stands for any characters.
    pub models: Vec<String>,
    /// The proxy on the way there, if the environment names one.
    pub proxy: Option<SecretString>,
}

impl Gateway {
    pub(super) fn resolve(
        table: GatewayTable,
        agents: &BTreeMap<String, AgentDef>,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let person =
            PerSpan::of_usd(table.budget_per_person_per_day_usd, table.budget_per_person_per_month_usd);
        let upstream = match &environment.anthropic_base_url {
            Some(url) => check::http_url(url).map_err(|why| {
                Failure::new(format!("ANTHROPIC_BASE_URL is {url:?}, which is no address of a server"))
                    .exit(Exit::Config)
                    .why(why)
                    .next("export ANTHROPIC_BASE_URL=https://…    (or unset it)")
            })?,
            None => trimmed(table.upstream).unwrap_or_else(|| DEFAULT_UPSTREAM.to_owned()),
        };
        // Without a key nothing goes there.
        let proxy = match &environment.anthropic_api_key {
            Some(_) => environment.proxies.to(&upstream)?,
            None => None,
        };
        let named = |UpstreamTable { name, url, key: FromEnv { env }, models }: UpstreamTable| {
            let url = url.trim().trim_end_matches('/').to_owned();
            Ok::<_, Failure>(NamedUpstream {
                name: name.trim().to_owned(),
                key: NamedSecret { value: (environment.named.0)(&env), variable: env },
                models: models.unwrap_or_else(|| vec!["*".to_owned()]),
                proxy: environment.proxies.to(&url)?,
                url,
            })
        };
        Ok(Self {
            upstream,
            api_key: environment.anthropic_api_key.clone(),
            proxy,
            upstreams: table.upstreams.into_iter().map(named).collect::<Result<_, _>>()?,
            rates: Rates {
                calls_per_minute: table.calls_per_minute,
                concurrent_calls: table.concurrent_calls,
            },
            budgets: Budgets::new(agents, person),
        })
    }

    /// Whether a model answers where no script is set.
    #[must_use]
    pub fn has_model(&self) -> bool {
        self.api_key.is_some() || !self.upstreams.is_empty()
    }
}

impl NamedUpstream {
    /// Its key.
    ///
    /// # Errors
    /// When the variable that holds it is not set.
    pub fn api_key(&self) -> Result<SecretString, Failure> {
        self.key.value.clone().ok_or_else(|| {
            Failure::new(format!("no model can be called at the upstream `{}` of [gateway]", self.name))
                .exit(Exit::Config)
                .why(format!("{} is not set", self.key.variable))
                .next(format!("export {}=…     (the key of {})", self.key.variable, self.url))
        })
    }
}
