//! `GET /outputs/{stream|main|stdio}/{fid}`: the log as server-sent events, live.
//!
//! Lines end in CR LF, and a payload of several lines is several `data:` lines.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{ExecutionId, UnixMs};
use http::{HeaderMap, HeaderValue, header};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    client::Client,
    files,
    kinds::{Facts, Teller, Told},
    payload, run,
};
use crate::{
    auth::{Act, revoked},
    body::{Path, Query},
    feed::{Fed, Feed},
    last_event_id,
    problem::Problem,
    state::WebState,
    tail::Entry,
};

/// After so much silence these clients are told that the server is there. Milliseconds.
const ALIVE_MS: u64 = 3_000;

#[derive(Debug, Deserialize)]
pub(super) struct Params {
    /// Present: payloads as they are, not as HTML.
    raw: Option<String>,
}

/// Which events, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Everything,
    Main { raw: bool },
    Stdio { raw: bool },
}

impl Of {
    fn named(name: &str, raw: bool) -> Option<Self> {
        match name {
            "stream" => Some(Self::Everything),
            "main" => Some(Self::Main { raw }),
            "stdio" => Some(Self::Stdio { raw }),
            _ => None,
        }
    }

    fn takes(self, kind: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Main { .. } => matches!(
                kind,
                "meta"
                    | "inputs"
                    | "agent"
                    | "status"
                    | "error"
                    | "action"
                    | "result"
                    | "final"
                    | "lock"
                    | "lease"
            ),
            Self::Stdio { .. } => matches!(kind, "error" | "stdout" | "stderr" | "debug" | "upload"),
        }
    }

    fn payload(self, told: &Told) -> String {
        match self {
            Self::Main { raw: false } | Self::Stdio { raw: false } => payload::html_of(told),
            _ => told.payload.clone(),
        }
    }
}

pub(super) async fn stream(
    State(state): State<WebState>,
    Client(caller): Client,
    Path((of, fid)): Path<(String, String)>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let of = Of::named(&of, params.raw.is_some()).ok_or_else(|| Problem::not_found("stream"))?;
    let (execution, standing) = run::find_as(&state, &caller, &fid, Act::See).await?;
    let over = revoked(state.clone(), caller, Some((execution.id, standing)));
    let follower = Follower {
        // From the beginning: what an event becomes depends on those before it.
        feed: Feed::new(&state, execution.id, 0, false),
        facts: Facts { meta: run::meta(&state, &execution), ..Facts::default() },
        state,
        id: execution.id,
        of,
        teller: Teller::default(),
        seen: last_event_id(&headers).unwrap_or_default(),
        alive_at: Instant::now() + Duration::from_millis(ALIVE_MS),
    };
    let mut response = Response::new(Body::from_stream(frames(follower).take_until(over)));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// One client and where it is.
struct Follower {
    state: WebState,
    id: ExecutionId,
    feed: Feed,
    of: Of,
    teller: Teller,
    facts: Facts,
    /// The last id that the client had when it came back.
    seen: u64,
    alive_at: Instant,
}

fn frames(follower: Follower) -> impl Stream<Item = Result<String, Infallible>> {
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        loop {
            match follower.next().await {
                Step::Send(text) => return Some((Ok(text), Some(follower))),
                Step::Wait => {}
                Step::End => return Some((Ok(frame(0, "eof", "end of stream")), None)),
                Step::Break => return None,
            }
        }
    })
}

/// What to do next.
enum Step {
    Send(String),
    Wait,
    End,
    Break,
}

impl Follower {
    async fn next(&mut self) -> Step {
        let Ok(fed) = timeout_at(self.alive_at, self.feed.next()).await else {
            return self.send(frame(0, "alive", &stamped(self.state.now(), "service alive")));
        };
        match fed {
            Ok(Fed::Events(entries)) => self.tell(&entries).await,
            Ok(Fed::Delta(_) | Fed::Idle) => Step::Wait,
            Ok(Fed::End) => Step::End,
            Ok(Fed::Closing) => Step::Break,
            Err(error) => {
                tracing::warn!(%error, "failed to read events for a stream");
                Step::Break
            }
        }
    }

    async fn tell(&mut self, entries: &[Arc<Entry>]) -> Step {
        let events = || entries.iter().map(|entry| &entry.event);
        self.facts.sizes.extend(files::sizes(&self.state, self.id, events()).await);
        let mut text = String::new();
        for told in events().flat_map(|event| self.teller.tell(event, &self.facts)) {
            if told.id > self.seen && self.of.takes(told.kind) {
                text.push_str(&frame(told.id, told.kind, &stamped(told.at, &self.of.payload(&told))));
            }
        }
        if text.is_empty() { Step::Wait } else { self.send(text) }
    }

    fn send(&mut self, text: String) -> Step {
        self.alive_at = Instant::now() + Duration::from_millis(ALIVE_MS);
        Step::Send(text)
    }
}

fn stamped(at: UnixMs, payload: &str) -> String {
    format!("{:?}:{payload}", run::seconds(at))
}

/// Every line end ends a line there, a lone CR too: no payload can write a field of its own.
fn frame(id: u64, kind: &str, data: &str) -> String {
    let mut text = format!("id: {id}\r\nevent: {kind}\r\n");
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_have_the_lines_of_that_api() {
        assert_eq!(
            frame(7, "debug", &stamped(1_500, "a\nb\r\nc")),
            "id: 7\r\nevent: debug\r\ndata: 1.5:a\r\ndata: b\r\ndata: c\r\n\r\n"
        );
        assert_eq!(stamped(2_000, "x"), "2.0:x", "always a float");
    }

    proptest! {
        /// Whatever a model writes stays in the `data` of its own event.
        #[test]
        fn no_payload_writes_another_event(data in "(?s).{0,40}|[\r\n a-z:]{0,40}") {
            let text = frame(1, "result", &data);
            let body = text.strip_suffix("\r\n\r\n").expect("the end of the event");
            for (n, line) in body.split("\r\n").enumerate() {
                prop_assert!(!line.contains(['\r', '\n']));
                prop_assert!(n < 2 || line.starts_with("data: "), "{line:?}");
            }
        }
    }
}
