//! What an agent's image is configured by, and how it is fetched: a *master* and a *project* configuration repository,
//! marketplaces and plugins.
//!
//! - [`Sources::look`]: what a repository or folder is at now, without fetching it
//! - [`Sources::files`]: its files at a commit, in memory, from a cache that needs no network for what it has
//! - [`configuration`]: pure; of the files of master and project, what goes into the image and which plugins are wanted
//! - [`Sources::plugins`] and [`Sources::look_plugins`]: the wanted plugins, each at a pinned commit
//! - [`marketplace_trees`] and [`settled`]: pure; the files by which the CLI finds the plugins in the image, offline
//!
//! Repositories are fetched by the user's own `git`, with their keys, agents, proxies and credential helpers. What is in
//! them is somebody else's: it is read out of git's own store, never checked out, no link in it is followed, and every
//! number and size has a limit. The decisions are in `docs/decisions/0023`.

mod configuration;
mod git;
mod image;
mod local;
mod marketplace;
mod names;
mod options;
mod plugins;
mod revision;
mod secrets;
mod settings;
mod source;
mod sources;
mod tree;

pub use configuration::{Configuration, Dependencies, configuration};
pub use image::{marketplace_name, marketplace_trees, settled};
pub use marketplace::{MarketplaceFrom, WantedPlugin};
pub use options::{Options, PASSED_ON};
pub use plugins::{Pin, Plugin, Plugins};
pub use revision::{NoRevision, Revision};
pub use source::{Location, Source};
pub use sources::{Fetched, Sources};
pub use tree::{MAX_FILE_BYTES, MAX_FILES, MAX_TREE_BYTES};
