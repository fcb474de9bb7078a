//! How fast pages and lists are over 100 000 executions and 5 million events: `cargo xtask bench`.
//!
//! The executions are written through the store, by the same commands and facts as those of workers and people, so
//! that every projection is what it would be; then the real server is asked. A first argument makes fewer of them.
//!
//! What was filled stays beside this program, as `scale-N.db` and `scale-N.json`, and every run measures a copy of it:
//! only the first, and the first after a step of the schema, has to write it all.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, stream};
use holdpoint_model::{
    Actor, AgentDef, CallId, Channel, Command, DecisionRequest, ExecutionId, HumanDuration, Incarnation,
    Limits, Role, Scopes, SessionId,
    command::Gone,
    event::{AssistantBlock, Block, Created, ModelCall, Problem, ToolResult, TurnResult},
    pricing::Tokens,
    wire::{Fact, NumberedFact},
};
use holdpoint_store::{Deed, Entry, NewToken, Store, StoreOptions, User, known_schema};
use holdpoint_tests::{Server, Setup, processes};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

const EXECUTIONS: usize = 100_000;
/// Events of one execution, and of the one whose page is looked at.
const EVENTS_EACH: usize = 50;
const EVENTS_OF_LONG: usize = 5_000;
const PEOPLE: usize = 50;
const AGENTS: usize = 10;
const AUDITED: usize = 10_000;
/// Executions written at once: what is asked of the writer meanwhile shares a commit.
const AT_ONCE: usize = 256;
/// Executions that the fill keeps at hand: all that are written at once.
const CACHED: usize = 4 * AT_ONCE;
/// Over how many days they are spread.
const DAYS: i64 = 90;
/// The longest time between two of them, in milliseconds: so that fewer than there should be are fewer days, and not
/// so far from each other that a hold of one expires while others are begun.
const LONGEST_STEP_MS: i64 = 5 * 60_000;
/// How long holds wait: none expires while it is looked at.
const HOLD_MS: u64 = 400 * 24 * 3_600_000;
/// How often each address is asked for.
const LOOKS: usize = 40;
/// Words that texts are made of; as in a language, few of them make most of a text.
const WORDS: usize = 20_000;
/// In every text, and in every thousandth.
const COMMON: &str = "quarterly";
const RARE: &str = "zephyrine";
const ASKERS_TOKEN: &str = "a-token-of-a-bench-that-nobody-else-has";
const ADMINS_TOKEN: &str = "another-token-of-a-bench-that-nobody-else-has";

#[tokio::main]
async fn main() -> Result<()> {
    let executions = match std::env::args().nth(1) {
        Some(number) => number.parse().context("the number of executions")?,
        None => EXECUTIONS,
    };
    let agents: String =
        (0..AGENTS).map(|n| format!("[agents.agent-{n}]\ntitle = \"Agent {n}\"\n")).collect();
    let filled = filled(executions).await?;
    let mut server =
        Server::start(Setup::script("scenes:\n  - turns:\n      - - text: hello\n").toml(&agents)).await?;
    server.run(&["down"])?;
    server.kill().ok();
    let database = server.data.join("holdpoint.db");
    put(&filled.database, &database, &server.data).await?;
    server.token = ADMINS_TOKEN.into();
    server.up().await?;
    measure(&mut server, executions, &filled.note.long).await?;
    let pid = server.pid().context("running")?;
    let Note { events, seconds, .. } = filled.note;
    println!();
    println!("| beside it | figure |\n| --- | --- |");
    println!(
        "| filled through the store: {executions} executions, {events} events | {seconds:.0} s, {:.0} events/s |",
        events as f64 / seconds
    );
    println!("| the data file | {:.0} MB |", fs::metadata(&database)?.len() as f64 / 1e6);
    println!("| memory (RSS) of the server after all that | {:.1} MB |", processes::rss_mib(pid)?);
    Ok(())
}

/// A data file that was filled, and what to know of it.
struct Filled {
    database: PathBuf,
    note: Note,
}

