//! What people are told.

use holdpoint_model::{ExecutionId, Hold, HoldId, HoldKind, NoticeId, Occasion, UnixMs};
use serde_json::{Value, json};

use crate::{
    summary,
    text::{one_line, rfc3339},
};

/// The longest title that is sent, in characters.
const MAX_TITLE_CHARS: usize = 120;

/// Something that people are told. It reads the same at every try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id: a receiver that has seen it knows the rest.
    pub id: NoticeId,
    /// When what it tells happened.
    pub at: UnixMs,
    /// The page to go to.
    pub url: String,
    /// What it tells.
    pub about: About,
}

/// What a notice tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Something waits for a person.
    Hold(Box<Waiting>),
    /// That notices arrive.
    Test,
}

/// What waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Why people are told now.
    pub occasion: Occasion,
    /// The conversation.
    pub execution: ExecutionId,
    /// The agent's name.
    pub agent: String,
    /// The conversation's title.
    pub title: String,
    /// A script answers instead of a model.
    pub rehearsal: bool,
    /// The hold.
    pub hold: HoldId,
    /// What kind of answer it needs.
    pub kind: HoldKind,
    /// What the agent waits for, to be read after its name.
    pub summary: String,
    /// When the hold was opened.
    pub opened_at: UnixMs,
    /// When nobody can answer any more.
    pub expires_at: Option<UnixMs>,
}

impl Waiting {
    /// What is told about a hold. Of the tool's arguments nothing but names is taken over.
    #[must_use]
    pub fn new(
        occasion: Occasion,
        execution: ExecutionId,
        agent: &str,
        title: &str,
        rehearsal: bool,
        hold: &Hold,
    ) -> Self {
        Self {
            occasion,
            execution,
            agent: one_line(agent, MAX_TITLE_CHARS),
            title: one_line(title, MAX_TITLE_CHARS),
            rehearsal,
            hold: hold.id,
            kind: hold.kind,
            summary: summary::of(hold),
            opened_at: hold.opened_at,
            expires_at: hold.expires_at,
        }
    }
}

impl Notice {
    /// About a hold, with the link to it below the panel's address `base_url`.
    #[must_use]
    pub fn of_hold(id: NoticeId, base_url: &str, waiting: Waiting) -> Self {
        let at = match (waiting.occasion, waiting.expires_at) {
            (Occasion::Reminder { lead_ms }, Some(end)) => {
                end.saturating_sub(i64::try_from(lead_ms).unwrap_or(i64::MAX))
            }
            _ => waiting.opened_at,
        };
        let url = format!("{}/holds/{}", base_url.trim_end_matches('/'), waiting.hold);
        Self { id, at, url, about: About::Hold(Box::new(waiting)) }
    }

    /// That notices arrive; leads to the panel.
    #[must_use]
    pub fn test(id: NoticeId, base_url: &str, at: UnixMs) -> Self {
        Self { id, at, url: format!("{}/", base_url.trim_end_matches('/')), about: About::Test }
    }

    /// What happened, by the name that programs know it by: `hold.opened`, `hold.reminder`, `test`.
    #[must_use]
    pub fn kind(&self) -> String {
        match &self.about {
            About::Hold(waiting) => format!("hold.{}", waiting.occasion.as_str()),
            About::Test => "test".into(),
        }
    }

    /// For programs: `type`, `timestamp` and `data`, as the Standard Webhooks specification advises.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let data = match &self.about {
            About::Test => json!({ "url": self.url }),
            About::Hold(waiting) => {
                let mut data = json!({
                    "hold": waiting.hold, "kind": waiting.kind, "summary": waiting.summary,
                    "execution": waiting.execution, "agent": waiting.agent, "title": waiting.title,
                    "rehearsal": waiting.rehearsal, "opened_at": rfc3339(waiting.opened_at),
                    "expires_at": waiting.expires_at.map(rfc3339), "url": self.url,
                });
                if let Occasion::Reminder { lead_ms } = waiting.occasion {
                    data["before_expiry_s"] = json!(lead_ms / 1000);
                }
                data
            }
        };
        json!({ "type": self.kind(), "timestamp": rfc3339(self.at), "data": data })
    }
}
