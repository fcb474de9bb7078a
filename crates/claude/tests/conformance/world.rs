//! What a test of the real CLI needs: folders of its own, a scripted model, a session, and proof that nothing
//! is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdpoint_claude::{
    Claude, Event, Events, Handle, Options, PermissionAsk, SessionChoice, SpawnError, TurnResult,
    UserMessage, WithRaw, kill_by_env_marker, transcript,
};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::model::Model;

/// How many CLIs run at once: each takes half a second of a core to start and 165 MB.
static CLIS: Semaphore = Semaphore::const_new(4);

/// How long anything may take. Generous: a loaded machine must not fail a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// The variable that marks every process of one test.
const WORLD: &str = "CLAUDE_TEST_WORLD";

pub(crate) fn cli() -> PathBuf {
    let cli = std::env::var_os("HOLDPOINT_TEST_CLAUDE").map_or_else(
        || {
            let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
            root.join("target/test-tools/claude-2.1.330/claude")
        },
        PathBuf::from,
    );
    assert!(cli.is_file(), "no Claude CLI at {}: run `cargo xtask test`, which installs it", cli.display());
    cli
}

pub(crate) struct World {
    pub(crate) model: Model,
    name: String,
    dir: TempDir,
    _permit: SemaphorePermit<'static>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let permit = CLIS.acquire().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["work", "home", "config"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { model: Model::start().await, name: Uuid::new_v4().to_string(), dir, _permit: permit }
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    pub(crate) fn made(&self, file: &str) -> bool {
        self.work().join(file).exists()
    }

    pub(crate) fn transcript(&self, session: Uuid) -> transcript::Transcript {
        let found = transcript::find(&self.config(), session);
        found.and_then(|found| found.read().ok()).unwrap_or_default()
    }

    pub(crate) fn options(&self, session: SessionChoice) -> Options {
        Options::new(cli(), self.work(), self.config(), session)
            .env("HOME", self.dir.path().join("home"))
            .env("TMPDIR", self.dir.path())
            .env("ANTHROPIC_BASE_URL", &self.model.url)
            .env("ANTHROPIC_API_KEY", "test")
            .env(WORLD, &self.name)
    }

    pub(crate) async fn session(&self) -> Live {
        self.session_with(|options| options).await
    }

    pub(crate) async fn session_with(&self, change: impl FnOnce(Options) -> Options) -> Live {
        self.spawn(change(self.options(SessionChoice::new()))).await.unwrap()
    }

    pub(crate) async fn spawn(&self, options: Options) -> Result<Live, SpawnError> {
        let (handle, events) = Claude::spawn(options).await?;
        Ok(Live { handle, events, seen: Vec::new() })
    }
}

impl Drop for World {
    /// Nothing of a test may outlive its sessions.
    fn drop(&mut self) {
        let left = kill_by_env_marker(WORLD, &self.name);
        if !std::thread::panicking() {
            assert_eq!(left.killed, Vec::<u32>::new(), "processes were left behind");
        }
    }
}

/// A running session with everything it said so far.
pub(crate) struct Live {
    pub(crate) handle: Handle,
    pub(crate) events: Events,
    pub(crate) seen: Vec<Event>,
}

impl Live {
    pub(crate) async fn say(&self, text: &str) -> Uuid {
        self.handle.send(UserMessage::text(text)).await.unwrap()
    }

    pub(crate) async fn next(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.events.next())
            .await
            .unwrap_or_else(|_| panic!("nothing came; seen: {:#?}", self.kinds()))
            .unwrap_or_else(|| panic!("the events ended; seen: {:#?}", self.kinds()));
        self.seen.push(event.clone());
        event
    }

    /// Reads on until `wanted` finds what it wants.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.next().await) {
                return found;
            }
        }
    }

    pub(crate) async fn ask(&mut self) -> Arc<WithRaw<PermissionAsk>> {
        self.until(|event| match event {
            Event::Ask(ask) => Some(Arc::new((**ask).clone())),
            _ => None,
        })
        .await
    }

    pub(crate) async fn result(&mut self) -> WithRaw<TurnResult> {
        self.until(|event| match event {
            Event::Result(turn) => Some((**turn).clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn exit(&mut self) -> holdpoint_claude::Exit {
        self.until(|event| match event {
            Event::Exited(exit) => Some(exit.clone()),
            _ => None,
        })
        .await
    }

    /// What the session said, a word an event, for messages about failed tests.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let kind = |event: &Event| format!("{event:?}").chars().take(300).collect();
        self.seen.iter().map(kind).collect()
    }

    pub(crate) fn asks(&self) -> usize {
        self.seen.iter().filter(|event| matches!(event, Event::Ask(_))).count()
    }

    /// Ends it in good order; nobody is in a hurry.
    pub(crate) async fn close(self) -> holdpoint_claude::CloseReport {
        let Self { handle, events, .. } = self;
        // Nobody reads any more; the driver must not mind.
        drop(events);
        handle.close(holdpoint_claude::Close::interrupting(PATIENCE)).await
    }
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !so() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process with exactly this command line runs.
pub(crate) fn running(command: &str) -> bool {
    let wanted: Vec<_> = command.bytes().map(|byte| if byte == b' ' { 0 } else { byte }).chain([0]).collect();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.map(|entry| entry.path().join("cmdline"))
        .any(|path| std::fs::read(path).is_ok_and(|line| line == wanted))
}
