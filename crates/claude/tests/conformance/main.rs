//! The driver against the real CLI, case by case.
//!
//! The numbers are those of the protocol's conformance list. The model is a script on loopback; everything
//! else is real.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod basics;
mod ending;
mod failures;
mod hooks;
mod interrupts;
mod mcp;
mod model;
mod permissions;
mod pipe;
mod resume;
mod turns;
mod world;
