//! `holdpoint doctor`: what is wrong on this machine, and what to type.

use crate::{
    bar::Bar,
    cli::{Context, Global},
    doctor::{CHECKS, Finding, Found, Machine, Report, Verdict, examine},
    env::Environment,
    failure::{EndedWith, Exit, Failure},
    render::{block, clean, paint::Paint},
    term::{self, Term},
};

/// Carries it out, whatever is broken.
///
/// # Errors
/// When there are problems; it has said which.
pub(super) async fn run(global: Global, environment: Environment) -> anyhow::Result<()> {
    let json = global.json;
    let term = Term::detect(environment.no_color);
    let report = match Context::new(global, environment).and_then(Machine::new) {
        Ok(machine) => {
            let bar = Bar::things(term, "looking", CHECKS.len() as u64);
            let report = examine(machine, || bar.add(1)).await;
            bar.done();
            report
        }
        Err(failure) => without_a_machine(failure),
    };
    if json {
        term::json(&report)?;
    } else {
        term::print(&text(&report, Paint(term.color)))?;
    }
    // It is not that the doctor failed.
    if report.verdict == Verdict::Problem { Err(EndedWith(Exit::Failed as u8).into()) } else { Ok(()) }
}

/// There is nothing to look at, as where there is no home folder.
fn without_a_machine(failure: Failure) -> Report {
    Report::new(vec![Found { check: "data folder", finding: Finding::of(Verdict::Problem, failure) }])
}

fn text(report: &Report, paint: Paint) -> String {
    let width = report.checks.iter().map(|found| found.check.chars().count()).max().unwrap_or(0);
    // A mark, the name, and the spaces after each.
    let indent = " ".repeat(width + 4);
    let mut text = String::new();
    let mut last = "";
    for Found { check, finding } in &report.checks {
        let mark = match finding.verdict {
            Verdict::Ok => paint.green("✓"),
            Verdict::Warning => paint.yellow("!"),
            Verdict::Problem => paint.red("✗"),
        };
        // A check's name stands once.
        let name = if *check == last { "" } else { check };
        last = check;
        text.push_str(&format!("{mark} {name:width$}  {}\n", clean(&finding.what)));
        for line in finding.why.lines() {
            text.push_str(&format!("{}\n", paint.dim(&block(line, &indent, 1))));
        }
        for next in &finding.next {
            text.push_str(&format!("{indent}→ {}\n", clean(next)));
        }
    }
    text.push_str(&format!("\nHoldpoint {}: {}\n", report.version, summary(report)));
    text
}

fn summary(report: &Report) -> String {
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts: Vec<String> = [count(report.problems, "problem"), count(report.warnings, "warning")]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() { "all is well".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_with_what_to_type() {
        let report = Report::new(vec![
            Found { check: "git", finding: Finding::ok("git version 2") },
            Found {
                check: "ports",
                finding: Finding::problem("failed to listen")
                    .because("line one\nline two")
                    .next("holdpoint up --port 0"),
            },
            Found { check: "ports", finding: Finding::warning("no TLS\u{1b}[2J").next("type") },
        ]);
        assert_eq!(
            text(&report, Paint(false)),
            format!(
                "✓ git    git version 2\n✗ ports  failed to listen\n         line one\n         line two\n         → holdpoint up --port 0\n!        no TLS[2J\n         → type\n\nHoldpoint {}: 1 problem, 1 warning\n",
                report.version
            )
        );
    }

    #[test]
    fn what_is_well_says_so() {
        let report = Report::new(vec![Found { check: "git", finding: Finding::ok("2") }]);
        assert_eq!(summary(&report), "all is well");
        let report = without_a_machine(Failure::new("no data folder to use").next("holdpoint --data DIR up"));
        assert!(text(&report, Paint(false)).contains("→ holdpoint --data DIR up"));
    }
}
