//! The labels of what agents' images are made of, and how the kept layers are named.

/// The value of `io.holdpoint.image` of an image of agents.
pub const KIND_AGENTS: &str = "agents";

/// The value of `io.holdpoint.image` of a kept layer, and of a container that makes one.
pub(super) const KIND_LAYER: &str = "layer";

/// The key of a kept layer; of an image of agents, the key of its uppermost one.
pub(super) const LABEL_KEY: &str = "io.holdpoint.layer.key";

/// The folder of the builder that made a layer, or is making it in a container.
pub(super) const LABEL_BUILDER: &str = "io.holdpoint.builder";

/// The id of the base image that an image of agents is on.
pub const LABEL_BASE: &str = "io.holdpoint.base";

/// The repository part of the name that an image of agents was made with; a later one takes the name away.
pub const LABEL_REPOSITORY: &str = "io.holdpoint.repository";

/// The repository part of the names of kept layers. A name keeps `podman image prune` from taking them.
pub(super) const LAYER_REPOSITORY: &str = "localhost/holdpoint/layer";
