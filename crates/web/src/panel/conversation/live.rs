//! `GET /executions/{id}/live?after=SEQ&from=SEQ`: the conversation as it goes on, as rendered fragments.
//!
//! Events: `patch` (`id` = seq; `{"html", "status", "news"?}`), `delta` (what the model is writing),
//! `end`. The fragments come from the very components that the page is made of.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse as _, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{Execution, Seq, Standing};
use http::HeaderMap;
use maud::html;
use serde::Deserialize;
use serde_json::json;

use super::{stretch::fold_from, view_of};
use crate::{
    auth::{Act, Caller, execution_as, revoked},
    body::{Path, Query},
    feed::{Fed, Feed},
    limits,
    panel::{
        parts::{composer, facts, release},
        timeline::{Part, Timeline},
    },
    problem::Problem,
    state::WebState,
};

#[derive(Debug, Deserialize)]
pub(crate) struct Params {
    #[serde(default)]
    after: Seq,
    /// From where on the page knows everything.
    #[serde(default)]
    from: Seq,
}

/// One open page.
struct Live {
    state: WebState,
    caller: Caller,
    standing: Standing,
    timeline: Timeline,
    feed: Feed,
    back: String,
    /// The last seq that was sent.
    seq: Seq,
    /// What stands around the rounds, as it was sent last, by the id of its element.
    sent: HashMap<&'static str, String>,
    /// Not sent anything yet: the page may be older than what we know beside the log.
    fresh: bool,
}

pub(crate) async fn live(
    State(state): State<WebState>,
    caller: Caller,
    Path(id): Path<String>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (execution, standing) = execution_as(&state, &caller, &id, Act::See).await?;
    let after = crate::last_event_id(&headers).unwrap_or(params.after).min(execution.seq);
    let feed = Feed::new(&state, execution.id, after, true);
    let mut timeline = fold_from(&state, execution.id, params.from.min(after), after).await?;
    timeline.forget_settled();
    timeline.take_news();
    let over = revoked(state.clone(), caller.clone(), Some((execution.id, standing)));
    let live = Live {
        back: format!("/executions/{}", execution.id),
        state,
        caller,
        standing,
        timeline,
        feed,
        seq: after,
        sent: HashMap::new(),
        fresh: true,
    };
    Ok(Sse::new(live.stream().take_until(over))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(limits::KEEP_ALIVE_S)))
        .into_response())
}

impl Live {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(Some(self), |live| async move {
            let mut live = live?;
            loop {
                if std::mem::take(&mut live.fresh)
                    && let Some(event) = live.patch(&[])
                {
                    return Some((Ok(event), Some(live)));
                }
                match live.feed.next().await {
                    Ok(Fed::Events(entries)) => {
                        let mut parts = Vec::new();
                        for entry in &entries {
                            live.seq = entry.event.seq;
                            match live.timeline.apply(&entry.event) {
                                Ok(touched) => parts.extend(touched),
                                Err(error) => {
                                    tracing::error!(%error, "failed to fold a log");
                                    return None;
                                }
                            }
                        }
                        let event = live.patch(&parts);
                        live.timeline.forget_settled();
                        if let Some(event) = event {
                            return Some((Ok(event), Some(live)));
                        }
                    }
                    Ok(Fed::Delta(delta)) => {
                        let event = Event::default().event("delta").data(json!(delta).to_string());
                        return Some((Ok(event), Some(live)));
                    }
                    // Time went by: a queue may have moved, which is no event.
                    Ok(Fed::Idle) => {
                        if let Some(event) = live.patch(&[]) {
                            return Some((Ok(event), Some(live)));
                        }
                    }
                    Ok(Fed::End) => return Some((Ok(Event::default().event("end").data("{}")), None)),
                    Ok(Fed::Closing) => return None,
                    Err(error) => {
                        tracing::warn!(%error, "failed to read events for a page");
                        return None;
                    }
                }
            }
        })
    }

    /// The fragments of these parts, and of what changed around the rounds.
    fn patch(&mut self, parts: &[Part]) -> Option<Event> {
        let news = self.timeline.take_news();
        let execution = self.timeline.execution()?;
        let view = view_of(&self.state, &self.caller, self.standing, execution, &self.back);
        let mut fragments = self.timeline.fragments(parts, &view).into_string();
        let around = self.around(execution);
        let status = execution.status.as_str();
        for (id, markup) in around {
            if self.sent.get(id) != Some(&markup) {
                fragments.push_str(&markup);
                self.sent.insert(id, markup);
            }
        }
        if fragments.is_empty() && news.is_none() {
            return None;
        }
        let data = json!({ "html": fragments, "status": status, "news": news });
        Some(Event::default().event("patch").id(self.seq.to_string()).data(data.to_string()))
    }

    fn around(&self, execution: &Execution) -> Vec<(&'static str, String)> {
        let view = view_of(&self.state, &self.caller, self.standing, execution, &self.back);
        let timeline = &self.timeline;
        let (files, omitted) = timeline.files();
        let writer = if execution.status.is_final() {
            ("composer", composer::composer(execution, &view))
        } else if view.may_steer || view.may_decide {
            ("composer-state", composer::state(execution, &view))
        } else {
            ("composer-state", html! {})
        };
        let queued = self.state.control.queued(execution);
        let current = self.state.control.release().map(|release| release.number);
        [
            ("facts", facts::facts(timeline, execution, &view)),
            ("actions", facts::actions(execution, &view)),
            ("move", release::move_on(execution, current, &view)),
            ("queue", facts::queue(queued.as_deref())),
            ("activity", facts::activity(timeline, execution)),
            ("files", facts::files(files, omitted, &view)),
            ("grants", facts::grants(execution)),
            ("outcome", facts::outcome(timeline, execution, &view)),
            writer,
        ]
        .into_iter()
        .map(|(id, markup)| (id, markup.into_string()))
        .collect()
    }
}
