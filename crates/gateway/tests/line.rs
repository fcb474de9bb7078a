//! The line in front of the upstream, over HTTP: who goes away leaves it, and nobody pays for that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use holdpoint_gateway::{
    Call, Gateway, MemoryRecorder, Rates, Reply, Ticket, Tickets, TicketsError, Upstream, UpstreamError,
    router, testing::TestTickets,
};
use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;

/// Sessions that no script answers.
struct Live;

impl Tickets for Live {
    fn check<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Ticket>, TicketsError>> {
        let execution = TestTickets::execution(token);
        let ticket = Ticket { execution, incarnation: 1, rehearsal_script: None, place: String::new() };
        std::future::ready(Ok(Some(ticket))).boxed()
    }
}

/// Answers when it is let.
struct Gated {
    may_answer: Semaphore,
    asked: AtomicUsize,
}

impl Upstream for Gated {
    fn send(&self, _: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if let Ok(permit) = self.may_answer.acquire().await {
                permit.forget();
            }
            let message = json!({"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "text", "text": "hi"}],
                                 "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}});
            Ok(Reply::json(StatusCode::OK, &message))
        }
        .boxed()
    }
}

async fn until(what: impl Fn() -> bool) {
    for _ in 0..500 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for too long");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_line_and_pays_nothing() -> anyhow::Result<()> {
    let upstream = Arc::new(Gated { may_answer: Semaphore::new(0), asked: AtomicUsize::new(0) });
    let recorder = MemoryRecorder::new();
    let rates = Rates { concurrent_calls: Some(1), calls_per_minute: None };
    let gateway =
        Gateway::new(Arc::new(Live), Arc::new(recorder.clone()), upstream.clone()).with_rates(rates);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1/messages", listener.local_addr()?);
    let server = tokio::spawn(async move { axum::serve(listener, router(gateway)).await });

    let ask = |token: &'static str| {
        let body = json!({"model": "m", "max_tokens": 1, "tools": [{"name": "Bash"}], "messages": [{"role": "user", "content": token}]});
        let request = reqwest::Client::new().post(&url).header("x-api-key", token).body(body.to_string());
        tokio::spawn(async move { anyhow::Ok(request.send().await?.status()) })
    };
    let first = ask("first");
    until(|| upstream.asked.load(Ordering::SeqCst) == 1).await;
    let gone = ask("gone");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let last = ask("last");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(recorder.calls().len(), 1, "waiting is no call");
    gone.abort();
    tokio::time::sleep(Duration::from_millis(200)).await;
    upstream.may_answer.add_permits(3);
    assert_eq!((first.await??, last.await??), (StatusCode::OK, StatusCode::OK));
    assert_eq!(upstream.asked.load(Ordering::SeqCst), 2, "nothing was asked for the one that went away");
    assert_eq!(recorder.calls().len(), 2);
    server.abort();
    Ok(())
}
