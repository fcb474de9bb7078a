//! The loop: events of the session become facts; frames of the control plane become answers.

mod answers;
mod events;
mod telling;
mod written;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use anyhow::Context as _;
use futures::FutureExt as _;
use holdpoint_claude::{Close, Event, Events, Handle, RequestId};
use holdpoint_model::{
    Digest, HoldId, MessageId,
    event::{Level, Message},
    wire::{Fact, LEASE_MARGIN_MS, LEASE_MS, RENEW_EVERY_MS, Release, Up, WorkerSpec},
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};
use tracing::warn;
use uuid::Uuid;

use crate::{
    disk, facts,
    files::Collector,
    journal::Journal,
    link::{self, FromLink},
    notes::Notes,
    session,
    untold::Untold,
};

/// How long the session has for a polite end.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// How long the last facts may take to be committed before the worker ends anyway; they are in the
/// journal, where the control plane finds them.
const LAST_ACK_WITHIN: Duration = Duration::from_secs(10);

/// Events taken before what they led to is sent: one commit for a burst.
const EVENTS_AT_ONCE: usize = 64;

/// How long the session has to come up.
const START_WITHIN: Duration = Duration::from_secs(120);

/// How long an interrupted turn has to go on, once the session is up.
const RESUME_WITHIN: Duration = Duration::from_secs(60);

/// Sessions in a row that may be given up for another to do better.
const MOST_TRIES: u32 = 2;

/// After the last background task has ended the CLI begins a turn about it, if at all, within
/// milliseconds (seen with 2.1.330: 40).
const REST_AFTER: Duration = Duration::from_secs(1);

/// How the loop goes on after something happened.
enum Next {
    GoOn,
    /// End politely: the conversation is over.
    Close,
    /// End without a word to the session: it goes on later from here.
    Kill,
    /// The session is gone.
    Gone,
}

struct Supervisor {
    spec: WorkerSpec,
    journal: Journal,
    collector: Collector,
    notes: Notes,
    seq: u64,
    /// Facts that the control plane has not committed yet.
    untold: Untold,
    up: Option<mpsc::Sender<Up>>,
    welcome: bool,
    lease_ends: Instant,
    /// What the session asks now, by tool call.
    asks: HashMap<String, Ask>,
    releases: HashSet<HoldId>,
    /// Releases that wait for an earlier tool's result to be committed.
    deferred: VecDeque<Release>,
    messages: HashSet<MessageId>,
    delivered: HashSet<MessageId>,
    in_transcript: HashSet<MessageId>,
    /// Blocks of the open turn that are in the log already; they come again when a turn goes on.
    known_blocks: Vec<Digest>,
    /// Tasks that run in the background.
    background: usize,
    /// The last thing that the session itself said in this turn, by its id.
    answer: Option<Uuid>,
    is_up: bool,
    rest: Rest,
    /// When to give up waiting for the session, or for its turn to go on.
    patience_ends: Option<Instant>,
}

/// What is known of whether the session has anything to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It has not said anything about it.
    Unsaid,
    /// It has something to do.
    Busy,
    /// It has nothing to do.
    Idle,
    /// It had nothing to do but wait for a background task, which has ended: unless a turn begins by
    /// then, nothing follows.
    Until(Instant),
}

struct Ask {
    request: RequestId,
    digest: Digest,
}

/// Runs the session until it ends.
pub(crate) async fn supervise(spec: WorkerSpec) -> anyhow::Result<()> {
    let journal = Journal::begin(&spec.run_dir).context("failed to begin the journal")?;
    let mut link = link::keep_connected(spec.control_url.clone(), spec.worker_token.clone());
    let mut supervisor = Supervisor {
        journal,
        collector: Collector::new(spec.workspace.clone(), spec.exclude.clone()),
        notes: Notes::of(&spec),
        seq: 0,
        untold: Untold::default(),
        up: None,
        welcome: false,
        lease_ends: Instant::now() + Duration::from_millis(LEASE_MS),
        asks: HashMap::new(),
        releases: HashSet::new(),
        deferred: VecDeque::new(),
        messages: HashSet::new(),
        delivered: HashSet::new(),
        in_transcript: HashSet::new(),
        known_blocks: spec.known_blocks.clone(),
        background: 0,
        answer: None,
        is_up: false,
        rest: Rest::Unsaid,
        patience_ends: Some(Instant::now() + START_WITHIN),
        spec,
    };
    match session::start(&supervisor.spec).await {
        Ok(started) => supervisor.run(started, &mut link).await,
        Err(error) => {
            warn!(%error, "the session did not start");
            let fact = match session::hopeless(&error) {
                Some(error) => Fact::Fatal { error },
                None => Fact::Notice {
                    level: Level::Warning,
                    text: format!("The session did not start: failed to {error}."),
                },
            };
            supervisor.tell(fact)?;
            supervisor.settle(&mut link).await;
            Err(error.into())
        }
    }
}

