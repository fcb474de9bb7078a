//! What checks look at: this machine, as configuration and environment have it.

use tokio::sync::OnceCell;

use super::control_plane::{self, ControlPlane};
use crate::{
    cli::Context,
    config::{Config, Overrides},
    env::Environment,
    failure::Failure,
};

/// What checks look at.
#[derive(Debug)]
pub struct Machine {
    /// Where things are.
    pub(super) context: Context,
    /// The configuration; the built-in one where [`Self::config_fault`] has why.
    pub(super) config: Config,
    /// What is wrong with the configuration that was asked for.
    pub(super) config_fault: Option<Failure>,
    control_plane: OnceCell<ControlPlane>,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// None that a person can do anything about.
    pub fn new(context: Context) -> Result<Self, Failure> {
        let (config, config_fault) = match context.config(&Overrides::default()) {
            Ok(config) => (config, None),
            Err(failure) => (Config::built_in(&context.data)?, Some(failure)),
        };
        Ok(Self { context, config, config_fault, control_plane: OnceCell::new() })
    }

    /// The control plane, asked once for all checks.
    pub(super) async fn control_plane(&self) -> &ControlPlane {
        self.control_plane.get_or_init(|| control_plane::ask(&self.context)).await
    }

    pub(super) fn environment(&self) -> &Environment {
        &self.context.environment
    }
}
