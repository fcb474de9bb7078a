//! Whether a container engine answers and has the image that sessions run in; else, what is in the way of each.

use super::{Finding, Machine, Verdict};
use crate::{
    config::EngineChoice,
    containers,
    serve::{Isolation, image_of_sessions},
};

pub(super) async fn check(machine: &Machine) -> Vec<Finding> {
    let verdict = match machine.config.engine {
        EngineChoice::Process => {
            let finding = Finding::warning("`engine = \"process\"` in holdpoint.toml asks for none");
            return vec![finding.because(without()).next("remove that line, for containers where they work")];
        }
        EngineChoice::Auto => Verdict::Warning,
        EngineChoice::Container => Verdict::Problem,
    };
    let failed = |failure| {
        let finding = Finding::of(verdict, failure);
        vec![if verdict == Verdict::Warning { finding.because(without()) } else { finding }]
    };
    let engine = match containers::connect(&machine.config.container, machine.environment()).await {
        Ok(engine) => engine,
        Err(failure) => return failed(failure),
    };
    let others =
        engine.passed_over().iter().map(|tried| format!("not {tried}")).collect::<Vec<_>>().join("\n");
    let by = format!("{} {}", engine.kind(), engine.version());
    match image_of_sessions(&engine, &machine.config.container).await {
        Ok(image) => vec![Finding::ok(format!("{by} answers, and has {image}")).because(others)],
        Err(failure) => failed(failure),
    }
}

/// What it is to have none.
fn without() -> String {
    let nothing = Isolation::Nothing { why: None, next: Vec::new() }.to_string();
    nothing.trim_start_matches("WARNING: ").to_owned()
}
