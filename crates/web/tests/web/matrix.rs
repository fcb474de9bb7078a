//! Who may see and do what, over every route there is: role × how they stand to the conversation × method and
//! address. The rows are held against the router's own list, so that a route without a row fails.

use std::collections::BTreeSet;

use axum::body::Body;
use holdpoint_model::{Actor, HoldId, Role, Scopes, Share, Standing, TokenScope};
use holdpoint_store::{NewToken, User};
use holdpoint_web::{hash_token, routes};
use http::{Method, Request, header};
use rstest::rstest;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{
    World, person,
    seed::{Seed, agents, lock},
};

/// What a route wants of whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing.
    Open,
    /// To know who they are.
    SignedIn,
    Start,
    Operate,
    Administer,
    /// Administer, and all others find nothing there.
    AdministerOrNothing,
    /// These rights to the conversation; all others find nothing there, or may not.
    See,
    Decide,
    Steer,
    Share,
    /// To see it, and to start another.
    Fork,
    /// To see it, and to operate.
    Inside,
}

use Need::*;

/// What a release would be made of whose configuration is not the server's.
const OTHER_LOCK: &str =
    r#"{"lock": {"version": 1, "holdpoint": "0", "claude_cli": "0", "settings": "a", "policy": "b"}}"#;

