//! The reconciler: looks at one execution at a time and does what is needed next. It takes no
//! input, re-reads the state, and is safe to repeat; start-up, recovery and steady state are one
//! code path. It is woken by commits, by connections, by exits of workers, and by a timer.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use holdpoint_engine::WorkerId;
use holdpoint_model::{
    Actor, Command, Completion, Execution, ExecutionId, HumanDuration, Refusal, Residency, UnixMs,
    command::Gone,
    event::Problem,
    execution::{Need, start_pause_ms},
    wire::{Down, LEASE_MS},
};
use holdpoint_store::ApplyError;
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::{
    Control, Inner,
    launch::LaunchError,
    links::{release_frame, send_frame},
    lock,
    recover::LeftBehind,
};

/// How often everything that needs attention is looked at, whatever was or was not hinted.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// How long a worker has to end by itself before it is ended.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// The first pause before a lost worker is replaced; doubled with each further loss in a row.
const RETRY_BASE_MS: i64 = 250;

/// Holds looked at for their expiry in one sweep.
const DUE_AT_ONCE: u32 = 256;

/// An interrupt that shows no effect for so long is sent again.
const INTERRUPT_AGAIN_MS: i64 = 3_000;

/// How long an agent that says itself when it is done waits for a background task that gives no sign.
const BACKGROUND_PATIENCE_MS: i64 = 30 * 60 * 1000;

/// The CLI writes its transcript a moment after it has said something. A session is parked only when what
/// it waits for is on disk, looked for so often, but not longer than so long after its last sign of life.
const FLUSH_LOOK_EVERY: Duration = Duration::from_millis(50);
const FLUSH_PATIENCE_MS: i64 = 5_000;

/// When others wait for a place, an execution that waits for people keeps its worker only so long.
const MIN_LINGER_MS: i64 = 2_000;

/// Executions to look at, each at most once at a time.
#[derive(Debug, Default)]
pub(crate) struct Work {
    marked: Mutex<HashSet<ExecutionId>>,
    busy: Mutex<HashSet<ExecutionId>>,
    wake: Notify,
    /// When an interrupt was last sent.
    interrupts: Mutex<HashMap<ExecutionId, UnixMs>>,
    /// Executions that wait for a moment before a lost worker is replaced.
    not_before: Mutex<HashMap<ExecutionId, UnixMs>>,
}

impl Work {
    pub(crate) fn mark(&self, id: ExecutionId) {
        lock(&self.marked).insert(id);
        self.wake.notify_one();
    }

    /// Those that may be looked at now; the rest stay marked.
    fn take(&self) -> Vec<ExecutionId> {
        let mut marked = lock(&self.marked);
        let mut busy = lock(&self.busy);
        let ready: Vec<ExecutionId> = marked.iter().filter(|id| !busy.contains(id)).copied().collect();
        for id in &ready {
            marked.remove(id);
            busy.insert(*id);
        }
        ready
    }

    fn done(&self, id: ExecutionId) {
        lock(&self.busy).remove(&id);
        self.wake.notify_one();
    }
}

/// While it is there, nobody else looks at this execution. A look that panics gives it back as well, and the
/// sweep comes back to it.
struct Busy<'a> {
    work: &'a Work,
    id: ExecutionId,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.work.done(self.id);
    }
}

/// What becomes of the workers when the control plane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// They go on, and are adopted by the next control plane.
    LeaveWorkers,
    /// They are parked: no process stays behind, and the next control plane goes on where they were.
    EndWorkers,
}

impl Control {
    /// Runs the reconciler until [`Control::shutdown`].
    ///
    /// # Errors
    /// When the log cannot be read at the start.
    pub async fn run(&self) -> Result<(), holdpoint_store::StoreError> {
        let inner = &self.inner;
        let mut hints = inner.options.store.hints();
        let mut exits = inner.options.engine.exits();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        inner.sweep().await?;
        inner.tasks.spawn(Arc::clone(inner).delete_by_rule());
        inner.tasks.spawn(Arc::clone(inner).purge_deleted());
        inner.tasks.spawn(Arc::clone(inner).sweep_checkpoints());
        loop {
            for id in inner.work.take() {
                let inner = Arc::clone(inner);
                inner.tasks.clone().spawn(async move {
                    let _busy = Busy { work: &inner.work, id };
                    inner.reconcile(id).await;
                });
            }
            tokio::select! {
                () = inner.stopping.cancelled() => return Ok(()),
                () = inner.work.wake.notified() => {}
                hint = hints.recv() => match hint {
                    Ok(hint) => inner.work.mark(hint.execution),
                    // Only hints were lost: the sweep finds what they were about.
                    Err(_) => inner.sweep_or_warn().await,
                },
                exit = exits.recv() => if let Ok(id) = exit {
                    inner.work.mark(id.execution);
                },
                _ = sweep.tick() => inner.sweep_or_warn().await,
            }
        }
    }

