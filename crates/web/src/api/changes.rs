//! `GET /v1/changes`: a stream of what changes in lists: each conversation that one may see, as its line.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt as _, stream};
use holdpoint_model::{ExecutionId, HoldId, Seq, Status};
use holdpoint_store::Hint;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::{
    Receiver,
    error::{RecvError, TryRecvError},
};
use tokio_util::sync::CancellationToken;

use crate::{
    auth::{Act, Caller, execution, revoked},
    limits,
    openapi::{Doc, Gives, Group, Operation},
    problem::Problem,
    state::WebState,
    time::At,
};

pub(super) const CHANGES: Doc = Doc::new(Group::Conversations, "followChanges", "Follow what changes in lists")
    .text(
        "A stream. `hello` comes first: whatever is committed from then on is told of, so fetch lists after it. \
         `execution` has a `Change` as `data`: a conversation that one may see has gone on, with its state by then. \
         Changes that follow closely come as one. `again` says that some were missed: fetch lists anew. A client \
         that comes back begins with `hello` again.",
    );

/// Changes within this time are told as one: a list need not be fetched for every event. Milliseconds.
const GATHER_MS: u64 = 200;

/// A conversation has gone on.
#[derive(Debug, Serialize, JsonSchema)]
struct Change {
    id: ExecutionId,
    /// Its last event.
    seq: Seq,
    status: Status,
    /// Those that wait for a person.
    open_holds: Vec<HoldId>,
    updated_at: At,
}

/// A stream of [`Change`]s.
#[derive(Debug)]
pub(super) struct Changes(Response);

impl IntoResponse for Changes {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Gives for Changes {
    fn describe(operation: &mut Operation<'_>) {
        // Named in the text: in the document, though no answer refers to it.
        operation.schema_of::<Change>();
        operation.events("What changes from now on.", &json!({ "enum": ["hello", "execution", "again"] }));
    }
}

pub(super) async fn changes(State(state): State<WebState>, caller: Caller) -> Changes {
    // Subscribed before the greeting, or a commit in between would go unnoticed.
    let reader = Reader { hints: state.store().hints(), closing: state.closing.clone() };
    let over = revoked(state.clone(), caller.clone(), None);
    let hello = stream::iter([Ok(Event::default().event("hello").data("{}"))]);
    let stream = hello.chain(follow(reader, state, caller)).take_until(over);
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(limits::KEEP_ALIVE_S));
    Changes(Sse::new(stream).keep_alive(keep_alive).into_response())
}

fn follow(reader: Reader, state: WebState, caller: Caller) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((reader, state, caller), |(mut reader, state, caller)| async move {
        let events = match reader.next().await? {
            Gathered::Missed => vec![Event::default().event("again").data("{}")],
            Gathered::Changed(ids) => {
                let mut events = Vec::new();
                for id in ids {
                    match change(&state, &caller, id).await {
                        Ok(change) => {
                            events.push(Event::default().event("execution").data(json!(change).to_string()))
                        }
                        // Another's, or deleted meanwhile.
                        Err(problem) if !problem.status.is_server_error() => {}
                        // It is not known what there was: the list says.
                        Err(_) => events.push(Event::default().event("again").data("{}")),
                    }
                }
                events
            }
        };
        Some((events, (reader, state, caller)))
    })
    .flat_map(|events| stream::iter(events.into_iter().map(Ok)))
}

async fn change(state: &WebState, caller: &Caller, id: ExecutionId) -> Result<Change, Problem> {
    let execution = execution(state, caller, &id.to_string(), Act::See).await?;
    Ok(Change {
        id,
        seq: execution.seq,
        status: execution.status,
        open_holds: execution.open_holds().map(|hold| hold.id).collect(),
        updated_at: At(execution.updated_at),
    })
}

/// What has changed, a little at a time.
struct Reader {
    hints: Receiver<Hint>,
    closing: CancellationToken,
}

enum Gathered {
    Changed(BTreeSet<ExecutionId>),
    Missed,
}

impl Reader {
    /// The next changes; None when there will be no more.
    async fn next(&mut self) -> Option<Gathered> {
        let mut changed = BTreeSet::new();
        tokio::select! {
            () = self.closing.cancelled() => return None,
            hint = self.hints.recv() => match hint {
                Ok(hint) => { changed.insert(hint.execution); }
                Err(RecvError::Lagged(_)) => return Some(self.missed()),
                Err(RecvError::Closed) => return None,
            },
        }
        // Not woken by each: a thousand may come in that time.
        tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
        loop {
            match self.hints.try_recv() {
                Ok(hint) => {
                    changed.insert(hint.execution);
                }
                Err(TryRecvError::Lagged(_)) => return Some(self.missed()),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return Some(Gathered::Changed(changed)),
            }
        }
    }

    fn missed(&mut self) -> Gathered {
        self.hints = self.hints.resubscribe();
        Gathered::Missed
    }
}
