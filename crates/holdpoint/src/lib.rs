//! The parts of the `holdpoint` program: its command line, its configuration, the installer of the
//! Claude CLI, and the composition of the other crates into a control plane.

pub mod backup;
pub mod bar;
pub mod cli;
pub mod client;
pub mod config;
pub mod containers;
pub mod data;
pub mod deploy;
pub mod dialogue;
pub mod doctor;
pub mod env;
pub mod failure;
pub mod install;
pub mod left;
pub mod log;
pub mod port;
pub mod proxy;
pub mod render;
pub mod serve;
pub mod session;
pub mod term;