    /// Stops reconciling and, if so chosen, ends the workers in a way that lets them go on later.
    pub async fn shutdown(&self, how: Shutdown) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        if how == Shutdown::LeaveWorkers {
            return;
        }
        let mut ends = tokio::task::JoinSet::new();
        for (id, _) in self.inner.places.holders() {
            let inner = Arc::clone(&self.inner);
            ends.spawn(async move {
                match inner.options.store.execution(id).await {
                    Ok(Some(state)) if state.residency.has_worker() => {
                        inner.end_worker(&state, Gone::Parked).await
                    }
                    _ => {}
                }
            });
        }
        while ends.join_next().await.is_some() {}
    }
}

impl Control {
    /// Ends every worker that the log knows, for a data folder whose control plane is not running.
    /// Returns how many have ended, and those of which something still runs.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn end_all_workers(&self) -> Result<(usize, Vec<WorkerId>), holdpoint_store::StoreError> {
        let store = &self.inner.options.store;
        let (mut ended, mut still_there) = (0, Vec::new());
        for id in store.needing_attention().await? {
            if let Some(state) = store.execution(id).await?.filter(|state| state.residency.has_worker()) {
                self.inner.end_worker(&state, Gone::Parked).await;
                // Looks again: only an engine that says so has nothing of it left.
                let worker = WorkerId { execution: id, incarnation: state.incarnation };
                match self.inner.options.engine.end(worker).await {
                    Ok(_) => ended += 1,
                    Err(_) => still_there.push(worker),
                }
            }
        }
        Ok((ended, still_there))
    }
}

/// A hole in a journal: what it does not say may have happened, so nothing can go on from it.
fn journal_damaged(state: &Execution, expected: u64, got: u64) -> Problem {
    Problem {
        code: "journal_damaged".into(),
        title: "the journal of a lost worker is damaged".into(),
        detail: format!(
            "Worker {} was lost, and its journal goes on with fact {got} where {expected} should be: what ran in between is unknown.",
            state.incarnation
        ),
        hint: "The transcript and the files are kept. Check the disk that holds the data folder, look at what the agent did, then start the conversation again.".into(),
    }
}

impl Inner {
    async fn sweep_or_warn(&self) {
        if let Err(error) = self.sweep().await {
            warn!(%error, "failed to look for executions that need attention");
        }
    }

    /// Marks everything that may need something, whether or not anybody hinted at it.
    async fn sweep(&self) -> Result<(), holdpoint_store::StoreError> {
        for id in self.options.store.needing_attention().await? {
            self.work.mark(id);
        }
        let now = self.now();
        if !self.clock.is_steady(now) {
            return Ok(());
        }
        for (execution, hold) in self.options.store.due_holds(now, DUE_AT_ONCE).await? {
            // Refused if it was answered in the meantime: answers and expiries compete in the log.
            match self.options.store.apply(execution, Command::Expire { hold }).await {
                Ok(_) | Err(ApplyError::Refused(_)) => {}
                Err(error) => warn!(%execution, %hold, %error, "failed to expire a hold"),
            }
        }
        Ok(())
    }

    async fn reconcile(self: &Arc<Self>, id: ExecutionId) {
        match self.pass(id).await {
            Ok(()) | Err(ApplyError::UnknownExecution | ApplyError::Refused(_)) => {}
            Err(ApplyError::Store(error)) => {
                // The sweep comes back to it; doing it again does no harm.
                warn!(execution = %id, %error, "failed to reconcile");
            }
        }
    }

