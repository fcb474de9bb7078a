//! Checkpoints through the front door: real folders, a real store, processes really killed.

mod copy;
mod damage;
mod disk;
mod hostile;
mod incremental;
mod kill;
mod parsing;
mod roundtrip;
mod s3;
mod support;
mod sweep;
mod trees;
