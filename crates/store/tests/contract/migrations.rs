//! Data files of every older version are brought up to date with all that is in them.

use std::path::Path;

use holdpoint_model::{Command, ExecutionId, Role, Scopes, Share};
use holdpoint_store::{NewSession, NewToken, Store};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _, SqliteConnection};

use crate::picture::{Picture, assert_rebuild_is_live};
use crate::random::{completed_call, new_call};
use crate::support::*;

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

/// Tables that the log can make again: a file of an older version has them in an older shape, or wrongly.
const PROJECTIONS: [&str; 4] = ["aggregates", "executions", "holds", "documents"];

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.expect("connect")
}

/// A file as the program of that version would have made it, with all rows of `full` that it had tables for.
async fn file_of_version(path: &Path, version: i64, full: &Path) {
    let mut conn = connect(path).await;
    let steps = MIGRATOR.iter().filter(|step| step.version <= version).cloned().collect();
    Migrator::with_migrations(steps).run(&mut conn).await.expect("the first steps");
    sqlx::query("ATTACH ?1 AS present").bind(full.to_str()).execute(&mut conn).await.expect("attach");
    for table in names(&mut conn, "SELECT name FROM sqlite_schema WHERE type = 'table'").await {
        // What was counted, and the index over the documents, are projections too.
        let is_projection = PROJECTIONS.contains(&table.as_str())
            || table.starts_with("search")
            || table.starts_with("figures");
        if table.starts_with('_') || is_projection {
            continue;
        }
        let query = format!("SELECT name FROM pragma_table_info('{table}')");
        let columns = names(&mut conn, &query).await.join(", ");
        let copy = format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM present.{table}");
        conn.execute(AssertSqlSafe(copy)).await.expect("copy");
    }
    // A snapshot in a shape that this program does not know, and rows of what it would not say today.
    conn.execute(
        "INSERT INTO aggregates (execution, seq, state) SELECT execution, 1, '{\"of\": \"old\"}' FROM events WHERE seq = 1;
         INSERT INTO holds (id, execution, state, opened_at, due_at, hold) VALUES (x'00', x'00', 'open', 0, 0, '{}');",
    )
    .await
    .expect("old projections");
    conn.close().await.expect("close");
}

async fn names(conn: &mut SqliteConnection, query: &str) -> Vec<String> {
    let rows = conn.fetch_all(AssertSqlSafe(query.to_owned())).await.expect("names");
    rows.iter().map(|row| row.get(0)).collect()
}

/// A store with something in every table, and two of its executions.
async fn full(bench: &Bench) -> [ExecutionId; 2] {
    let store = &bench.store;
    let asking = start_warm(store, "asking").await;
    tell_next(store, asking, vec![says("let me see"), asks("a"), asks("b")]).await;
    decide(store, asking, hold_of(store, asking, "a").await, "grace").await;
    let over = start_warm(store, "over").await;
    tell_next(store, over, vec![asks("a")]).await;
    store.apply(over, Command::Cancel { by: person("ada") }).await.expect("cancel");
    let fenced = store.append_facts(asking, 7, numbered(1, vec![says("beside the log")])).await;
    drop(refusal(fenced));
    let call = store.begin_call(new_call(asking, 1)).await.expect("begin");
    store.complete_call(call, completed_call(9)).await.expect("complete");
    store.mark_delivered(call, 1).await.expect("delivered");
    let ada = store.create_user("ada", Role::Admin, Some("$argon2id$x".into())).await.expect("user");
    let token =
        NewToken { user: ada.id, name: "ci".into(), hash: [1; 32], scopes: Scopes::all(), expires_at: None };
    store.create_token(token, person("ada").into()).await.expect("token");
    let session =
        NewSession { user: ada.id, hash: [2; 32], expires_at: START + 1_000, browser: "Lynx".into() };
    store.create_session(session, person("ada").into()).await.expect("session");
    store.set_share(asking, ada.id, Share::Answer, person("grace").into()).await.expect("share");
    store.create_link([3; 32], "sign in", START + 1_000).await.expect("link");
    store.set_setting("theme", "dark").await.expect("setting");
    [asking, over]
}

fn versions() -> Vec<i64> {
    MIGRATOR.iter().map(|step| step.version).collect()
}

