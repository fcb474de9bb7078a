//! Whether the configuration repositories of `[deploy]` can be asked what they are at, with the person's own keys.

use super::{Finding, Machine, Verdict};
use crate::deploy;

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let looked = deploy::look(&machine.context, &machine.config).await;
    if looked.is_empty() {
        return vec![Finding::ok("[deploy] names no configuration repository")];
    }
    looked
        .into_iter()
        .map(|(name, at)| match at {
            Ok(at) => Finding::ok(format!("{name} is at {at}")),
            Err(failure) => Finding::of(Verdict::Problem, failure),
        })
        .collect()
}