    /// One look at one execution.
    async fn pass(self: &Arc<Self>, id: ExecutionId) -> Result<(), ApplyError> {
        let Some(state) = self.options.store.execution(id).await.map_err(ApplyError::Store)? else {
            return Ok(());
        };
        if state.residency.has_worker() {
            self.places.hold(id, state.incarnation);
            if !self.still_there(&state).await? {
                return Ok(());
            }
        } else if !state.next().iter().any(|need| matches!(need, Need::StartWorker(_))) {
            self.give_place_back(id);
        }
        if let Some(error) = self.over_a_limit(&state) {
            self.apply(&state, Command::Fail { error }).await?;
            return Ok(());
        }
        if self.waits_in_vain(&state) {
            self.apply(&state, Command::Finish { by: Actor::system("agent") }).await?;
            return Ok(());
        }
        for need in state.next() {
            self.meet(&state, need).await?;
        }
        if state.wants_checkpoint() {
            self.checkpoint_soon(&state);
        }
        if self.should_park(&state) {
            if !self.is_on_disk(&state).await && self.now() - state.updated_at < FLUSH_PATIENCE_MS {
                self.look_again(id, FLUSH_LOOK_EVERY);
                return Ok(());
            }
            info!(execution = %id, "parking: everything waits for people");
            self.end_worker(&state, Gone::Parked).await;
        }
        Ok(())
    }

