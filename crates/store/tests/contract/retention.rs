//! What has been kept for long enough goes with everything that is known of it, and nothing else does.

use futures::FutureExt as _;
use holdpoint_model::{
    Actor, AgentDef, Command, Digest, ExecutionId, HumanDuration, Keep, KeepRules, KeepSource, Refusal, Role,
    Share, command::Gone,
};
use holdpoint_store::{
    ApplyError, CreateOutcome, Deletable, Deleting, Deletion, Idempotency, Place, Store, StoreError,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqliteConnection};

use crate::picture::{Picture, assert_rebuild_is_live};
use crate::random::{completed_call, new_call};
use crate::support::*;

const DAY_MS: i64 = 24 * 3600 * 1000;

fn days(days: u64) -> Keep {
    Keep::For(HumanDuration(days * 24 * 3600 * 1000))
}

fn deleting() -> Deleting {
    Deleting { by: Actor::system("retention"), why: "keep = \"90d\"".into(), files_bytes: 12 }
}

async fn delete(store: &Store, id: ExecutionId) -> Result<Deletion, ApplyError> {
    store.delete_execution(id, deleting()).await
}

/// An execution with something of it in every table, over, and its worker gone.
async fn full(store: &Store, title: &str) -> ExecutionId {
    let id = ExecutionId(fresh());
    let idempotency = Idempotency {
        user: person("ada").user.expect("a user"),
        key: title.into(),
        request: Digest::of_bytes(title.as_bytes()),
    };
    let outcome = store.create(id, created(title, "ada"), title.into(), vec![], Some(idempotency)).await;
    assert!(matches!(outcome, Ok(CreateOutcome::New(_))));
    start_worker(store, id).await;
    tell_next(store, id, vec![ready(), says("what only this one says"), asks("a"), asks("b")]).await;
    decide(store, id, hold_of(store, id, "a").await, "grace").await;
    drop(refusal(store.append_facts(id, 7, numbered(1, vec![says("beside the log")])).await));
    let call = store.begin_call(new_call(id, 1)).await.expect("begin");
    store.complete_call(call, completed_call(9)).await.expect("complete");
    store.mark_delivered(call, 1).await.expect("delivered");
    store.spread_notices(&["hook".into()], true, 100).await.expect("spread");
    let lin = store.create_user(&format!("lin of {title}"), Role::Asker, None).await.expect("user");
    store.set_share(id, lin.id, Share::Look, person("ada").into()).await.expect("share");
    end(store, id).await;
    id
}

async fn end(store: &Store, id: ExecutionId) {
    store.apply(id, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let now = known(store, id).await;
    if now.residency.has_worker() {
        let gone = Command::WorkerGone { incarnation: now.incarnation, how: Gone::Stopped };
        store.apply(id, gone).await.expect("gone");
    }
}

async fn connect(bench: &Bench) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(bench.path()).read_only(true);
    SqliteConnection::connect_with(&options).await.expect("connect")
}

async fn names(conn: &mut SqliteConnection, query: String) -> Vec<String> {
    let rows = conn.fetch_all(AssertSqlSafe(query)).await.expect("names");
    rows.iter().map(|row| row.get(0)).collect()
}

