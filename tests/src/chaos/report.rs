//! What a run shows.

use std::{collections::BTreeMap, fmt, time::Duration};

use comfy_table::{Table, presets};

use super::{
    check::{Fault, Findings, History},
    strike::Blow,
    world::Struck,
};

/// Executions that are told in full, and findings that are listed.
const EXECUTIONS_SHOWN: usize = 3;
const FINDINGS_SHOWN: usize = 40;

/// What a run shows.
#[derive(Debug)]
pub struct Report {
    /// What it can be repeated with.
    pub seed: u64,
    /// How long it took.
    pub took: Duration,
    /// Conversations.
    pub conversations: usize,
    /// What was struck, how often.
    pub blows: BTreeMap<Blow, usize>,
    /// When, for the stories.
    pub strikes: Vec<Struck>,
    /// What was recorded.
    pub history: History,
    /// What is wrong.
    pub findings: Findings,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.all.is_empty()
    }

    /// How many were killed with -9.
    #[must_use]
    pub fn kills(&self) -> usize {
        self.blows.iter().filter(|(blow, _)| blow.is_kill()).map(|(_, times)| times).sum()
    }

    /// What is wrong, with the logs of the first executions and what they were struck with.
    #[must_use]
    pub fn details(&self) -> String {
        let mut text = String::new();
        for finding in self.findings.all.iter().take(FINDINGS_SHOWN) {
            text += &format!("{}: {} {}\n", finding.execution, finding.fault.words(), finding.what);
        }
        let left_out = self.findings.all.len().saturating_sub(FINDINGS_SHOWN);
        if left_out > 0 {
            text += &format!("… and {left_out} more\n");
        }
        let mut shown: Vec<&str> = Vec::new();
        for finding in &self.findings.all {
            if !shown.contains(&finding.execution.as_str()) && shown.len() < EXECUTIONS_SHOWN {
                shown.push(&finding.execution);
                text += &self.story(&finding.execution);
            }
        }
        text
    }

    /// A log with the strikes between its lines.
    #[must_use]
    pub fn story(&self, execution: &str) -> String {
        let Some(recorded) = self.history.executions.iter().find(|recorded| recorded.id == execution) else {
            return String::new();
        };
        let mut lines: Vec<(String, String)> = Vec::new();
        for event in &recorded.events {
            let mut data = event.data.to_string();
            data.truncate(data.floor_char_boundary(260));
            let told_by = event.incarnation.map(|told_by| format!("/{told_by}")).unwrap_or_default();
            lines.push((event.at.clone(), format!("{:>4}{told_by:<3} {:<18} {data}", event.seq, event.kind)));
        }
        let (first, last) = (lines.first().cloned(), lines.last().cloned());
        let (Some((first, _)), Some((last, _))) = (first, last) else { return String::new() };
        for strike in &self.strikes {
            let at = format!("{:.3}", strike.at);
            let ours = strike.execution.is_empty() || strike.execution == execution;
            if ours && at >= first && at <= last {
                lines.push((at, format!("     *** {}", strike.what)));
            }
        }
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        let head = format!("\n--- {execution}: {}, {}\n", recorded.scene, recorded.status);
        lines.into_iter().fold(head, |text, (at, line)| format!("{text}{at} {line}\n"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["what", "how many"]);
        let mut row = |what: &str, count: String| {
            table.add_row([what.to_owned(), count]);
        };
        row("seed", self.seed.to_string());
        row("took", format!("{:.0} s", self.took.as_secs_f64()));
        row("conversations", self.conversations.to_string());
        row(
            "events in their logs",
            self.history.executions.iter().map(|of| of.events.len()).sum::<usize>().to_string(),
        );
        row("tools run", self.history.nonces.len().to_string());
        row("calls of the model", self.history.upstream.len().to_string());
        row("answers given", self.history.answers.len().to_string());
        row("kills", self.kills().to_string());
        for (blow, times) in &self.blows {
            row(blow.words(), times.to_string());
        }
        for (fault, count) in self.findings.counts() {
            row(fault.words(), count.to_string());
        }
        debug_assert_eq!(self.findings.counts().len(), Fault::ALL.len());
        write!(f, "{table}")
    }
}
