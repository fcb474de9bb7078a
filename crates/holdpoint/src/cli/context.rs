//! What every command is handed: where things are, and how to talk to the person.

use std::{path::PathBuf, sync::Arc};

use secrecy::SecretString;

use crate::{
    cli::Global,
    client::{Api, Target},
    config::{Config, Overrides},
    data::DataDir,
    env::Environment,
    failure::Failure,
    term::Term,
};

/// What every command is handed.
#[derive(Clone, Debug)]
pub struct Context {
    /// The data folder.
    pub data: DataDir,
    /// The environment as it was at the start.
    pub environment: Arc<Environment>,
    /// The configuration that was asked for.
    pub config_file: Option<PathBuf>,
    /// Whether to print JSON.
    pub json: bool,
    /// The terminal, if it is one.
    pub term: Term,
    /// The control plane is this command's own, and ends with it.
    pub own_server: bool,
    url: Option<String>,
    token: Option<SecretString>,
}

impl Context {
    /// Of this command line and environment.
    ///
    /// # Errors
    /// When there is no data folder to use.
    pub fn new(global: Global, environment: Environment) -> Result<Self, Failure> {
        Ok(Self {
            data: DataDir::locate(global.data.as_deref(), &environment)?,
            term: Term::detect(environment.no_color),
            environment: Arc::new(environment),
            config_file: global.config,
            json: global.json,
            own_server: false,
            url: global.url,
            token: global.token,
        })
    }

    /// The same for another data folder, whose control plane this command runs itself.
    #[must_use]
    pub fn with_own_server(&self, data: DataDir) -> Self {
        Self { data, own_server: true, url: None, token: None, ..self.clone() }
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn config(&self, overrides: &Overrides) -> Result<Config, Failure> {
        Config::load(self.config_file.as_deref(), &self.data, &self.environment, overrides)
    }

    /// The running control plane. Asked anew after it was restarted, since it may be elsewhere then.
    ///
    /// # Errors
    /// When none is known.
    pub fn api(&self) -> Result<Api, Failure> {
        Target { data: &self.data, url: self.url.as_deref(), token: self.token.as_ref() }.connect()
    }
}
