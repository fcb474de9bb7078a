//! Sources, with the real git: over `file://`, over SSH from an sshd of our own, over HTTP from git's own server program.

mod cli;
mod files;
mod hostile;
mod http;
mod killed;
mod plugins;
mod site;
mod ssh;