/// In which tables there is how much, and how many of these rows name the execution anywhere, as bytes or
/// as text, or hang on a row that does.
async fn rows(bench: &Bench, id: ExecutionId) -> Vec<(String, i64, i64)> {
    let mut conn = connect(bench).await;
    let mut found = Vec::new();
    for table in
        names(&mut conn, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name".into()).await
    {
        // Pages of the search index are no rows, and figures name nobody's conversation: other tests look there.
        if table.starts_with('_') || table.starts_with("search") || table.starts_with("figures") {
            continue;
        }
        let columns = names(&mut conn, format!("SELECT name FROM pragma_table_info('{table}')")).await;
        let mut names_it: Vec<String> = columns
            .iter()
            .map(|column| format!("{column} = ?1 OR (typeof({column}) = 'text' AND instr({column}, ?2) > 0)"))
            .collect();
        match table.as_str() {
            "call_deliveries" => {
                names_it.push("call IN (SELECT id FROM model_calls WHERE execution = ?1)".into())
            }
            "deliveries" => names_it.push("notice IN (SELECT id FROM notices WHERE execution = ?1)".into()),
            _ => {}
        }
        let query =
            format!("SELECT count(*), count(*) FILTER (WHERE {}) FROM {table}", names_it.join(" OR "));
        let row = sqlx::query(AssertSqlSafe(query))
            .bind(id.0)
            .bind(id.to_string())
            .fetch_one(&mut conn)
            .await
            .expect("count");
        found.push((table, row.get(0), row.get(1)));
    }
    found
}

#[tokio::test]
async fn everything_of_one_goes_and_nothing_of_the_others() {
    let mut bench = Bench::new().await;
    let (one, other) = (full(&bench.store, "one").await, full(&bench.store, "other").await);
    let (other_before, others_log) = (known(&bench.store, other).await, log(&bench.store, other).await);
    let before = rows(&bench, one).await;
    let others_before = rows(&bench, other).await;
    let of_one: Vec<&str> = before.iter().filter(|row| row.2 > 0).map(|row| row.0.as_str()).collect();
    let tables = [
        "aggregates",
        "audit",
        "call_deliveries",
        "deliveries",
        "documents",
        "events",
        "executions",
        "holds",
        "idempotency",
        "model_calls",
        "notices",
        "shares",
        "side_log",
    ];
    assert_eq!(of_one, tables, "the test has something of it in every table that can know it");

    bench.clock.advance(5);
    let deletion = delete(&bench.store, one).await.expect("deleted");
    // That this is due is noted until it is done.
    bench.store.purge_search().await.expect("purged");
    let after = rows(&bench, one).await;
    for ((table, all, of_it), (_, all_after, of_it_after)) in before.iter().zip(&after) {
        if table == "deletions" {
            assert_eq!((*all_after, *of_it_after), (all + 1, 1), "what is left to be known");
        } else if table == "audit" {
            assert_eq!(
                (all_after, of_it_after),
                (all, of_it),
                "it says who was given what, and nothing of it"
            );
        } else {
            assert_eq!((*all_after, *of_it_after), (all - of_it, 0), "rows in {table}");
        }
    }
    for (before, after) in others_before.iter().zip(rows(&bench, other).await) {
        assert_eq!(before.2, after.2, "rows of the other in {}", before.0);
    }
    assert_eq!(bench.store.execution(one).await.expect("read"), None, "the cache has forgotten it");
    assert!(bench.store.events(one, 0, 10).await.expect("read").is_empty());
    assert_eq!(deletion.title, "one");
    assert_eq!((deletion.ended_at, deletion.deleted_at), (START, START + 5));
    let count = |table: &str| before.iter().find(|row| row.0 == table).expect("table").2.cast_unsigned();
    assert_eq!(
        (deletion.events, deletion.holds, deletion.model_calls, deletion.files_bytes),
        (count("events"), count("holds"), count("model_calls"), 12)
    );
    assert_eq!(bench.store.deletions(None, 10).await.expect("deletions"), [deletion]);
    unknown(delete(&bench.store, one).await);
    assert_eq!(known(&bench.store, other).await, other_before);
    assert_eq!(log(&bench.store, other).await, others_log);
    assert_rebuild_is_live(&mut bench).await;
}

fn unknown(outcome: Result<Deletion, ApplyError>) {
    assert!(matches!(outcome, Err(ApplyError::UnknownExecution)), "{outcome:?}");
}

/// What a person said is not left in a free page of the data file.
#[tokio::test]
async fn what_was_said_is_not_in_the_file_any_more() {
    let bench = Bench::new().await;
    let (one, _) = (full(&bench.store, "one").await, full(&bench.store, "other").await);
    let said = b"Ein Wort, das sonst nirgends steht";
    // Long enough for pages of its own as well.
    let text = format!("{} {}", String::from_utf8_lossy(said), "…".repeat(20_000));
    let id = start(&bench.store, "said").await;
    bench.store.apply(id, notice(&text)).await.expect("notice");
    end(&bench.store, id).await;
    let holds_it = |path: &std::path::Path| {
        let bytes = std::fs::read(path).expect("read");
        bytes.windows(said.len()).any(|window| window == said)
    };
    delete(&bench.store, one).await.expect("deleted");
    bench.store.close().await;
    assert!(holds_it(&bench.path()));
    let store = open(&bench.path(), &bench.clock).await;
    delete(&store, id).await.expect("deleted");
    store.close().await;
    assert!(!holds_it(&bench.path()));
}

#[tokio::test]
async fn what_has_not_ended_is_not_deleted() {
    let mut bench = Bench::new().await;
    let store = &bench.store;
    let started = start(store, "started").await;
    let asking = start_warm(store, "asking").await;
    tell_next(store, asking, vec![asks("a")]).await;
    let stopping = start_warm(store, "stopping").await;
    store.apply(stopping, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let picture = Picture::of(store).await;
    for (id, why) in [
        (started, "it has not ended"),
        (asking, "it has not ended"),
        (stopping, "something of it still runs"),
    ] {
        let Refusal::Stale(told) = refusal(delete(store, id).await) else { panic!("not stale") };
        assert_eq!(told, why);
    }
    unknown(delete(store, ExecutionId(fresh())).await);
    picture.assert_same(&Picture::of(store).await, "after refusals");
    assert_eq!(store.deletions(None, 10).await.expect("deletions"), []);
    assert_rebuild_is_live(&mut bench).await;
}

async fn ended(store: &Store, agent: &str, keep: Option<Keep>) -> ExecutionId {
    let id = ExecutionId(fresh());
    let mut created = created(agent, "ada");
    created.agent = agent.into();
    created.definition = AgentDef { keep, ..AgentDef::builtin() };
    store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    end(store, id).await;
    id
}

async fn due(bench: &Bench, rules: &KeepRules) -> Vec<Deletable> {
    let now = bench.clock.now();
    let due = bench.store.deletable(rules, now, None, 100).await.expect("deletable");
    assert_eq!(bench.store.count_deletable(rules, now).await.expect("count"), due.len() as u64);
    due
}

#[tokio::test]
async fn the_recorded_rule_comes_before_todays() {
    let mut bench = Bench::new().await;
    let recorded = ended(&bench.store, "scribe", Some(days(3))).await;
    let forever = ended(&bench.store, "scribe", Some(Keep::Forever)).await;
    let silent = ended(&bench.store, "scribe", None).await;
    let other = ended(&bench.store, "other", None).await;
    let running = start(&bench.store, "running").await;
    let rules = KeepRules { agents: [("scribe".into(), days(5))].into(), otherwise: Some(days(7)) };
    let none = KeepRules::default();

    bench.clock.advance(3 * DAY_MS - 1);
    assert_eq!(due(&bench, &rules).await, [], "not for long enough by a millisecond");
    let mut seen = Vec::new();
    for (passed_ms, expected) in [
        (1, vec![recorded]),
        (2 * DAY_MS, vec![recorded, silent]),
        (2 * DAY_MS, vec![recorded, silent, other]),
        (100_000 * DAY_MS, vec![recorded, silent, other]),
    ] {
        bench.clock.advance(passed_ms);
        let due = due(&bench, &rules).await;
        assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
        seen = due;
    }
    let why: Vec<String> = seen.iter().map(Deletable::why).collect();
    assert_eq!(
        why,
        [
            "keep = \"3d\" of agent scribe, as recorded at its start",
            "keep = \"5d\" of agent scribe",
            "keep = \"7d\"",
        ]
    );
    assert_eq!((seen[2].source, seen[2].keep, seen[2].ended_at), (KeepSource::Top, days(7), START));
    let recorded_alone: Vec<_> = due(&bench, &none).await.iter().map(|row| row.id).collect();
    assert_eq!(recorded_alone, [recorded], "without today's rules everything else is kept");
    // Nothing of this rests on columns that a rebuild would lose.
    assert_rebuild_is_live(&mut bench).await;
    assert_eq!(due(&bench, &rules).await, seen);
    for id in [forever, running] {
        assert!(bench.store.execution(id).await.expect("read").is_some());
    }
}

/// A clock that stands before everything that ever happened deletes nothing.
#[tokio::test]
async fn nothing_is_due_before_its_end() {
    let bench = Bench::new().await;
    ended(&bench.store, "scribe", Some(days(0))).await;
    ended(&bench.store, "scribe", Some(Keep::For(HumanDuration(u64::MAX)))).await;
    assert_eq!(due(&bench, &KeepRules::default()).await.len(), 1, "at once");
    bench.clock.set(START - DAY_MS);
    assert_eq!(due(&bench, &KeepRules { otherwise: Some(Keep::Forever), ..KeepRules::default() }).await, []);
}

/// The process ended after the rows were gone and before the files were: the note says so, until it is told.
#[tokio::test]
async fn files_that_are_left_are_remembered() {
    let mut bench = Bench::new().await;
    let ids = [full(&bench.store, "one").await, full(&bench.store, "two").await];
    for id in ids {
        delete(&bench.store, id).await.expect("deleted");
    }
    bench.reopen().await;
    assert_eq!(bench.store.deleted_with_files(None, 10).await.expect("left"), ids);
    assert_eq!(bench.store.deleted_with_files(Some(ids[0]), 10).await.expect("left"), [ids[1]]);
    bench.clock.advance(1);
    bench.store.files_are_gone(ids[0]).await.expect("noted");
    bench.clock.advance(1);
    bench.store.files_are_gone(ids[0]).await.expect("noted again");
    assert_eq!(bench.store.deleted_with_files(None, 1).await.expect("left"), [ids[1]]);
    let deletions = bench.store.deletions(None, 10).await.expect("deletions");
    let one = deletions.iter().find(|deletion| deletion.execution == ids[0]).expect("there");
    assert_eq!(one.files_deleted_at, Some(START + 1), "the first time counts");
}

#[tokio::test]
async fn lists_are_paged_in_order() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for moment in 0..7 {
        ids.push(ended(&bench.store, "scribe", None).await);
        // Some end in the same moment.
        bench.clock.advance(moment % 2);
    }
    let rules = KeepRules { otherwise: Some(days(0)), ..KeepRules::default() };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = bench.store.deletable(&rules, bench.clock.now(), after, 2).await.expect("page");
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        seen.extend(page.iter().map(|row| row.id));
    }
    assert_eq!(seen, ids);
    for (n, id) in ids.iter().enumerate() {
        delete(&bench.store, *id).await.expect("deleted");
        bench.clock.advance(i64::from(n % 2 == 0));
    }
    let (mut seen, mut after): (Vec<Deletion>, Option<Place>) = (Vec::new(), None);
    loop {
        let page = bench.store.deletions(after, 2).await.expect("page");
        let Some(last) = page.last() else { break };
        // As a client gives it back.
        after = Some(last.place().to_string().parse().expect("a place"));
        seen.extend(page);
    }
    assert_eq!(seen.len(), ids.len());
    assert!(seen.is_sorted_by_key(|row| std::cmp::Reverse((row.deleted_at, row.execution.0))));
}

