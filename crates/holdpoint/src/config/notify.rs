//! `[notify]`: where people are told, and with which secrets.

use std::sync::Arc;

use holdpoint_notify::{Channel, Ntfy, NtfySettings, SettingsError, Webhook, WebhookSettings};
use secrecy::{ExposeSecret as _, SecretString};

use super::file::{FromEnv, NotifyTable};
use crate::{
    env::Environment,
    failure::{Exit, Failure},
};

/// Where people are told that something waits for them.
#[derive(Clone, Debug, Default)]
pub struct Notify {
    /// A program, by signed POST.
    pub webhook: Option<Endpoint>,
    /// Phones, over ntfy.
    pub ntfy: Option<Endpoint>,
}

/// A server that passes it on.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its address; may hold a secret itself.
    pub url: SecretString,
    /// What signs, or opens.
    pub secret: Option<NamedSecret>,
    /// The proxy on the way there, if the environment names one.
    pub proxy: Option<SecretString>,
}

/// A secret from the environment. It is missed only where it is needed: most commands send nothing.
#[derive(Clone, Debug)]
pub struct NamedSecret {
    /// The variable.
    pub variable: String,
    /// What it holds, if it is set.
    pub value: Option<SecretString>,
}

impl Notify {
    pub(super) fn resolve(table: NotifyTable, environment: &Environment) -> Result<Self, Failure> {
        let endpoint = |url: String, secret: Option<FromEnv>| -> Result<Endpoint, Failure> {
            let url = url.trim().to_owned();
            let secret = secret
                .map(|FromEnv { env }| NamedSecret { value: (environment.named.0)(&env), variable: env });
            Ok(Endpoint { proxy: environment.proxies.to(&url)?, secret, url: url.into() })
        };
        Ok(Self {
            webhook: table.webhook.map(|webhook| endpoint(webhook.url, Some(webhook.secret))).transpose()?,
            ntfy: table.ntfy.map(|ntfy| endpoint(ntfy.url, ntfy.token)).transpose()?,
        })
    }

    /// The channels, ready to send.
    ///
    /// # Errors
    /// When a secret is missing, or is none.
    pub fn channels(&self) -> Result<Vec<Arc<dyn Channel>>, Failure> {
        let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
        if let Some(endpoint) = &self.webhook {
            let settings = WebhookSettings {
                url: endpoint.url.expose_secret().to_owned(),
                secret: endpoint.secret("webhook")?.unwrap_or_default(),
                proxy: endpoint.proxy.clone(),
            };
            channels.push(Arc::new(Webhook::new(&settings).map_err(|why| endpoint.wrong("webhook", &why))?));
        }
        if let Some(endpoint) = &self.ntfy {
            let settings = NtfySettings {
                url: endpoint.url.expose_secret().to_owned(),
                token: endpoint.secret("ntfy")?,
                proxy: endpoint.proxy.clone(),
            };
            channels.push(Arc::new(Ntfy::new(&settings).map_err(|why| endpoint.wrong("ntfy", &why))?));
        }
        Ok(channels)
    }
}

impl Endpoint {
    fn secret(&self, channel: &str) -> Result<Option<SecretString>, Failure> {
        match &self.secret {
            None => Ok(None),
            Some(NamedSecret { value: Some(value), .. }) => Ok(Some(value.clone())),
            Some(secret) => {
                let failure = Failure::new(format!("nobody can be told over `{channel}` of [notify]"))
                    .exit(Exit::Config)
                    .why(format!("{} is not set", secret.variable));
                Err(secret.how_to_set(channel, failure))
            }
        }
    }

    /// The settings do not hold what they should. Never with the secret itself.
    fn wrong(&self, channel: &str, why: &SettingsError) -> Failure {
        let failure =
            Failure::new(format!("nobody can be told over `{channel}` of [notify]")).exit(Exit::Config);
        match (&self.secret, why) {
            (Some(secret), SettingsError::Secret(_) | SettingsError::Token) => {
                let failure = failure.why(format!("failed to {why} in {}", secret.variable));
                secret.how_to_set(channel, failure)
            }
            _ => failure.why(format!("failed to {why}")),
        }
    }
}

impl NamedSecret {
    fn how_to_set(&self, channel: &str, failure: Failure) -> Failure {
        let name = &self.variable;
        if channel == "webhook" {
            failure.next(format!(
                "export {name}=\"whsec_$(openssl rand -base64 32)\"     (and give it to the receiver)"
            ))
        } else {
            failure.next(format!("export {name}=tk_…     (an access token of the ntfy server)"))
        }
    }
}