    fn look_again(self: &Arc<Self>, id: ExecutionId, after: Duration) {
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = inner.stopping.cancelled() => {}
                () = tokio::time::sleep(after) => inner.look_at(id),
            }
        });
    }

    async fn meet(self: &Arc<Self>, state: &Execution, need: Need) -> Result<(), ApplyError> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        match need {
            Need::StartWorker(reason) => self.start_worker(state, reason).await,
            Need::StopWorker => {
                self.end_worker(state, Gone::Stopped).await;
                Ok(())
            }
            _ if !self.links.is_connected(id) => Ok(()),
            Need::Release(hold) => {
                let applied =
                    self.apply(state, Command::BeginRelease { hold, incarnation: id.incarnation }).await?;
                let Some(applied) = applied else { return Ok(()) };
                // The intent is committed. If the frame does not arrive, the worker asks for it
                // when it connects again; if the worker is gone, its journal says whether it had it.
                if let Some(frame) = applied.holds.get(&hold).and_then(release_frame) {
                    self.links.send(id, frame);
                }
                Ok(())
            }
            Need::Send(message) => {
                let applied =
                    self.apply(state, Command::BeginMessage { message, incarnation: id.incarnation }).await?;
                let Some(applied) = applied else { return Ok(()) };
                if let Some(pending) = applied.messages.iter().find(|pending| pending.message.id == message) {
                    self.links.send(id, send_frame(&pending.message));
                }
                Ok(())
            }
            Need::Interrupt => {
                let now = self.now();
                let mut interrupts = lock(&self.work.interrupts);
                if interrupts.get(&state.id).is_none_or(|at| now - at > INTERRUPT_AGAIN_MS) {
                    interrupts.insert(state.id, now);
                    self.links.send(id, Down::Interrupt);
                }
                Ok(())
            }
        }
    }

    /// Applies a command that the state asked for; None when the state has moved on.
    async fn apply(&self, state: &Execution, command: Command) -> Result<Option<Arc<Execution>>, ApplyError> {
        match self.options.store.apply(state.id, command).await {
            Ok(applied) => Ok(Some(applied.execution)),
            Err(ApplyError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn start_worker(self: &Arc<Self>, state: &Execution, reason: &str) -> Result<(), ApplyError> {
        if (state.losses_in_a_row > 0 || state.failed_starts > 0) && !self.may_retry(state) {
            return Ok(());
        }
        if !self.has_room(state).await || !self.places.take(state.id) {
            return Ok(());
        }
        let engine = self.options.engine.name().to_owned();
        let Some(started) =
            self.apply(state, Command::StartWorker { engine, reason: reason.to_owned() }).await?
        else {
            return Ok(());
        };
        self.places.hold(state.id, started.incarnation);
        match self.launch(&started).await {
            Ok(()) => Ok(()),
            Err(LaunchError::Store(error)) => Err(ApplyError::Store(error)),
            Err(
                problem @ (LaunchError::Prepare { .. } | LaunchError::Restore(_) | LaunchError::Engine(_)),
            ) => {
                error!(execution = %state.id, %problem, "failed to start a worker");
                let how = match problem.problem() {
                    Some(problem) => Gone::NotStarted { problem },
                    None => Gone::Lost { reason: problem.to_string() },
                };
                self.worker_gone(&started, how).await
            }
        }
    }

    /// Waits a little longer after each loss; true once the wait is over.
    fn may_retry(self: &Arc<Self>, state: &Execution) -> bool {
        let now = self.now();
        // Whoever has seen to what kept a session from being started may have started us anew for that.
        if state.failed_starts > 0 && state.updated_at < self.started_at {
            return true;
        }
        let mut not_before = lock(&self.work.not_before);
        let pause = match state.failed_starts {
            0 => RETRY_BASE_MS << state.losses_in_a_row.min(6),
            failed => start_pause_ms(failed),
        };
        let at = *not_before.entry(state.id).or_insert(state.updated_at + pause);
        // A clock that jumped must not make it wait for hours.
        if now >= at || at - now > pause {
            not_before.remove(&state.id);
            return true;
        }
        self.look_again(state.id, Duration::from_millis(u64::try_from(at - now).unwrap_or(0)));
        false
    }

    /// Whether the worker that the state knows still lives; takes its loss down if it does not.
    async fn still_there(&self, state: &Execution) -> Result<bool, ApplyError> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        if self.links.is_connected(id) {
            return Ok(true);
        }
        match self.options.engine.alive(&[id]).await {
            Ok(alive) if alive.contains(&id) => {
                let silent_ms = self.now() - state.updated_at;
                let patience_ms = i64::try_from(LEASE_MS).unwrap_or(i64::MAX);
                // Alive and not connected: it is starting, or on its way back to us. Its lease
                // ends it before our patience does; this is for one that hangs.
                if silent_ms <= patience_ms || self.recently_started() {
                    return Ok(true);
                }
                warn!(worker = %id, "a worker lives but has not connected for a whole lease");
                self.lose(state, "the worker did not connect for the whole of its lease").await?;
                Ok(false)
            }
            Ok(_) => {
                self.lose(state, "the worker process is gone").await?;
                Ok(false)
            }
            Err(error) => {
                warn!(worker = %id, %error, "failed to see whether a worker lives");
                Ok(true)
            }
        }
    }

    /// Until workers have had the time to come back, silence proves nothing.
    fn recently_started(&self) -> bool {
        self.now() - self.started_at < i64::try_from(LEASE_MS).unwrap_or(i64::MAX)
    }

    async fn lose(&self, state: &Execution, reason: &str) -> Result<(), ApplyError> {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        // Whatever it left running must end before a successor starts: one incarnation acts.
        let reason = match self.options.engine.end(id).await {
            Ok(Some(how)) => format!("{reason}: {how}"),
            Ok(None) => reason.to_owned(),
            Err(error) => {
                error!(worker = %id, %error, "failed to end what a lost worker left behind; trying again");
                return Ok(());
            }
        };
        let how = match self.never_up(state).await {
            _ if state.status.is_final() => Gone::Stopped,
            Some(problem) => Gone::NotStarted { problem },
            None => Gone::Lost { reason },
        };
        self.worker_gone(state, how).await
    }

    /// Ends a worker: asks it, waits a moment, then makes sure.
    pub(crate) async fn end_worker(&self, state: &Execution, how: Gone) {
        let id = WorkerId { execution: state.id, incarnation: state.incarnation };
        let asked = self.links.send(id, Down::Stop { park: how == Gone::Parked });
        if asked {
            let deadline = tokio::time::Instant::now() + STOP_GRACE;
            while tokio::time::Instant::now() < deadline && self.links.is_connected(id) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if let Err(error) = self.options.engine.end(id).await {
            error!(worker = %id, %error, "failed to end a worker; trying again");
            return;
        }
        if let Err(error) = self.worker_gone(state, how).await {
            warn!(worker = %id, %error, "failed to note that a worker has ended; trying again");
        }
    }

    /// Notes in the log that a worker is gone, after what it left has been brought in.
    async fn worker_gone(&self, state: &Execution, how: Gone) -> Result<(), ApplyError> {
        match self.take_over_remains(state).await {
            Ok(()) => {}
            // Somebody else has noted the loss meanwhile.
            Err(LeftBehind::Apply(ApplyError::Refused(Refusal::Stale(_) | Refusal::Fenced { .. }))) => {}
            Err(LeftBehind::Apply(ApplyError::Refused(Refusal::Gap { expected, got }))) => {
                self.apply(state, Command::Fail { error: journal_damaged(state, expected, got) }).await?;
            }
            Err(LeftBehind::Apply(error)) => return Err(error),
            Err(error @ LeftBehind::Unreadable(_)) => {
                // Concluding anything now could run a tool twice: the next pass tries again.
                error!(execution = %state.id, %error, "a worker that is gone cannot be settled yet");
                return Ok(());
            }
        }
        if let Gone::Lost { reason } | Gone::NotStarted { problem: Problem { title: reason, .. } } = &how {
            warn!(execution = %state.id, incarnation = state.incarnation, %reason, "worker lost");
        }
        let command = Command::WorkerGone { incarnation: state.incarnation, how };
        self.apply(state, command).await?;
        self.links.forget_trouble(WorkerId { execution: state.id, incarnation: state.incarnation });
        self.give_place_back(state.id);
        Ok(())
    }

    fn give_place_back(&self, id: ExecutionId) {
        lock(&self.work.interrupts).remove(&id);
        for next in self.places.release(id) {
            self.work.mark(next);
        }
    }

    /// The limit on time that an execution has passed. One that waits for people is looked at
    /// again when its hold expires, which is never later than the end of its wall-clock time.
    fn over_a_limit(&self, state: &Execution) -> Option<Problem> {
        if state.status.is_final() || !self.clock.is_steady(self.now()) {
            return None;
        }
        let passed = |since: UnixMs, limit: Option<HumanDuration>| {
            limit.filter(|limit| i64::try_from(limit.0).is_ok_and(|limit| self.now() - since >= limit))
        };
        let limits = &state.definition.limits;
        let working =
            state.residency == Residency::Warm && state.turn.is_some() && state.open_holds().next().is_none();
        let problem = |code: &str, title: String| {
            Problem {
            code: code.into(),
            title,
            detail: String::new(),
            hint: "The transcript and the files are kept. Raise the agent's limit in `holdpoint.toml` if it is too tight.".into(),
        }
        };
        if let Some(limit) = passed(state.created_at, limits.wall_clock) {
            return Some(problem(
                "wall_clock_limit",
                format!("the conversation took longer than its limit of {limit}"),
            ));
        }
        let limit = passed(state.updated_at, limits.idle.filter(|_| working))?;
        Some(problem(
            "idle_limit",
            format!("the session gave no sign of life for {limit} while it was working"),
        ))
    }

    /// An agent that is done, but for tasks in the background that do not come to an end: a server that it
    /// started, say.
    fn waits_in_vain(&self, state: &Execution) -> bool {
        state.idle
            && state.background > 0
            && state.turn.is_none()
            && state.messages.is_empty()
            && !state.status.is_final()
            && state.definition.completion == Completion::Auto
            && self.now() - state.updated_at >= BACKGROUND_PATIENCE_MS
    }

    fn should_park(&self, state: &Execution) -> bool {
        if state.residency != Residency::Warm || !state.is_waiting() {
            return false;
        }
        let linger = i64::try_from(state.definition.linger_ms()).unwrap_or(i64::MAX);
        let linger = if state.is_moving { 0 } else { linger };
        let linger = if self.places.somebody_waits() { linger.min(MIN_LINGER_MS) } else { linger };
        self.now() - state.updated_at >= linger
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_look_that_panics_is_followed_by_another() {
        let (work, id) = (Work::default(), ExecutionId(uuid::Uuid::from_u128(1)));
        work.mark(id);
        assert_eq!(work.take(), [id]);
        work.mark(id);
        assert_eq!(work.take(), [], "one at a time");
        let look = || {
            let _busy = Busy { work: &work, id };
            panic!("no room");
        };
        catch_unwind(AssertUnwindSafe(look)).expect_err("it panics");
        assert_eq!(work.take(), [id]);
    }
}