/// Deletions share commits with what comes before and after them, and with what fails.
#[tokio::test]
async fn a_deletion_may_share_a_commit() {
    let mut bench = Bench::new().await;
    let (one, two) = (start(&bench.store, "one").await, start(&bench.store, "two").await);
    let store = bench.store.clone();
    let cancel = |id| store.apply(id, Command::Cancel { by: person("ada") });
    let mut outcomes = at_once([
        cancel(one)
            .map(|applied| applied.map(|applied| assert!(applied.execution.status.is_final())))
            .boxed(),
        delete(&store, one).map(|deleted| deleted.map(drop)).boxed(),
        // Undone as a whole, and what the others did is not.
        store
            .create(two, created("two", "ada"), "again".into(), vec![], None)
            .map(|outcome| outcome.map(drop).map_err(ApplyError::Store))
            .boxed(),
        store.apply(one, notice("too late")).map(|applied| applied.map(drop)).boxed(),
        delete(&store, one).map(|deleted| deleted.map(drop)).boxed(),
        store
            .create(one, created("one", "ada"), "again".into(), vec![], None)
            .map(|outcome| outcome.map(drop).map_err(ApplyError::Store))
            .boxed(),
        delete(&store, two).map(|deleted| deleted.map(drop)).boxed(),
        cancel(two).map(|applied| applied.map(drop)).boxed(),
    ])
    .await
    .into_iter();
    let mut next = || outcomes.next().expect("an outcome");
    next().expect("the cancellation, with the state that it led to");
    next().expect("the deletion");
    assert!(matches!(next(), Err(ApplyError::Store(StoreError::Exists { .. }))));
    assert!(matches!(next(), Err(ApplyError::UnknownExecution)));
    assert!(matches!(next(), Err(ApplyError::UnknownExecution)));
    assert!(matches!(next(), Err(ApplyError::Store(StoreError::Exists { .. }))), "not in the same moment");
    assert!(matches!(refusal(next()), Refusal::Stale(_)));
    next().expect("the other goes on");
    assert_eq!(store.execution(one).await.expect("read"), None);
    assert!(rows(&bench, one).await.iter().all(|(table, _, of_it)| *of_it == 0 || table == "deletions"));
    drop(store);
    assert_rebuild_is_live(&mut bench).await;
}

/// A request that changes an execution and then fails must not bring back what another has deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_delete_and_one_does() {
    let mut bench = Bench::new().await;
    for round in 0..20 {
        let id = full(&bench.store, &format!("round {round}")).await;
        let tries: Vec<_> = (0..6)
            .map(|n| {
                let store = bench.store.clone();
                tokio::spawn(async move {
                    if n % 2 == 0 {
                        delete(&store, id).await.is_ok()
                    } else {
                        drop(store.apply(id, notice("meanwhile")).await);
                        drop(store.append_facts(id, 1, numbered(90, vec![says("late")])).await);
                        false
                    }
                })
            })
            .collect();
        let deleted =
            futures::future::join_all(tries).await.into_iter().filter(|done| matches!(done, Ok(true)));
        assert_eq!(deleted.count(), 1);
        assert_eq!(bench.store.execution(id).await.expect("read"), None);
    }
    assert_eq!(bench.store.deletions(None, 100).await.expect("deletions").len(), 20);
    assert_rebuild_is_live(&mut bench).await;
}
