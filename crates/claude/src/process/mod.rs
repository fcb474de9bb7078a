//! Processes: starting the CLI so that it dies with its host, and ending it with all it started.

mod proc_table;
mod spawn;
mod tree;

pub(crate) use spawn::spawn;
pub(crate) use tree::Root;
pub use tree::{KillReport, freeze_tree, kill_by_env_marker, kill_tree, thaw_tree};