impl Supervisor {
    async fn run(
        &mut self,
        started: session::Started,
        link: &mut mpsc::Receiver<FromLink>,
    ) -> anyhow::Result<()> {
        let session::Started { handle, mut events, resumed, goes_on, in_transcript, lost_messages } = started;
        self.in_transcript = in_transcript;
        let mut renew = tokio::time::interval(Duration::from_millis(RENEW_EVERY_MS));
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lost_messages = Some(lost_messages);
        let spec = self.spec.clone();
        let mut over_disk = std::pin::pin!(disk::over(&spec));
        let next = loop {
            let lease_margin = self.lease_ends - Duration::from_millis(LEASE_MARGIN_MS);
            let (patience_ends, rests_at) = (self.patience_ends, self.rests_at());
            let next = tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        let is_up = matches!(event, Event::Initialized(_));
                        let next = self.burst(event, &mut events, &handle, resumed).await?;
                        if let Some(lost) = lost_messages.take_if(|_| is_up) {
                            self.begin(goes_on, lost, &handle).await?;
                        }
                        next
                    }
                    None => Next::Gone,
                },
                frame = link.recv() => match frame {
                    Some(frame) => self.on_link(frame, &handle).await?,
                    None => Next::Kill,
                },
                _ = renew.tick() => {
                    self.send(Up::Renew);
                    self.tell_notes()?;
                    Next::GoOn
                }
                () = tokio::time::sleep_until(lease_margin) => {
                    warn!("the lease is nearly over and the control plane does not answer: ending");
                    Next::Kill
                }
                () = sleep_until(rests_at) => {
                    self.rest = Rest::Idle;
                    self.tell(Fact::Idle)?;
                    Next::GoOn
                }
                () = sleep_until(patience_ends) => self.out_of_patience()?,
                problem = &mut over_disk => {
                    warn!("the conversation has too many files: ending");
                    self.tell(Fact::Fatal { error: problem })?;
                    Next::Kill
                }
            };
            self.flush();
            if !matches!(next, Next::GoOn) {
                break next;
            }
        };
        self.tell_notes()?;
        match next {
            Next::Close => {
                handle.close(Close::interrupting(CLOSE_WITHIN)).await;
            }
            _ => {
                handle.kill().await;
            }
        }
        self.settle(link).await;
        if matches!(next, Next::Gone) {
            anyhow::bail!("the session ended without having been told to");
        }
        Ok(())
    }

    /// The session is up: what an interrupted turn needs to go on, if there is one.
    async fn begin(&mut self, goes_on: bool, lost: Vec<Message>, handle: &Handle) -> anyhow::Result<()> {
        self.patience_ends = (goes_on && self.rest == Rest::Unsaid).then(|| Instant::now() + RESUME_WITHIN);
        if !goes_on && lost.is_empty() {
            // It was started for a message or a decision that is still to come.
            self.tell(Fact::Idle)?;
        }
        for message in lost {
            self.messages.insert(message.id);
            self.delivered.insert(message.id);
            handle.send(session::user_message(&message)).await?;
        }
        Ok(())
    }

    /// What was waited for has not come.
    fn out_of_patience(&mut self) -> anyhow::Result<Next> {
        self.patience_ends = None;
        if !self.is_up {
            let text = format!(
                "The Claude CLI did not come up within {} s; it is ended and started again.",
                START_WITHIN.as_secs()
            );
            self.tell(Fact::Notice { level: Level::Warning, text })?;
            return Ok(Next::Gone);
        }
        if self.another_may_do_better() {
            let text = format!(
                "The interrupted turn did not go on within {} s; the session is ended and started again.",
                RESUME_WITHIN.as_secs()
            );
            self.tell(Fact::Notice { level: Level::Warning, text })?;
            return Ok(Next::Gone);
        }
        // Whatever the reason: a turn that never ends would keep everybody waiting.
        self.tell(Fact::TurnEnded(facts::not_resumed()))?;
        self.tell(Fact::Idle)?;
        Ok(Next::GoOn)
    }

    /// Whether it is worth the try to give this session up, so that another goes on from what is on disk and
    /// in the log: not for ever.
    fn another_may_do_better(&self) -> bool {
        self.spec.losses < MOST_TRIES
    }

    /// What the container's limits did, where there is one.
    fn tell_notes(&mut self) -> anyhow::Result<()> {
        for note in self.notes.news()? {
            self.tell(Fact::Notice { level: Level::Warning, text: note.told(&self.spec.container) })?;
        }
        Ok(())
    }

    fn rests_at(&self) -> Option<Instant> {
        match self.rest {
            Rest::Until(at) => Some(at),
            _ => None,
        }
    }

    /// Handles an event and those that are there already, so that a burst is told at once.
    async fn burst(
        &mut self,
        first: Event,
        events: &mut Events,
        handle: &Handle,
        resumed: bool,
    ) -> anyhow::Result<Next> {
        let mut event = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            let Some(present) = event.take() else { break };
            let next = self.on_event(present, handle, resumed).await?;
            if !matches!(next, Next::GoOn) {
                return Ok(next);
            }
            event = events.next().now_or_never().flatten();
        }
        match event {
            // The queue was longer than one burst: what was taken out must not be lost.
            Some(last) => self.on_event(last, handle, resumed).await,
            None => Ok(Next::GoOn),
        }
    }
}

/// Waits until then; for ever without a moment.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
