//! Releases: begun, given their image, tried out, made current. Whoever deploys does one after the other.

mod begin;
mod fail;
mod image;
mod list;
mod show;
mod states;
mod verify;
mod views;

pub(super) use begin::{BEGIN, begin};
pub(super) use fail::{FAIL, fail};
pub(super) use image::{IMAGE, image};
pub(super) use list::{RELEASES, list};
pub(super) use show::{RELEASE, show};
pub(super) use states::{ACTIVATE, REMOVE, activate, remove};
pub(super) use verify::{VERIFY, verify};