#[derive(Serialize, Deserialize)]
struct Note {
    schema: i64,
    events: u64,
    seconds: f64,
    /// The execution with a long log.
    long: ExecutionId,
}

/// The data file beside this program: from an earlier run, or filled now.
async fn filled(executions: usize) -> Result<Filled> {
    let folder = std::env::current_exe()?.parent().context("a folder")?.to_owned();
    let at = |ending: &str| folder.join(format!("scale-{executions}.{ending}"));
    let (database, notes) = (at("db"), at("json"));
    if let Ok(text) = fs::read_to_string(&notes)
        && let Ok(note) = serde_json::from_str::<Note>(&text)
        && note.schema == known_schema()
        && database.exists()
    {
        return Ok(Filled { database, note });
    }
    fs::remove_file(&notes).ok();
    for ending in ["db", "db-wal", "db-shm"] {
        fs::remove_file(at(ending)).ok();
    }
    let begun = Instant::now();
    let (events, long) = fill(&database, executions).await?;
    let note = Note { schema: known_schema(), events, seconds: begun.elapsed().as_secs_f64(), long };
    fs::write(&notes, serde_json::to_string(&note)?)?;
    Ok(Filled { database, note })
}

/// Puts a copy in the place of a server's own data file.
async fn put(filled: &Path, database: &Path, data: &Path) -> Result<()> {
    for beside in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(beside);
        fs::remove_file(name).ok();
    }
    // Where the file system can, without copying anything.
    let copied = std::process::Command::new("cp").arg("--reflink=auto").args([filled, database]).status()?;
    ensure!(copied.success(), "could not copy {}", filled.display());
    let store = Store::open(database, StoreOptions::default()).await?;
    let data = data.canonicalize()?;
    store.set_setting("data_path", data.to_str().context("a path that is text")?).await?;
    store.close().await;
    Ok(())
}

/// A clock that goes as fast as executions are made.
#[derive(Clone)]
struct Clock {
    now: Arc<AtomicI64>,
}

struct Filling {
    store: Store,
    clock: Clock,
    people: Vec<User>,
    words: Vec<String>,
    step_ms: i64,
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Writes executions; how many events there are, and the id of the one with a long log.
async fn fill(database: &Path, executions: usize) -> Result<(u64, ExecutionId)> {
    let step_ms = DAYS * 24 * 3_600_000 / i64::try_from(executions.max(1))?;
    let step_ms = step_ms.min(LONGEST_STEP_MS);
    let begin = now_ms() - step_ms * i64::try_from(executions)?;
    let clock = Clock { now: Arc::new(AtomicI64::new(begin)) };
    let ticking = clock.clone();
    let options = StoreOptions {
        clock: Arc::new(move || ticking.now.load(Ordering::Relaxed)),
        cached_executions: CACHED,
        ..StoreOptions::default()
    };
    let store = Store::open(database, options).await?;
    let mut people = Vec::new();
    for n in 0..PEOPLE {
        people.push(store.create_user(&format!("person {n}"), Role::Asker, None).await?);
    }
    let admin = store.create_user("an admin", Role::Admin, None).await?;
    for (user, token) in [(&people[0], ASKERS_TOKEN), (&admin, ADMINS_TOKEN)] {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let token =
            NewToken { user: user.id, name: "bench".into(), hash, scopes: Scopes::all(), expires_at: None };
        store.create_token(token, actor(user).into()).await?;
    }
    for n in 0..AUDITED {
        let entry = Entry::new(Deed::SignInFailed, format!("try {n}"));
        store.audit(actor(&people[n % PEOPLE]).into(), entry).await?;
    }
    fastrand::seed(7);
    let syllables = ["ka", "to", "mi", "ren", "sol", "ve", "dra", "pu", "lin", "os", "ter", "qua"];
    let words = (0..WORDS)
        .map(|_| (0..fastrand::usize(1..5)).map(|_| syllables[fastrand::usize(..syllables.len())]).collect())
        .collect();
    let filling = Arc::new(Filling { store: store.clone(), clock, people, words, step_ms });
    let bar = indicatif::ProgressBar::new(executions as u64);
    let mut work = stream::iter(0..executions)
        .map(|n| {
            let filling = Arc::clone(&filling);
            async move { tokio::spawn(async move { filling.one(n, EVENTS_EACH).await }).await? }
        })
        .buffer_unordered(AT_ONCE);
    let mut events = 0;
    while let Some(done) = work.next().await {
        events += done?.1;
        bar.inc(1);
    }
    drop(work);
    bar.finish_and_clear();
    let (long, of_long) = filling.one(1, EVENTS_OF_LONG).await?;
    store.close().await;
    Ok((events + of_long, long))
}

fn actor(user: &User) -> Actor {
    Actor { user: Some(user.id), name: user.name.clone(), channel: Channel::Api }
}

impl Filling {
    fn text(&self, words: usize) -> String {
        let word = || {
            // Squared twice: the first words are far more frequent than the last.
            let at = fastrand::f64().powi(4) * WORDS as f64;
            self.words[(at as usize).min(WORDS - 1)].as_str()
        };
        (0..words).map(|_| word()).collect::<Vec<_>>().join(" ")
    }

