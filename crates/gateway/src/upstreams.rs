//! Several upstreams as one: chosen by model, tried in order, and tried again while nothing has come.
//!
//! The CLI tries again as well (25 times, up to half a minute between tries), so this is only for what passes
//! quickly, or what another upstream can do right now. The two compose like this: everything the gateway does
//! before the first byte (the line, [`QUEUE_PATIENCE`](crate::limits::QUEUE_PATIENCE); the tries here,
//! [`RETRY_PATIENCE`]; the silence of the last one, [`READ_TIMEOUT`](crate::limits::READ_TIMEOUT)) fits into the
//! CLI's own limit for one call. What the gateway gives up on goes to the session as it came, `retry-after`
//! included, and the session's next try is a call of its own here: recorded, budgeted and bounded anew.
//!
//! A call is sent again only when it provably has produced nothing: no connection, or an error status. One
//! that broke without an answer, or after the headers of a 200, may have been paid.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use regex::Regex;
use tokio::time::Instant;

use crate::{
    error::ApiError,
    limits::{LONG_WAIT, RETRIES, RETRY_FIRST_DELAY, RETRY_MAX_DELAY, RETRY_PATIENCE},
    upstream::{Call, Reply, Upstream, UpstreamError},
};

/// Models by name; `*` stands for any characters.
#[derive(Debug, Clone)]
pub struct ModelPattern {
    text: String,
    regex: Regex,
}

impl ModelPattern {
    /// Of a text like `claude-*`.
    ///
    /// # Errors
    /// When it is too long to be one.
    pub fn new(text: &str) -> Result<Self, String> {
        let pattern = format!("^{}$", regex::escape(text.trim()).replace(r"\*", ".*"));
        let regex =
            Regex::new(&pattern).map_err(|error| format!("{text:?} is no pattern of models: {error}"))?;
        Ok(Self { text: text.trim().to_owned(), regex })
    }

    /// Whether this model is meant.
    #[must_use]
    pub fn is_match(&self, model: &str) -> bool {
        self.regex.is_match(model)
    }
}

/// An upstream and what it is for.
pub struct Route {
    /// What it is called, for people.
    pub name: String,
    /// The models it answers for.
    pub models: Vec<ModelPattern>,
    /// It.
    pub upstream: Arc<dyn Upstream>,
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Route")
            .field("name", &self.name)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

impl Route {
    fn takes(&self, model: Option<&str>) -> bool {
        model.is_none_or(|model| self.models.iter().any(|pattern| pattern.is_match(model)))
    }
}

/// Upstreams in the order in which they are tried.
pub struct Upstreams {
    routes: Vec<Route>,
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.routes).finish()
    }
}

/// What to do after a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is the answer, good or bad.
    Take,
    /// Nothing was produced, and soon it may go better here.
    Soon(Duration),
    /// Nothing was produced; another upstream may do it now. This one not before so long.
    Elsewhere(Duration),
}

impl Upstreams {
    /// These, in this order.
    #[must_use]
    pub fn new(routes: Vec<Route>) -> Self {
        Self { routes }
    }

    async fn answer(&self, call: Call) -> Result<Reply, UpstreamError> {
        let model = call.request.model.as_deref();
        let routes: Vec<&Route> = self.routes.iter().filter(|route| route.takes(model)).collect();
        let begun = Instant::now();
        let backoff = ExponentialBuilder::default()
            .with_min_delay(RETRY_FIRST_DELAY)
            .with_max_delay(RETRY_MAX_DELAY)
            .with_max_times(RETRIES)
            .with_jitter();
        let mut delays = backoff.build();
        let mut outcome = Ok(self.nobody_takes(model));
        if routes.is_empty() {
            return outcome;
        }
        loop {
            let mut wait: Option<Duration> = None;
            for route in &routes {
                outcome = route.upstream.send(call.clone()).await;
                let verdict = verdict(&outcome);
                let (Verdict::Soon(asked) | Verdict::Elsewhere(asked)) = verdict else { return outcome };
                tracing::info!(execution = %call.execution, upstream = route.name, ?outcome, ?verdict,
                               "a model call has to be sent again");
                wait = Some(wait.map_or(asked, |wait| wait.min(asked)));
                if matches!(verdict, Verdict::Soon(_)) {
                    break;
                }
            }
            let Some(delay) = delays.next() else { return outcome };
            let delay = delay.max(wait.unwrap_or_default());
            if begun.elapsed() + delay > RETRY_PATIENCE {
                return outcome;
            }
            tokio::time::sleep(delay).await;
        }
    }

    fn nobody_takes(&self, model: Option<&str>) -> Reply {
        let of_route = |route: &Route| {
            let models: Vec<&str> = route.models.iter().map(|model| model.text.as_str()).collect();
            format!("{} ({})", route.name, models.join(", "))
        };
        let known: Vec<String> = self.routes.iter().map(of_route).collect();
        let message = format!(
            "no upstream takes the model {:?}: there are {}. Add it to `models` of one of the `upstreams` in [gateway] \
             of holdpoint.toml, or set the agent's `model`",
            model.unwrap_or_default(),
            known.join("; ")
        );
        let error = ApiError::new(StatusCode::NOT_FOUND, message);
        Reply::json(error.status, &error.body())
    }
}

impl Upstream for Upstreams {
    fn send(&self, call: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        self.answer(call).boxed()
    }
}

fn verdict(outcome: &Result<Reply, UpstreamError>) -> Verdict {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(UpstreamError::Unreachable(_)) => return Verdict::Elsewhere(Duration::ZERO),
        Err(UpstreamError::Broken(_)) => return Verdict::Take,
    };
    if reply.headers.get("x-should-retry").is_some_and(|value| value == "false") {
        return Verdict::Take;
    }
    let asked = retry_after(&reply.headers).unwrap_or_default();
    match reply.status.as_u16() {
        429 if asked <= LONG_WAIT => Verdict::Soon(asked),
        429 => Verdict::Elsewhere(asked),
        // A timeout of something on the way says nothing about what went on behind it.
        504 | 524 => Verdict::Take,
        500..=599 => Verdict::Elsewhere(asked),
        _ => Verdict::Take,
    }
}

/// What the upstream asks to wait. A date instead of seconds, which the API does not send, counts as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    number("retry-after-ms")
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
}

#[cfg(test)]
#[path = "upstreams_tests.rs"]
mod tests;
