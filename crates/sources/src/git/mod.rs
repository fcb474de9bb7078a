//! Repositories, by the user's own `git`.

mod cache;
mod environment;
mod objects;
mod refs;
mod run;
mod trouble;

pub(crate) use cache::Cache;
pub(crate) use environment::Access;
pub(crate) use objects::{Unread, read};
pub(crate) use refs::look;
pub(crate) use run::Git;