#[tokio::test]
async fn a_file_of_every_older_version_is_brought_up_to_date() {
    let bench = Bench::new().await;
    let ids = full(&bench).await;
    let logs = [log(&bench.store, ids[0]).await, log(&bench.store, ids[1]).await];
    let picture = Picture::of(&bench.store).await;
    let side_log = bench.store.side_log(ids[0], 10).await.expect("side log");
    bench.store.close().await;
    let versions = versions();
    assert!(versions.len() >= 3);
    for &version in &versions {
        let when = format!("after coming from version {version}");
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("data.db");
        file_of_version(&path, version, &bench.path()).await;
        let store = open(&path, &bench.clock).await;
        for (id, log_before) in ids.iter().zip(&logs) {
            assert_eq!(log(&store, *id).await, *log_before, "the log differs {when}");
        }
        assert_eq!(store.side_log(ids[0], 10).await.expect("side log"), side_log, "the side log {when}");
        let now = Picture::of(&store).await;
        // Calls came with version 3; their cost is in the log too.
        if version >= 3 {
            picture.assert_same(&now, &when);
        } else {
            now.assert_consistent();
            assert_eq!(store.turn_calls(ids[0]).await.expect("calls"), []);
            assert_eq!(store.cost_of(ids[0]).await.expect("cost"), 9, "{when}");
        }
        let ada = store.user_by_name("ada").await.expect("read");
        assert_eq!(ada.is_some(), version >= 2, "people came with version 2");
        if let Some(ada) = ada {
            assert_eq!(
                store.principal_by_token([1; 32]).await.expect("read").map(|found| found.user),
                Some(ada.clone())
            );
            assert_eq!(
                store.principal_by_session([2; 32], START).await.expect("read").map(|found| found.user),
                Some(ada)
            );
            assert_eq!(store.setting("theme").await.expect("read").as_deref(), Some("dark"));
        }
        let mut migrated = Bench { store, clock: bench.clock.clone(), folder };
        goes_on(&migrated.store, ids[0]).await;
        assert_rebuild_is_live(&mut migrated).await;
        assert_eq!(schema(&migrated).await, versions, "{when}");
    }
}

/// What was open before the migration can be decided, and told about, after it.
async fn goes_on(store: &Store, id: ExecutionId) {
    let late = Command::Decide { hold: hold_of(store, id, "a").await, request: deny(), by: person("lin") };
    let refused = refusal(store.apply(id, late).await);
    assert_eq!(refused.to_string(), format!("grace answered this at {START}"));
    decide(store, id, hold_of(store, id, "b").await, "lin").await;
    tell_next(store, id, vec![says("and on")]).await;
    let call = store.begin_call(new_call(id, 1)).await.expect("begin");
    store.complete_call(call, completed_call(1)).await.expect("complete");
    if store.user_by_name("grace").await.expect("read").is_none() {
        store.create_user("grace", Role::Approver, None).await.expect("user");
    }
}

async fn schema(bench: &Bench) -> Vec<i64> {
    let mut conn = connect(&bench.path()).await;
    let rows =
        conn.fetch_all("SELECT version FROM _sqlx_migrations ORDER BY version").await.expect("versions");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Another version of the projections: they are made again when the file is opened.
#[tokio::test]
async fn projections_of_another_version_are_rebuilt_when_opened() {
    let mut bench = Bench::new().await;
    full(&bench).await;
    let picture = Picture::of(&bench.store).await;
    bench.store.close().await;
    let mut conn = connect(&bench.path()).await;
    conn.execute("DELETE FROM executions; UPDATE holds SET state = 'open'; PRAGMA user_version = 0;")
        .await
        .expect("spoil");
    conn.close().await.expect("close");
    bench.store = open(&bench.path(), &bench.clock).await;
    picture.assert_same(&Picture::of(&bench.store).await, "after opening");
    bench.store.close().await;
}

/// A hole in the log is found and named rather than skipped.
#[tokio::test]
async fn a_log_with_a_hole_is_not_read_as_if_it_were_whole() {
    let bench = Bench::new().await;
    let id = start_warm(&bench.store, "hole").await;
    bench.store.close().await;
    let mut conn = connect(&bench.path()).await;
    conn.execute("DELETE FROM events WHERE seq = 4; PRAGMA user_version = 0;").await.expect("spoil");
    conn.close().await.expect("close");
    let error = Store::open(&bench.path(), options(&bench.clock)).await.expect_err("a hole");
    let told = error.to_string();
    assert!(told.contains(&format!("the log of {id} has a gap: 4 is missing before 5")), "{told}");
}
