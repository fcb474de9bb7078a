//! Files below a folder that somebody else may be changing, without ever leaving it.
//!
//! A session's workspace and home are in the hands of an agent that may be hostile. At any moment it may put
//! a link, a pipe, a device or a file without end in the place of anything there, or move a folder away while
//! it is looked at. The host's side is another user, often a mightier one, so a path that is followed by the
//! system is a way out: to files that the agent may not read, or that it wants gone.
//!
//! So nothing below such a folder is reached by a path of the system. It begins with a [`Folder`] that is
//! open, and each name is taken from the open folder before it; no link is followed, wherever it leads. What
//! is opened is first pinned and looked at, and only then opened, if it is a regular file: merely opening a
//! pipe waits, and merely opening a device may act. What is read has a limit that the caller names.
//!
//! - [`Folder`]: opening, reading, making, replacing, one file at a time
//! - [`walk`]: everything below a folder, in order, with limits
//! - [`remove_tree`]: a folder with all that is in it, however deep
//! - [`is_the_trees_doing`]: whether an error says something about the tree, not about the machine
//!
//! The path *to* the folder that it begins with is trusted: the operator's own, with links as they please.
//! Only its last name may not be a link.

mod folder;
mod refused;
mod remove;
mod walk;

pub use folder::Folder;
pub use refused::{Refused, is_the_trees_doing};
pub use remove::remove_tree;
pub use rustix::fs::{FileType, Stat};
pub use walk::{Found, Loss, MAX_DEPTH, Walk, kind, walk};
