//! A whole router with a real store in a temporary folder. Nothing reconciles: tests play the
//! worker themselves, through `Seed`.

#![allow(dead_code)]

mod documented;
pub(crate) mod seed;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::{Router, body::Body};
use holdpoint_checkpoint::Checkpoints;
use holdpoint_control::{Control, ControlOptions, Layout, Tokens};
use holdpoint_engine::{
    Boxed, BridgeSide, ContainerView, Engine, EngineError, Exec, Instance, Piece, Running, StartWorker,
    Usage, WorkerId,
};
use holdpoint_model::{Actor, AgentDef, Channel, HumanDuration, Keep, Role, Scopes, UserId};
use holdpoint_store::{NewSession, NewToken, Store, StoreOptions, User};
use holdpoint_web::{WebState, hash_token, router};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// An engine that starts nothing, and says of every worker that it runs, in a container of which it makes up
/// the rest.
#[derive(Debug)]
struct NoEngine(broadcast::Sender<WorkerId>);

impl Engine for NoEngine {
    fn name(&self) -> &'static str {
        "none"
    }
    fn start(&self, _: StartWorker) -> Boxed<'_, Result<(), EngineError>> {
        Box::pin(async { Ok(()) })
    }
    fn alive<'a>(&'a self, _: &'a [WorkerId]) -> Boxed<'a, Result<Vec<WorkerId>, EngineError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn end(&self, _: WorkerId) -> Boxed<'_, Result<Option<String>, EngineError>> {
        Box::pin(async { Ok(None) })
    }
    fn exits(&self) -> broadcast::Receiver<WorkerId> {
        self.0.subscribe()
    }
    fn bridge(&self) -> Option<BridgeSide> {
        None
    }
    fn look<'a>(&'a self, ids: &'a [WorkerId]) -> Boxed<'a, Result<Vec<Instance>, EngineError>> {
        let instance = |id: &WorkerId| Instance {
            id: *id,
            engine: "none",
            state: "running".into(),
            started_at: Some(0),
            worker_pid: Some(12),
            session_pids: vec![34],
            memory: Usage { used: 300 << 20, limit: Some(1 << 30) },
            processes: Usage { used: 31, limit: Some(512) },
            cpu_ms: 1_500,
            cpus: Some(1.0),
            container: Some(ContainerView {
                id: "0123456789abcdef".into(),
                name: "a-container".into(),
                image: "an-image".into(),
                ..ContainerView::default()
            }),
        };
        Box::pin(async move { Ok(ids.iter().map(instance).collect()) })
    }
    fn exec(&self, exec: Exec) -> Boxed<'_, Result<Running, EngineError>> {
        let said = format!(
            "{} {}\n",
            exec.command.join(" "),
            exec.environment.keys().cloned().collect::<Vec<_>>().join(",")
        );
        let bytes = Piece::Err(vec![0xff]);
        Box::pin(
            async move { Ok(Running::ended(vec![Piece::Out(said.into_bytes()), bytes, Piece::Exit(3)])) },
        )
    }
    fn container_log(&self, _: WorkerId, _: usize) -> Boxed<'_, Result<Option<Vec<u8>>, EngineError>> {
        Box::pin(async { Ok(None) })
    }
}

fn now() -> i64 {
    use holdpoint_store::Clock as _;
    holdpoint_store::SystemClock.now()
}

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) store: Store,
    pub(crate) control: Control,
    pub(crate) closing: CancellationToken,
    pub(crate) dir: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
    /// A problem in a form fit for snapshots.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json", "{}", self.text());
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        body
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("http://holdpoint.test", false).await
    }

    pub(crate) async fn with(base_url: &str, rehearsal: bool) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let store =
            Store::open(&dir.path().join("holdpoint.db"), StoreOptions::default()).await.expect("store");
        let control = control(store.clone(), dir.path().to_path_buf(), rehearsal);
        let closing = CancellationToken::new();
        let state = WebState::new(control.clone(), base_url).closing(closing.clone());
        Self { router: router(state), store, control, closing, dir }
    }

    /// A user with a token.
    pub(crate) async fn user(&self, name: &str, role: Role) -> (UserId, String) {
        let user = self.store.create_user(name, role, None).await.expect("user");
        let token = self.token(&user, &format!("token-of-{name}"), Scopes::all()).await;
        (user.id, token)
    }

    /// A token of a user, for less than all.
    pub(crate) async fn token(&self, user: &User, token: &str, scopes: Scopes) -> String {
        let hash = hash_token(token);
        let new = NewToken { user: user.id, name: "test".into(), hash, scopes, expires_at: None };
        self.store.create_token(new, person(user.id, &user.name).into()).await.expect("token");
        token.to_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("body").to_bytes().to_vec();
        let answer = Answer { status: parts.status, headers: parts.headers, body };
        documented::check(&method, &path, &answer);
        answer
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(with_token(Request::get(path), token).body(Body::empty()).expect("request")).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        let request = with_token(Request::post(path), token)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()))
            .expect("request");
        self.send(request).await
    }

    /// A signed-in browser's cookie.
    pub(crate) async fn cookie(&self, user: UserId) -> String {
        let token = format!("session-of-{user}");
        let until = now() + 3_600_000;
        let session =
            NewSession { user, hash: hash_token(&token), expires_at: until, browser: "Lynx".into() };
        self.store.create_session(session, person(user, "me").into()).await.expect("session");
        format!("holdpoint_session_80={token}")
    }

    /// A page, as a signed-in browser gets it.
    pub(crate) async fn page(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path)
            .header(header::COOKIE, cookie)
            .header(header::ACCEPT, "text/html")
            .body(Body::empty())
            .expect("request");
        self.send(request).await
    }

    /// A form, as a signed-in browser sends it.
    pub(crate) async fn form(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::post(path)
            .header(header::COOKIE, cookie)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(urlencoded(fields)))
            .expect("request");
        self.send(request).await
    }
}

fn with_token(builder: http::request::Builder, token: &str) -> http::request::Builder {
    if token.is_empty() { builder } else { builder.header(header::AUTHORIZATION, format!("Bearer {token}")) }
}

pub(crate) fn urlencoded(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect::<String>()
    };
    fields
        .iter()
        .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

/// A control plane over `store` that never runs anything.
pub(crate) fn control(store: Store, root: PathBuf, rehearsal: bool) -> Control {
    Control::new(ControlOptions {
        store,
        engine: Arc::new(NoEngine(broadcast::channel(1).0)),
        agents: seed::agents(),
        read_agents: Arc::new(|| Ok(seed::agents())),
        keep: Some(Keep::For(HumanDuration(0))),
        checkpoints: Checkpoints::local(&root.join("checkpoints")).expect("checkpoints"),
        layout: Layout::new(root),
        tokens: Tokens::new([7; 32]),
        max_sessions: 4,
        worker_url: "ws://127.0.0.1:1/worker/link".into(),
        gateway_url: "http://127.0.0.1:1".into(),
        cli: "claude".into(),
        environment: BTreeMap::new(),
        rehearsal,
        now,
    })
}

pub(crate) fn person(id: UserId, name: &str) -> Actor {
    Actor { user: Some(id), name: name.into(), channel: Channel::Browser }
}

/// The agent that tests start.
pub(crate) fn plain_agent() -> AgentDef {
    AgentDef::builtin()
}
