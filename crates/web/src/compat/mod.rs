//! APIs that clients of other panels know, each a thin edge over Holdpoint's own model.

pub(crate) mod kodosumi;