/// Method, address, need, and the answer to whoever may. `{…}` stands for what the test has made.
const ROWS: &[(&str, &str, Need, u16, &str)] = &[
    ("GET", "/health", Open, 200, ""),
    ("GET", "/v1/openapi.json", Open, 200, ""),
    ("GET", "/v1/changes", SignedIn, 200, ""),
    ("GET", "/assets/{hash}/{name}", Open, 404, ""),
    ("GET", "/worker/link", Open, 401, ""),
    ("GET", "/login", Open, 200, ""),
    ("POST", "/login", Open, 401, "name=nobody&password=x"),
    ("POST", "/logout", Open, 303, ""),
    ("GET", "/welcome", Open, 410, ""),
    ("POST", "/welcome", Open, 410, "token=x"),
    ("GET", "/v1/agents", SignedIn, 200, ""),
    ("GET", "/v1/executions", SignedIn, 200, ""),
    ("GET", "/v1/holds", SignedIn, 200, ""),
    ("GET", "/v1/analytics", SignedIn, 200, ""),
    ("GET", "/v1/me", SignedIn, 200, ""),
    ("GET", "/v1/status", SignedIn, 200, ""),
    ("POST", "/v1/executions", Start, 201, r#"{"agent": "claude", "inputs": {"prompt": "x"}}"#),
    ("GET", "/v1/executions/{id}", See, 200, ""),
    ("GET", "/v1/executions/{id}/events", See, 200, ""),
    ("GET", "/v1/executions/{id}/calls", See, 200, ""),
    ("GET", "/v1/executions/{id}/checkpoints", See, 200, ""),
    ("GET", "/v1/executions/{id}/files", See, 200, ""),
    ("GET", "/v1/executions/{id}/files/{*path}", See, 200, ""),
    ("GET", "/v1/executions/{id}/shares", See, 200, ""),
    ("POST", "/v1/executions/{id}/shares", Share, 200, r#"{"name": "third", "share": "answer"}"#),
    ("DELETE", "/v1/executions/{id}/shares/{user}", Share, 204, ""),
    ("POST", "/v1/executions/{id}/messages", Steer, 200, r#"{"text": "x"}"#),
    ("POST", "/v1/executions/{id}/interrupt", Steer, 200, ""),
    ("POST", "/v1/executions/{id}/cancel", Steer, 200, ""),
    ("POST", "/v1/executions/{id}/finish", Steer, 200, ""),
    ("POST", "/v1/executions/{id}/fork", Fork, 422, r#"{"message": "x"}"#),
    ("GET", "/v1/executions/{id}/worker", Inside, 200, ""),
    ("GET", "/v1/executions/{id}/logs/{of}", Inside, 409, ""),
    ("POST", "/v1/executions/{id}/exec", Inside, 200, r#"{"command": ["id"]}"#),
    ("GET", "/v1/workers", Operate, 200, ""),
    ("GET", "/v1/retention", Operate, 200, ""),
    ("POST", "/v1/retention", Operate, 200, "{}"),
    ("GET", "/v1/deletions", Operate, 200, ""),
    ("GET", "/v1/releases", Operate, 200, ""),
    ("POST", "/v1/releases", Operate, 409, OTHER_LOCK),
    ("GET", "/v1/releases/{number}", Operate, 200, ""),
    ("POST", "/v1/releases/{number}/image", Operate, 200, r#"{"id": "sha256:1"}"#),
    ("POST", "/v1/releases/{number}/verify", Operate, 200, ""),
    ("POST", "/v1/releases/{number}/activate", Operate, 409, ""),
    ("POST", "/v1/releases/{number}/fail", Operate, 200, r#"{"why": "x"}"#),
    ("POST", "/v1/releases/{number}/remove", Operate, 409, ""),
    ("POST", "/v1/executions/{id}/move", Inside, 409, r#"{"release": 1}"#),
    ("GET", "/v1/holds/{id}", See, 200, ""),
    ("POST", "/v1/holds/{id}/decision", Decide, 200, r#"{"action": "allow"}"#),
    ("POST", "/v1/holds/{id}/assign", Decide, 200, r#"{"to": null}"#),
    ("POST", "/v1/holds/{id}/snooze", Decide, 200, "{}"),
    ("GET", "/v1/tokens", Administer, 200, ""),
    ("POST", "/v1/tokens", Administer, 201, r#"{"name": "third", "role": "asker"}"#),
    ("DELETE", "/v1/tokens/{id}", AdministerOrNothing, 204, ""),
    ("POST", "/v1/links", Administer, 201, "{}"),
    ("GET", "/v1/users", Administer, 200, ""),
    ("POST", "/v1/users", Administer, 422, r#"{"name": " ", "role": "asker"}"#),
    ("GET", "/v1/users/{id}", Administer, 200, ""),
    ("PATCH", "/v1/users/{id}", Administer, 200, "{}"),
    ("POST", "/v1/users/{id}/link", Administer, 201, ""),
    ("GET", "/v1/users/{id}/tokens", Administer, 200, ""),
    ("POST", "/v1/users/{id}/tokens", Administer, 201, r#"{"name": "x"}"#),
    ("GET", "/v1/users/{id}/sessions", Administer, 200, ""),
    ("DELETE", "/v1/users/{id}/sessions", Administer, 200, ""),
    ("DELETE", "/v1/users/{id}/sessions/{session}", Administer, 404, ""),
    ("GET", "/v1/audit", Administer, 200, ""),
    ("GET", "/", SignedIn, 200, ""),
    ("GET", "/executions", SignedIn, 200, ""),
    ("GET", "/inbox", SignedIn, 200, ""),
    ("GET", "/analytics", SignedIn, 200, ""),
    ("GET", "/analytics/{of}", SignedIn, 404, ""),
    ("POST", "/inbox/decide", SignedIn, 200, "action=allow&hold=x"),
    ("GET", "/inbox/waiting", SignedIn, 200, ""),
    ("GET", "/files", SignedIn, 200, ""),
    ("POST", "/uploads/{id}/remove", SignedIn, 404, ""),
    ("GET", "/operations", Operate, 200, ""),
    ("GET", "/releases", Operate, 200, ""),
    ("GET", "/releases/{number}", Operate, 200, ""),
    ("POST", "/releases/{number}/activate", Operate, 409, ""),
    ("GET", "/pulse", SignedIn, 200, ""),
    ("GET", "/api", SignedIn, 200, ""),
    ("GET", "/account", SignedIn, 200, ""),
    ("POST", "/account/password", SignedIn, 422, "old=x&password=correct+horse&again=correct+horse"),
    ("GET", "/agents/{name}", Start, 200, ""),
    ("POST", "/agents/{name}", Start, 303, "prompt=x"),
    ("GET", "/executions/{id}", See, 200, ""),
    ("GET", "/executions/{id}/live", See, 200, ""),
    ("GET", "/executions/{id}/events", See, 200, ""),
    ("GET", "/executions/{id}/export.md", See, 200, ""),
    ("GET", "/executions/{id}/export.html", See, 200, ""),
    ("GET", "/executions/{id}/replay", See, 200, ""),
    ("POST", "/executions/{id}/messages", Steer, 303, "text=x"),
    ("POST", "/executions/{id}/interrupt", Steer, 303, ""),
    ("POST", "/executions/{id}/finish", Steer, 303, ""),
    ("POST", "/executions/{id}/cancel", Steer, 303, ""),
    ("POST", "/executions/{id}/move", Inside, 409, "release=1"),
    ("GET", "/executions/{id}/fork", Fork, 200, ""),
    ("POST", "/executions/{id}/fork", Fork, 422, "message=x"),
    ("GET", "/executions/{id}/session", Inside, 200, ""),
    ("POST", "/executions/{id}/session", Inside, 200, "command=id"),
    ("GET", "/executions/{id}/share", Share, 200, ""),
    ("POST", "/executions/{id}/share", Share, 303, "name=third&share=look"),
    ("GET", "/holds/{id}", See, 303, ""),
    ("POST", "/holds/{id}/decision", Decide, 303, "action=allow"),
    ("POST", "/holds/{id}/assign", Decide, 303, "action=take"),
    ("POST", "/holds/{id}/snooze", Decide, 303, "action=wake"),
    ("GET", "/people", Administer, 200, ""),
    ("POST", "/people", Administer, 422, "name=+&role=asker"),
    ("GET", "/people/audit", Administer, 200, ""),
    ("GET", "/people/{id}", Administer, 200, ""),
    ("POST", "/people/{id}", Administer, 303, "name=third"),
    ("POST", "/people/{id}/link", Administer, 200, ""),
    ("POST", "/people/{id}/tokens", Administer, 200, "name=x&expires=90d"),
    ("POST", "/people/{id}/tokens/revoke", Administer, 404, "token=x"),
    ("POST", "/people/{id}/sessions/end", Administer, 303, ""),
    ("GET", "/v1/uploads", SignedIn, 200, ""),
    ("POST", "/v1/uploads", Start, 201, r#"{"name": "a", "size": 1}"#),
    ("GET", "/v1/uploads/{id}", SignedIn, 404, ""),
    ("PUT", "/v1/uploads/{id}", Start, 404, "x"),
    ("DELETE", "/v1/uploads/{id}", SignedIn, 404, ""),
    ("GET", "/logout", Open, 200, ""),
    ("POST", "/api/login", Open, 400, "{}"),
    ("GET", "/flow", SignedIn, 200, ""),
    ("GET", "/flow/tags", SignedIn, 200, ""),
    ("GET", "/flow/register", SignedIn, 200, ""),
    ("POST", "/flow/register", Operate, 400, r#"{"url": "http://nowhere.example/"}"#),
    ("PUT", "/flow/register", Operate, 200, "{}"),
    ("POST", "/flow/unregister", Operate, 200, r#"{"url": "http://nowhere.example/"}"#),
    ("GET", "/-/{*path}", SignedIn, 200, ""),
    ("POST", "/-/{*path}", Start, 200, r#"{"prompt": "x"}"#),
    ("GET", "/inputs/-/{*path}", SignedIn, 302, ""),
    ("GET", "/outputs/status/{fid}", See, 200, ""),
    ("GET", "/outputs/raw/{fid}", See, 200, ""),
    ("GET", "/outputs/html/{fid}", See, 200, ""),
    ("GET", "/outputs/{of}/{fid}", See, 200, ""),
    ("DELETE", "/outputs/{fid}", Steer, 204, ""),
    ("DELETE", "/outputs", SignedIn, 204, r#"{"fid": []}"#),
    ("GET", "/lock/{fid}/{lid}", See, 200, ""),
    ("POST", "/lock/{fid}/{lid}", Decide, 200, r#"{"decision": "allow"}"#),
    ("GET", "/files/{fid}/{*path}", See, 200, ""),
    ("DELETE", "/files/{fid}/{*path}", Steer, 204, ""),
    ("POST", "/files/init_batch", SignedIn, 201, ""),
    ("POST", "/files/init", SignedIn, 201, r#"{"filename": "a", "total_chunks": 1}"#),
    ("POST", "/files/chunk", SignedIn, 400, ""),
    ("DELETE", "/files/cancel/{upload}", SignedIn, 404, ""),
    ("POST", "/files/complete/{dir}", SignedIn, 400, "{}"),
    ("POST", "/files/complete/{fid}/{batch}/{dir}", Steer, 404, "{}"),
    ("POST", "//files/complete/{fid}/{batch}/{dir}", Steer, 404, "{}"),
    ("GET", "/timeline", SignedIn, 200, ""),
    ("GET", "/timeline/list", SignedIn, 200, ""),
    ("GET", "/timeline/changes", SignedIn, 200, ""),
    ("GET", "/api/dashboard/agent-stats", SignedIn, 200, ""),
    ("GET", "/api/dashboard/debug/user", SignedIn, 200, ""),
    ("GET", "/api/dashboard/errors", SignedIn, 200, ""),
    ("GET", "/api/dashboard/running-agents", SignedIn, 200, ""),
    ("GET", "/api/dashboard/timeline", SignedIn, 200, ""),
    ("GET", "/api/dashboard/execution/{fid}/details", See, 200, ""),
    ("GET", "/api/dashboard/execution/{fid}/files", See, 200, ""),
    ("GET", "/role", Administer, 200, ""),
    ("POST", "/role", Administer, 400, "{}"),
    ("GET", "/role/{role}", Administer, 404, ""),
    ("PUT", "/role/{role}", Administer, 404, "{}"),
    ("DELETE", "/role/{role}", Administer, 404, ""),
    ("GET", "/deploy", SignedIn, 501, ""),
    ("POST", "/deploy", SignedIn, 501, ""),
    ("PUT", "/deploy", SignedIn, 501, ""),
    ("DELETE", "/deploy", SignedIn, 501, ""),
    ("GET", "/deploy/{*path}", SignedIn, 501, ""),
    ("POST", "/deploy/{*path}", SignedIn, 501, ""),
    ("PUT", "/deploy/{*path}", SignedIn, 501, ""),
    ("DELETE", "/deploy/{*path}", SignedIn, 501, ""),
    ("GET", "/serve", SignedIn, 501, ""),
    ("POST", "/serve", SignedIn, 501, ""),
    ("PUT", "/serve", SignedIn, 501, ""),
    ("DELETE", "/serve", SignedIn, 501, ""),
    ("GET", "/serve/{*path}", SignedIn, 501, ""),
    ("POST", "/serve/{*path}", SignedIn, 501, ""),
    ("PUT", "/serve/{*path}", SignedIn, 501, ""),
    ("DELETE", "/serve/{*path}", SignedIn, 501, ""),
];

const STANDINGS: [Standing; 4] =
    [Standing::Owner, Standing::Shared(Share::Answer), Standing::Shared(Share::Look), Standing::Stranger];

/// See, decide, steer (and share), by standing as in `STANDINGS`. Written out, and not asked of the rules.
fn rights(role: Role, standing: Standing) -> &'static str {
    let by_standing = match role {
        Role::Admin | Role::Operator => ["sdt", "sdt", "sdt", "sdt"],
        Role::Approver => ["sdt", "sd", "sd", "sd"],
        Role::Asker => ["sdt", "sd", "s", ""],
        Role::Viewer => ["s", "s", "s", "s"],
    };
    let at = STANDINGS.iter().position(|one| *one == standing).expect("a standing");
    by_standing[at]
}

fn expected(need: Need, ok: u16, role: Role, standing: Standing) -> u16 {
    let rights = rights(role, standing);
    let operates = matches!(role, Role::Admin | Role::Operator);
    let or = |allowed: bool, otherwise: u16| if allowed { ok } else { otherwise };
    let on = |allowed: bool| if rights.contains('s') { or(allowed, 403) } else { 404 };
    match need {
        Open | SignedIn => ok,
        Start => or(role != Role::Viewer, 403),
        Operate => or(operates, 403),
        Administer => or(role == Role::Admin, 403),
        AdministerOrNothing => or(role == Role::Admin, 404),
        See => on(true),
        Decide => on(rights.contains('d')),
        Steer | Need::Share => on(rights.contains('t')),
        Fork => on(role != Role::Viewer),
        Inside => or(operates, 403),
    }
}

/// What the placeholders of addresses stand for.
struct Things {
    third: User,
    execution: String,
    hold: HoldId,
    token: String,
    /// An unfinished one.
    release: u32,
}

impl Things {
    async fn new(world: &World, me: (&User, Standing), third: &User) -> Self {
        let other = world.store.user_by_name("other").await.expect("read").expect("other");
        let owner = if me.1 == Standing::Owner { me.0 } else { &other };
        let mut seed = Seed::create(&world.store, &person(owner.id, &owner.name), "Work", "Work").await;
        seed.work().await;
        let hold = seed.ask("toolu_1", "Bash", json!({"command": "touch a"})).await;
        let workspace = world.control.workspace(seed.id);
        std::fs::create_dir_all(&workspace).expect("workspace");
        std::fs::write(workspace.join("a.txt"), "a").expect("file");
        let by = |user: &User| person(user.id, &user.name).into();
        if let Standing::Shared(share) = me.1 {
            world.store.set_share(seed.id, me.0.id, share, by(owner)).await.expect("share");
        }
        world.store.set_share(seed.id, third.id, Share::Look, by(owner)).await.expect("share");
        let hash = hash_token(&seed.id.to_string());
        let new =
            NewToken { user: third.id, name: "x".into(), hash, scopes: Scopes::all(), expires_at: None };
        let token = world.store.create_token(new, by(third)).await.expect("token");
        let (third, execution) = (third.clone(), seed.id.to_string());
        let release =
            world.store.begin_release(lock("1"), agents(), by(owner)).await.expect("release").number;
        Self { third, execution, hold, token: token.id.to_string(), release }
    }

    fn address(&self, path: &str) -> String {
        let third = self.third.id.to_string();
        let hold = self.hold.to_string();
        let id = match path.trim_start_matches("/v1").split('/').nth(1) {
            Some("executions") => &self.execution,
            Some("holds") => &hold,
            Some("tokens") => &self.token,
            _ => &third,
        };
        path.replace("/v1/uploads/{id}", "/v1/uploads/{id}?offset=0")
            .replace("{id}", id)
            .replace("{user}", &third)
            .replace("{number}", &self.release.to_string())
            .replace("/-/{*path}", "/-/claude")
            .replace("{fid}/{*path}", "{fid}/out/a.txt")
            .replace("{*path}", "a.txt")
            .replace("{of}", if path.starts_with("/outputs") { "main" } else { "container" })
            .replace("{fid}", &self.execution)
            .replace("{lid}", &hold)
            .replace("{role}", "00000000-0000-7000-8000-000000000000")
            .replace("{upload}", &third)
            .replace("{batch}", &third)
            .replace("{dir}", "in")
            .replace("{session}", "00000000-0000-7000-8000-000000000000")
            .replace("{name}", "claude")
    }
}

/// Addresses of Kodosumi's API.
const KODOSUMI: [&str; 12] = [
    "/-/",
    "/api/",
    "/flow",
    "/inputs/",
    "/outputs",
    "/lock/",
    "/files/",
    "//files/",
    "/timeline",
    "/role",
    "/deploy",
    "/serve",
];

fn is_api(path: &str) -> bool {
    path.starts_with("/v1/") || KODOSUMI.iter().any(|prefix| path.starts_with(prefix))
}

/// Streams that pages open: they answer scripts.
fn is_stream(path: &str) -> bool {
    path == "/pulse" || path.ends_with("/live")
}

/// The status alone: some answers never end.
async fn status(world: &World, method: &str, path: &str, body: &str, credential: (&str, &str)) -> u16 {
    let kind = if is_api(path) { "application/json" } else { "application/x-www-form-urlencoded" };
    let mut request = Request::builder().method(method).uri(path).header("sec-fetch-site", "same-origin");
    if !credential.1.is_empty() {
        request = request.header(credential.0, credential.1);
    }
    if is_api(path) {
        request = request.header(header::ACCEPT, "application/json");
    }
    if method != "GET" {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let request = request.body(Body::from(body.to_owned())).expect("request");
    world.router.clone().oneshot(request).await.expect("infallible").status().as_u16()
}

async fn world_with(role: Role) -> (World, User, User, String, String) {
    let world = World::new().await;
    let (me, token) = world.user("me", role).await;
    world.user("other", Role::Asker).await;
    let third = world.store.create_user("third", Role::Asker, None).await.expect("user");
    let me = world.store.user(me).await.expect("read").expect("me");
    let cookie = world.cookie(me.id).await;
    (world, me, third, format!("Bearer {token}"), cookie)
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let all: BTreeSet<(String, &str)> =
        routes().into_iter().map(|(method, path)| (method.to_string(), path)).collect();
    let rows: BTreeSet<(String, &str)> =
        ROWS.iter().map(|(method, path, ..)| ((*method).to_owned(), *path)).collect();
    assert_eq!(rows.len(), ROWS.len(), "a row is there twice");
    let without: Vec<_> = all.difference(&rows).collect();
    assert!(without.is_empty(), "routes of which nobody has said who may: add rows for {without:?}");
    let stale: Vec<_> = rows.difference(&all).collect();
    assert!(stale.is_empty(), "rows without a route: {stale:?}");
}

#[rstest]
#[case(Role::Admin)]
#[case(Role::Operator)]
#[case(Role::Approver)]
#[case(Role::Asker)]
#[case(Role::Viewer)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_everywhere(#[case] role: Role) {
    let (world, me, third, token, cookie) = world_with(role).await;
    let mut wrong = Vec::new();
    for standing in STANDINGS {
        let mut things = Things::new(&world, (&me, standing), &third).await;
        let mut is_spent = false;
        for (method, path, need, ok, body) in ROWS {
            if *need == Open {
                continue;
            }
            // What was changed is not there any more for the next row.
            if std::mem::take(&mut is_spent) {
                things = Things::new(&world, (&me, standing), &third).await;
            }
            is_spent = *method != "GET";
            let credential = if is_api(path) { ("authorization", &*token) } else { ("cookie", &*cookie) };
            let got = status(&world, method, &things.address(path), body, credential).await;
            let wanted = expected(*need, *ok, role, standing);
            if got != wanted {
                wrong.push(format!("{method} {path} {standing:?}: {got}, not {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{role}: {wrong:#?}");
}

#[tokio::test]
async fn nobody_in_particular_gets_in_nowhere() {
    let (world, me, third, ..) = world_with(Role::Admin).await;
    let things = Things::new(&world, (&me, Standing::Owner), &third).await;
    let mut wrong = Vec::new();
    for (method, path, need, ok, body) in ROWS {
        let wanted = match need {
            Open => *ok,
            _ if is_api(path) || is_stream(path) => 401,
            // To the sign-in.
            _ => 303,
        };
        for credential in
            [("cookie", ""), ("authorization", "Bearer x"), ("cookie", "holdpoint_session_80=x")]
        {
            // A wrong token is told so; a page says it as a page does.
            let wanted = match (need, credential.0) {
                (Open, _) => wanted,
                (_, "authorization") => 401,
                _ => wanted,
            };
            let got = status(&world, method, &things.address(path), body, credential).await;
            if got != wanted {
                wrong.push(format!("{method} {path} {credential:?}: {got}, not {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let still = world.store.execution(things.execution.parse().expect("id")).await.expect("read");
    assert!(!still.expect("execution").status.is_final());
}

/// An admin's token for one thing is good for that one thing, and for looking.
#[rstest]
#[case(TokenScope::Read)]
#[case(TokenScope::Start)]
#[case(TokenScope::Decide)]
#[case(TokenScope::Operate)]
#[case(TokenScope::Admin)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_good_for_its_scopes(#[case] scope: TokenScope) {
    let (world, me, third, ..) = world_with(Role::Admin).await;
    let token = world.token(&me, "scoped", Scopes::of([scope])).await;
    let mut wrong = Vec::new();
    for (method, path, need, ok, body) in ROWS.iter().filter(|row| row.2 != Open && is_api(row.1)) {
        let things = Things::new(&world, (&me, Standing::Stranger), &third).await;
        let wants = match need {
            Open | SignedIn | See => TokenScope::Read,
            Start | Steer | Need::Share | Fork => TokenScope::Start,
            Decide => TokenScope::Decide,
            Operate | Inside => TokenScope::Operate,
            Administer | AdministerOrNothing => TokenScope::Admin,
        };
        let may = wants == TokenScope::Read || wants == scope;
        let wanted = if may { *ok } else { 403 };
        let credential = ("authorization", &*format!("Bearer {token}"));
        let got = status(&world, method, &things.address(path), body, credential).await;
        if got != wanted {
            wrong.push(format!("{method} {path}: {got}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{scope}: {wrong:#?}");
}

/// Whoever may not see a conversation is told the very same as of one that there is not.
#[tokio::test]
async fn what_one_may_not_see_does_not_exist() {
    let (world, me, third, token, cookie) = world_with(Role::Asker).await;
    let things = Things::new(&world, (&me, Standing::Stranger), &third).await;
    let none = "00000000-0000-7000-8000-000000000000";
    for (method, path, need, _, body) in ROWS {
        if !matches!(need, See | Decide | Steer | Need::Share | Fork) || is_stream(path) {
            continue;
        }
        let there = things.address(path);
        let hold = things.hold.to_string();
        let mut answers = Vec::new();
        for id in ["{there}", none, "nonsense"] {
            let address = there.replace(&things.execution, id).replace(&hold, id).replace("{there}", "");
            let address = if id == "{there}" { there.clone() } else { address };
            let mut request = Request::builder()
                .method(Method::from_bytes(method.as_bytes()).expect("method"))
                .uri(&address)
                .header("sec-fetch-site", "same-origin");
            request = if is_api(path) {
                request.header("authorization", &token).header(header::CONTENT_TYPE, "application/json")
            } else {
                request
                    .header("cookie", &cookie)
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            };
            let answer = world.send(request.body(Body::from((*body).to_owned())).expect("request")).await;
            assert_eq!(answer.status, 404, "{method} {address}");
            answers.push(answer.text().replace(id, "").replace(&things.execution, "").replace(&hold, ""));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
    }
}

/// Lists, the inbox and its count have what was shared, as far as it was.
#[tokio::test]
async fn what_is_shared_is_in_lists_and_in_the_inbox() {
    let (world, me, third, token, cookie) = world_with(Role::Asker).await;
    let token = token.trim_start_matches("Bearer ").to_owned();
    let mut all = Vec::new();
    for standing in STANDINGS {
        all.push(Things::new(&world, (&me, standing), &third).await);
    }
    for (things, standing) in all.iter().zip(STANDINGS) {
        let listed = world.get("/v1/executions", &token).await.expect(200).text().contains(&things.execution);
        let hold = things.hold.to_string();
        let holds = world.get("/v1/holds", &token).await.expect(200).text().contains(&hold);
        let any = world.get("/v1/holds?status=any", &token).await.expect(200).text().contains(&hold);
        let page = world.page("/executions", &cookie).await.expect(200).text().contains(&things.execution);
        let inbox = world.page("/inbox", &cookie).await.expect(200).text().contains(&hold);
        let (see, decide) = (standing > Standing::Stranger, standing > Standing::Shared(Share::Look));
        assert_eq!((listed, holds, any, page, inbox), (see, see, see, see, decide), "{standing:?}");
    }
    let inbox = world.page("/inbox", &cookie).await.expect(200);
    assert!(inbox.text().contains("2<span class=\"unseen\"> waiting"), "{}", inbox.text());
    // Who may look sees no way to answer, and who may answer does.
    for (at, may) in [(1, true), (2, false)] {
        let page = world.page(&format!("/executions/{}", all[at].execution), &cookie).await.expect(200);
        assert_eq!(page.text().contains("data-action=\"allow\""), may);
        assert!(!page.text().contains("data-action=\"cancel\""));
    }
    let gone: Actor = person(third.id, "third");
    let id = all[1].execution.parse().expect("id");
    world.store.unshare(id, me.id, gone.into()).await.expect("unshare");
    world.page(&format!("/executions/{}", all[1].execution), &cookie).await.expect(404);
}
