//! The image that an agent's sessions run in: a base image, the dependencies that its repositories ask for, and
//! their configuration.
//!
//! Layers from the bottom: base | system packages | Python packages | npm packages | configuration. What costs
//! minutes is kept: each of the layers in the middle has a key of what it is made of and what is below it, and is
//! looked for by that key. The layer on top is our own archive, the same bytes from the same inputs; an engine that
//! has those below it takes it alone. The decisions are in `docs/decisions/0024`.

mod build;
mod clean;
mod configuration;
mod container;
mod explain;
mod inputs;
mod installed;
mod labels;
mod look;
mod plan;
mod script;

pub use build::{Built, BuiltLayer, build};
pub use clean::{leftovers, remove_unused};
pub use configuration::{Installed, Runtime, SourceNote};
pub use inputs::{AgentsInputs, Dependencies, Mirrors};
pub use labels::{KIND_AGENTS, LABEL_BASE, LABEL_REPOSITORY};
pub use look::{Known, look};
pub use plan::{LayerKind, PlannedLayer, plan_layers};

/// Is told what a build does.
pub trait Progress: Send + Sync {
    /// This layer is next; whether it is there from before.
    fn layer(&self, layer: LayerKind, cached: bool);
    /// A line of what apt, pip or npm say.
    fn line(&self, layer: LayerKind, line: &str);
}
