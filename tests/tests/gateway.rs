//! Budgets, the line upstream, and several upstreams, with the real CLI and models that are none.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use holdpoint_tests::{Server, Setup, check_log, of_kind};
use serde_json::{Value, json};

/// An upstream that answers every call alike, and counts.
#[derive(Clone, Default)]
struct Model {
    status: u16,
    output_tokens: u64,
    delay_ms: u64,
    asked: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Model {
    async fn serve(&self) -> anyhow::Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/v1/messages", post(answer)).with_state(self.clone());
        tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(format!("http://{address}"))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(model): State<Model>) -> Response {
    model.asked.fetch_add(1, Ordering::SeqCst);
    let now = model.at_once.fetch_add(1, Ordering::SeqCst) + 1;
    model.most_at_once.fetch_max(now, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(model.delay_ms)).await;
    model.at_once.fetch_sub(1, Ordering::SeqCst);
    if model.status != 200 {
        let status = StatusCode::from_u16(model.status).unwrap_or_default();
        let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
        return (status, [("content-type", "application/json")], error.to_string()).into_response();
    }
    let usage = json!({"input_tokens": 0, "output_tokens": 1});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [],
                         "stop_reason": null, "usage": usage});
    let events = [
        json!({"type": "message_start", "message": message}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": model.output_tokens}}),
        json!({"type": "message_stop"}),
    ];
    let body: String = events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default()))
        .collect();
    ([("content-type", "text/event-stream")], body).into_response()
}

/// A setup whose models are these, in order.
async fn setup(models: &[&Model], gateway: &str, toml: &str) -> anyhow::Result<Setup> {
    let mut upstreams = Vec::new();
    for (n, model) in models.iter().enumerate() {
        let url = model.serve().await?;
        upstreams.push(format!("{{ name = \"m{n}\", url = \"{url}\", key = {{ env = \"KEY\" }} }}"));
    }
    let toml = format!("[gateway]\nupstreams = [{}]\n{gateway}\n{toml}", upstreams.join(", "));
    Ok(Setup::default().env("KEY", "sk-test-hunter2").toml(&toml))
}

fn model(status: u16, output_tokens: u64) -> Model {
    Model { status, output_tokens, ..Model::default() }
}

async fn caution(server: &Server, id: &str, seen: &[String]) -> anyhow::Result<(String, String)> {
    let hold = server.hold(id, "reply", seen).await?;
    let text = hold["subject"]["caution"].as_str().unwrap_or_default().to_owned();
    Ok((hold["id"].as_str().unwrap_or_default().to_owned(), text))
}

fn warnings(events: &[Value]) -> Vec<(String, String)> {
    let text = |event: &Value, key: &str| event["data"][key].as_str().unwrap_or_default().to_owned();
    of_kind(events, "budget_warning")
        .iter()
        .map(|event| (text(event, "whose"), text(event, "span")))
        .collect()
}

/// $2.50 for each call, and what is set aside for one fits once more at most.
#[tokio::test]
async fn an_agents_day_ends_between_calls_and_is_raised_for_all() -> anyhow::Result<()> {
    let model = model(200, 100_000);
    let limits = |usd: f64| format!("[agents.claude.limits]\nbudget_per_day_usd = {usd}\n");
    let setup = setup(&[&model], "", &limits(3.0)).await?;
    let mut server = Server::start(setup).await?;
    let id = server.ask("claude", "first").await?;
    let (first, none) = caution(&server, &id, &[]).await?;
    assert_eq!(none, "");
    // Another conversation: $2.50 are spent, $0.20 and some are set aside.
    let other = server.ask("claude", "second").await?;
    let (second, _) = caution(&server, &other, &[]).await?;
    let third = server.ask("claude", "third").await?;
    let (held, said) = caution(&server, &third, &[]).await?;
    assert!(
        said.contains("the daily budget of the agent `claude` is used up: it is $3.00, $5.00 is spent"),
        "{said}"
    );
    assert!(
        said.contains("It begins anew at 2")
            && said.contains("`budget_per_day_usd` in [agents.claude.limits]"),
        "{said}"
    );
    assert!(said.ends_with("restart Holdpoint. Reply to try again."), "{said}");
    assert_eq!(model.asked(), 2, "nothing was asked of the model");
    for id in [&id, &other] {
        let events = server.export(id)?;
        check_log(&events)?;
        assert_eq!(warnings(&events), [("agent".to_owned(), "day".to_owned())]);
    }
    let logs = server.run(&["logs", &id])?;
    assert!(
        logs.contains("83 % of the daily budget of the agent `claude` is used: $2.50 of $3.00"),
        "{logs}"
    );

    // Raised: conversations that have begun go on.
    server.run(&["down"])?;
    server.kill()?;
    let file = server.folder().join("holdpoint.toml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("budget_per_day_usd = 3", "budget_per_day_usd = 300"))?;
    server.up().await?;
    for (id, hold) in [(&third, held), (&id, first), (&other, second)] {
        let (status, body) = server
            .post(&format!("/v1/holds/{hold}/decision"), json!({"action": "reply", "message": "go on"}))
            .await?;
        assert_eq!(status, 200, "{body}");
        let (_, said) = caution(&server, id, &[hold]).await?;
        assert_eq!(said, "");
    }
    assert_eq!(model.asked(), 5);
    Ok(())
}

#[tokio::test]
async fn a_person_has_a_budget_of_their_own() -> anyhow::Result<()> {
    let model = model(200, 100_000);
    let toml = "[agents.auto]\ncompletion = \"auto\"\n";
    let server =
        Server::start(setup(&[&model], "budget_per_person_per_month_usd = 2.6", toml).await?).await?;
    let id = server.ask("auto", "first").await?;
    server.until_status(&id, "finished").await?;
    let id = server.ask("auto", "second").await?;
    let failed = server.until_status(&id, "error").await?;
    assert_eq!(failed["error"]["code"], "budget_limit", "{failed}");
    assert_eq!(failed["error"]["title"], "the monthly budget of Tess is used up");
    let detail = failed["error"]["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("`budget_per_person_per_month_usd` in [gateway]"), "{detail}");
    assert_eq!(model.asked(), 1);
    Ok(())
}

#[tokio::test]
async fn the_next_upstream_takes_over_and_few_are_asked_at_once() -> anyhow::Result<()> {
    let overloaded = model(529, 0);
    let good = Model { delay_ms: 300, ..model(200, 10) };
    let server = Server::start(setup(&[&overloaded, &good], "concurrent_calls = 2", "").await?).await?;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(server.ask("claude", &format!("number {n}")).await?);
    }
    for id in &ids {
        let (_, said) = caution(&server, id, &[]).await?;
        assert_eq!(said, "");
        let events = server.export(id)?;
        check_log(&events)?;
        assert_eq!(of_kind(&events, "model_call").len(), 1);
        assert_eq!(of_kind(&events, "api_retry").len(), 0, "the session noticed nothing");
    }
    assert_eq!((overloaded.asked(), good.asked()), (5, 5));
    let most = good.most_at_once.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most} at once");
    assert!(!server.output().contains("hunter2"));
    Ok(())
}