    fn said(&self) -> Fact {
        let text = self.text(40);
        Fact::Assistant(AssistantBlock {
            message_id: "msg".into(),
            block: Block::Text { text },
            parent_tool_use_id: None,
        })
    }

    /// One execution, from its beginning to wherever it stands now.
    async fn one(&self, n: usize, events: usize) -> Result<(ExecutionId, u64)> {
        self.clock.now.fetch_add(self.step_ms, Ordering::Relaxed);
        let (store, id) = (&self.store, ExecutionId(Uuid::now_v7()));
        let owner = actor(&self.people[n % PEOPLE]);
        let agent = format!("agent-{}", n / 7 % AGENTS);
        let rare = if n.is_multiple_of(1_000) { RARE } else { "" };
        let prompt = format!("{COMMON} {rare} {}", self.text(40));
        let created = Created {
            agent: agent.clone(),
            definition: AgentDef {
                title: agent,
                tags: vec!["bench".into()],
                limits: Limits { hold: Some(HumanDuration(HOLD_MS)), ..Limits::default() },
                ..AgentDef::builtin()
            },
            title: format!("{} {n}", self.text(6)),
            owner: owner.clone(),
            session: SessionId(Uuid::new_v4()),
            inputs: [("prompt".to_owned(), prompt.clone())].into(),
            rehearsal: false,
            forked_from: None,
            release: None,
        };
        let created = store.create(id, created, prompt, Vec::new(), None).await?;
        let holdpoint_store::CreateOutcome::New(state) = created else { anyhow::bail!("not new") };
        let message = state.messages[0].message.id;
        self.apply(
            id,
            Command::StartWorker { engine: "process".into(), reason: "a message has to be sent".into() },
        )
        .await?;
        self.tell(id, vec![Fact::SessionReady { cli_version: "2.1.330".into(), resumed: false }]).await?;
        self.apply(id, Command::BeginMessage { message, incarnation: 1 }).await?;
        // What else there is makes some twenty events.
        let said = events.saturating_sub(20) / 2;
        let asked = Fact::Asked {
            tool_use_id: "toolu_1".into(),
            tool: "Bash".into(),
            input: json!({"command": format!("make target-{n}")}),
            place: None,
            description: None,
            agent_id: None,
        };
        let first = [Fact::MessageDelivered { message }].into_iter().chain((0..said).map(|_| self.said()));
        self.tell(id, first.chain([asked]).collect()).await?;
        self.paid(id).await?;
        if n.is_multiple_of(20) {
            // Waits for an approval, for ever.
            let parked = Command::WorkerGone { incarnation: 1, how: Gone::Parked };
            return self.apply(id, parked).await;
        }
        let state = store.execution(id).await?.context("an execution")?;
        let hold = state.hold_of_call("toolu_1").context("a hold")?.id;
        let request = DecisionRequest { action: "allow".into(), ..DecisionRequest::default() };
        let by = actor(&self.people[n / 3 % PEOPLE]);
        self.apply(id, Command::Decide { hold, request, by: by.clone() }).await?;
        self.apply(id, Command::BeginRelease { hold, incarnation: 1 }).await?;
        let result = ToolResult {
            tool_use_id: "toolu_1".into(),
            is_error: false,
            content: self.text(60),
            truncated: false,
            patch: None,
            from_transcript: false,
        };
        let turn = TurnResult {
            ok: !n.is_multiple_of(50),
            reason: if n.is_multiple_of(50) { "api_error" } else { "completed" }.into(),
            text: self.text(60),
            structured: None,
            num_turns: 2,
            api_status: None,
            interrupted: false,
        };
        let first = [Fact::AnswerWritten { hold }, Fact::ToolResult(result)];
        let rest = (0..said).map(|_| self.said()).chain([Fact::TurnEnded(turn), Fact::Idle]);
        self.tell(id, first.into_iter().chain(rest).collect()).await?;
        self.paid(id).await?;
        let end = match n % 10 {
            0 => None,
            1 => Some(Command::Cancel { by }),
            2 => Some(Command::Fail { error: problem(n) }),
            _ => Some(Command::Finish { by }),
        };
        let how = if end.is_none() { Gone::Parked } else { Gone::Stopped };
        if let Some(end) = end {
            self.apply(id, end).await?;
        }
        self.apply(id, Command::WorkerGone { incarnation: 1, how }).await
    }

