//! Whether the configuration is right.

use super::{Finding, Machine, Verdict};

pub(super) fn check(machine: &Machine) -> Vec<Finding> {
    let Some(fault) = &machine.config_fault else {
        let agents: Vec<&str> = machine.config.agents.keys().map(String::as_str).collect();
        return vec![
            Finding::ok(machine.config.file_in_words()).because(format!("agents: {}", agents.join(", "))),
        ];
    };
    let mut finding = Finding::of(Verdict::Problem, fault.clone())
        .because("Until it is right, everything below is looked at as if there were none.");
    if finding.next.is_empty() {
        finding = finding.next("holdpoint config check");
    }
    vec![finding]
}
