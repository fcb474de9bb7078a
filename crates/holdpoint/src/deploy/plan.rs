//! What a deployment would do, and why. Pure.

use std::fmt;

use holdpoint_model::{
    Lock,
    lock::{Change, Effort, effort},
};
use serde::Serialize;

use super::{Prepared, Release};
use crate::render::one_line;

/// The widest line of a plan.
const WIDTH: usize = 110;

/// What a deployment would do.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// How much is to do.
    pub effort: Effort,
    /// How long that takes, in words.
    pub takes: &'static str,
    /// Why.
    pub changes: Vec<Change>,
    /// What whoever deploys should know.
    pub notes: Vec<String>,
    /// The release that is current, if any is.
    pub current: Option<u32>,
    /// Conversations that go on, and stay on their release.
    pub going_on: u64,
    /// An unfinished release of the same, which is taken up.
    pub unfinished: Option<u32>,
}

impl Plan {
    /// Of what is prepared and what there is.
    #[must_use]
    pub fn new(prepared: &Prepared, releases: &[Release]) -> Self {
        let current = releases.iter().find(|release| release.is_current());
        let unfinished = releases.iter().find(|release| release.is_unfinished());
        Self {
            current: current.map(|release| release.number),
            going_on: releases.iter().map(|release| release.going_on).sum(),
            unfinished: unfinished
                .filter(|release| release.lock.inputs() == prepared.lock.inputs())
                .map(|release| release.number),
            ..Self::against(prepared, current.map(|release| &release.lock))
        }
    }

    /// Of what is prepared and a lock: what was deployed last, as far as is known.
    #[must_use]
    pub fn against(prepared: &Prepared, lock: Option<&Lock>) -> Self {
        let changes = prepared.lock.changes_from(lock);
        let effort = effort(&changes);
        Self {
            effort,
            takes: match effort {
                Effort::Nothing => "nothing",
                Effort::Reload => "seconds",
                Effort::Redeploy => "less than a minute, as a rule",
                Effort::Rebuild if prepared.lock.dependencies.is_some() => "minutes: packages are installed",
                Effort::Rebuild => "less than a minute, as a rule",
            },
            changes,
            notes: prepared.notes.clone(),
            current: None,
            going_on: 0,
            unfinished: None,
        }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.effort == Effort::Nothing
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.current {
            Some(number) if self.is_nothing() => {
                writeln!(f, "Nothing to do: release {number} is made of the same.")?
            }
            Some(number) => {
                writeln!(f, "{} (release {number} is current); takes {}", title(self.effort), self.takes)?;
            }
            None if self.is_nothing() => writeln!(f, "Nothing to do: holdpoint.lock is made of the same.")?,
            None => writeln!(f, "{} (the first release); takes {}", title(self.effort), self.takes)?,
        }
        for change in &self.changes {
            writeln!(f, "  {:8}  {}", change.effort.as_str(), one_line(&change.to_string(), WIDTH))?;
        }
        for note in &self.notes {
            writeln!(f, "  note      {}", one_line(note, WIDTH))?;
        }
        if let Some(number) = self.unfinished {
            writeln!(f, "Release {number} was begun of the same, and is taken up where it was left.")?;
        }
        if !self.is_nothing() && self.going_on > 0 {
            let (some, go, their) = match self.going_on {
                1 => ("One conversation".to_owned(), "goes", "its"),
                many => (format!("{many} conversations"), "go", "their"),
            };
            writeln!(f, "{some} that {go} on {go} on with {their} own release (--now moves them).")?;
        }
        Ok(())
    }
}

fn title(effort: Effort) -> &'static str {
    match effort {
        Effort::Nothing => "Nothing",
        Effort::Reload => "Reload: agents get new settings, images stay",
        Effort::Redeploy => "Redeploy: the image's last layer is made anew",
        Effort::Rebuild => "Rebuild: the image is made anew",
    }
}