    async fn apply(&self, id: ExecutionId, command: Command) -> Result<(ExecutionId, u64)> {
        Ok((id, self.store.apply(id, command).await?.execution.seq))
    }

    /// The next facts of the first worker.
    async fn tell(&self, id: ExecutionId, facts: Vec<Fact>) -> Result<()> {
        const FIRST: Incarnation = 1;
        let next = self.store.execution(id).await?.context("an execution")?.worker_seq + 1;
        let facts = (next..).zip(facts).map(|(seq, fact)| NumberedFact { seq, at: 0, fact }).collect();
        self.store.append_facts(id, FIRST, facts).await?;
        Ok(())
    }

    async fn paid(&self, id: ExecutionId) -> Result<()> {
        let call = ModelCall {
            call: CallId(Uuid::now_v7()),
            model: "claude-opus-5-5".into(),
            status: 200,
            tokens: Tokens { input_tokens: 3_000, output_tokens: 500, ..Tokens::default() },
            cost_micros: fastrand::u64(1_000..90_000),
            replayed: false,
            incomplete: false,
            estimated: false,
        };
        self.apply(id, Command::ModelCall(call)).await.map(drop)
    }
}

fn problem(n: usize) -> Problem {
    let code = ["invalid_key", "cli_missing", "worker_crash_loop"][n % 3];
    Problem {
        code: code.into(),
        title: "it could not go on".into(),
        detail: String::new(),
        hint: String::new(),
    }
}

async fn measure(server: &mut Server, executions: usize, long: &ExecutionId) -> Result<()> {
    println!("| what, over {executions} executions | at the server, by HTTP | aim |\n| --- | --- | --- |");
    let day_ago = (now_ms() / 1000 - 86_400).to_string();
    let page = |path: &str| (format!("`{path}`"), path.to_owned());
    let pages = [
        page("/health"),
        page("/"),
        page("/inbox"),
        page("/executions"),
        page("/executions?status=error"),
        page("/executions?status=starting,running"),
        page("/executions?agent=agent-3&status=finished"),
        ("the hundredth page of it".into(), String::new()),
        (format!("a conversation of {EVENTS_OF_LONG} events"), format!("/executions/{long}")),
        ("an earlier part of it".into(), format!("/executions/{long}?at=1000")),
        page("/analytics?days=1"),
        page("/analytics?days=90"),
        page("/analytics/people.csv?days=90"),
        (format!("the log of {EVENTS_OF_LONG} events"), format!("/executions/{long}/events")),
        ("few of its kinds".into(), format!("/executions/{long}/events?kind=hold_opened")),
        ("a step of its replay".into(), format!("/executions/{long}/replay?at=4000")),
        page("/inbox/waiting"),
        page("/files"),
        page("/operations"),
        page("/account"),
        page("/people"),
        page("/people/audit"),
        page("/v1/executions?limit=200"),
        page("/v1/holds?status=open&limit=200"),
        page("/v1/holds?limit=200"),
        page("/v1/analytics?days=90"),
        page("/v1/agents"),
        page("/v1/workers"),
        page("/v1/retention"),
        page("/v1/deletions"),
        page("/v1/status"),
        page("/v1/users"),
        page("/v1/audit?limit=200"),
        ("its events, by 200".into(), format!("/v1/executions/{long}/events?after=2000")),
        page("/timeline/list?pp=50"),
        ("`/timeline/changes` of a day".into(), format!("/timeline/changes?since={day_ago}")),
        page("/timeline/changes?since=0"),
        page("/api/dashboard/running-agents"),
        page("/api/dashboard/running-agents?hours=2160"),
        page("/api/dashboard/errors?hours=2160"),
        page("/api/dashboard/timeline?hours=2160"),
        page("/api/dashboard/agent-stats?hours=2160"),
        page("/api/dashboard/agent-stats?hours=2160&agent_name=agent+3"),
        page("/api/dashboard/agent-stats?hours=2160&search=nowhere"),
    ];
    for (what, path) in pages {
        let path = if path.is_empty() { hundredth(server).await? } else { path };
        row(server, &what, &path, "< 50 ms").await?;
    }
    searches(server, "").await?;
    server.token = ASKERS_TOKEN.into();
    for path in
        ["/", "/executions", "/inbox", "/analytics?days=90", "/timeline/list", "/timeline/changes?since=0"]
    {
        row(server, &format!("`{path}`, for who sees their own"), path, "< 50 ms").await?;
    }
    searches(server, ", for who sees their own").await
}

async fn searches(server: &Server, who: &str) -> Result<()> {
    let searches = [
        ("a word that all have", COMMON.to_owned()),
        ("a word that a few have", RARE.to_owned()),
        ("a word that none has", "nonexistent".to_owned()),
        ("the first two letters of a word", "ka".to_owned()),
        ("the first four letters of a word", COMMON[..4].to_owned()),
        ("two words that most have", format!("{COMMON} ka")),
        ("a common and a rare word", format!("{COMMON} {RARE}")),
        ("words in quotes that do not stand so", "\"ka to mi ren\"".to_owned()),
        ("a common word in a field where it is not", format!("result:{COMMON}")),
        ("an author's", "author:\"person 3\"".to_owned()),
        ("a common word, status error", format!("{COMMON} status:error")),
        ("a common word, status running (none is)", format!("{COMMON} status:running")),
        ("a common word, an agent that has none", format!("{COMMON} agent:nobody")),
    ];
    for (what, words) in searches {
        let query: String = words.bytes().map(|byte| format!("%{byte:02X}")).collect();
        row(server, &format!("search: {what}{who}"), &format!("/executions?q={query}"), "< 100 ms").await?;
    }
    Ok(())
}

/// The address after a hundred pages.
async fn hundredth(server: &Server) -> Result<String> {
    let mut path = "/v1/executions?limit=50".to_owned();
    for _ in 0..100 {
        let (_, page) = server.get(&path).await?;
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/executions?limit=50&cursor={next}");
    }
    Ok(path)
}

async fn row(server: &Server, what: &str, path: &str, aim: &str) -> Result<()> {
    let mut times = Vec::with_capacity(LOOKS);
    for _ in 0..LOOKS {
        let begun = Instant::now();
        let (status, _) = server.get(path).await?;
        ensure!(status == 200, "{path}: {status}");
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    println!("| {what} | p50 {:.1} ms, p95 {:.1} ms, worst {:.1} ms | {aim} |", at(50), at(95), at(100));
    Ok(())
}
