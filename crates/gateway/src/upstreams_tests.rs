use std::sync::Mutex;

use bytes::Bytes;
use http::Method;
use rstest::rstest;
use uuid::Uuid;

use super::*;
use crate::{thread::Thread, wire::Request};

fn reply(status: u16, retry_after: Option<&str>) -> Result<Reply, UpstreamError> {
    let status = StatusCode::from_u16(status).expect("status");
    let mut reply = Reply::json(status, &serde_json::json!({}));
    if let Some(value) = retry_after {
        reply.headers.insert(RETRY_AFTER, value.parse().expect("header"));
    }
    Ok(reply)
}

#[rstest]
#[case::good(reply(200, None), Verdict::Take)]
#[case::our_mistake(reply(400, None), Verdict::Take)]
#[case::no_key(reply(401, Some("1")), Verdict::Take)]
#[case::busy(reply(429, None), Verdict::Soon(Duration::ZERO))]
#[case::busy_for_a_moment(reply(429, Some("5")), Verdict::Soon(Duration::from_secs(5)))]
#[case::busy_for_long(reply(429, Some("60")), Verdict::Elsewhere(Duration::from_secs(60)))]
#[case::a_date(reply(429, Some("Wed, 21 Oct 2026 07:28:00 GMT")), Verdict::Soon(Duration::ZERO))]
#[case::broken(reply(500, None), Verdict::Elsewhere(Duration::ZERO))]
#[case::overloaded(reply(529, Some("3")), Verdict::Elsewhere(Duration::from_secs(3)))]
#[case::a_proxy_gave_up(reply(504, None), Verdict::Take)]
#[case::no_connection(Err(UpstreamError::Unreachable("refused".into())), Verdict::Elsewhere(Duration::ZERO))]
#[case::may_have_been_paid(Err(UpstreamError::Broken("reset".into())), Verdict::Take)]
fn only_what_produced_nothing_is_sent_again(
    #[case] outcome: Result<Reply, UpstreamError>,
    #[case] expected: Verdict,
) {
    assert_eq!(verdict(&outcome), expected);
}

#[test]
fn an_upstream_may_say_that_trying_again_is_of_no_use() {
    let mut refused = reply(529, None).expect("a reply");
    refused.headers.insert("x-should-retry", "false".parse().expect("header"));
    assert_eq!(verdict(&Ok(refused)), Verdict::Take);
}

/// Answers with what it was given, in order, and then with 200.
#[derive(Default)]
struct Scripted {
    outcomes: Mutex<Vec<Result<Reply, UpstreamError>>>,
    asked: Mutex<u32>,
}

impl Upstream for Scripted {
    fn send(&self, _: Call) -> BoxFuture<'_, Result<Reply, UpstreamError>> {
        *self.asked.lock().expect("lock") += 1;
        let mut outcomes = self.outcomes.lock().expect("lock");
        let outcome = if outcomes.is_empty() { reply(200, None) } else { outcomes.remove(0) };
        std::future::ready(outcome).boxed()
    }
}

fn route(models: &str, outcomes: Vec<Result<Reply, UpstreamError>>) -> (Route, Arc<Scripted>) {
    let scripted = Arc::new(Scripted { outcomes: Mutex::new(outcomes), asked: Mutex::default() });
    let models = vec![ModelPattern::new(models).expect("pattern")];
    (Route { name: "one".into(), models, upstream: scripted.clone() }, scripted)
}

async fn send(routes: Vec<Route>, model: &str) -> Result<Reply, UpstreamError> {
    let request = Request { model: Some(model.into()), ..Request::default() };
    let call = Call {
        method: Method::POST,
        path: "/v1/messages".into(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        request: Arc::new(request),
        execution: holdpoint_model::ExecutionId(Uuid::nil()),
        incarnation: 1,
        thread: Thread::Main,
        script: None,
        place: String::new(),
    };
    Upstreams::new(routes).send(call).await
}

fn asked(scripted: &Scripted) -> u32 {
    *scripted.asked.lock().expect("lock")
}

fn down() -> Result<Reply, UpstreamError> {
    Err(UpstreamError::Unreachable("refused".into()))
}

#[tokio::test(start_paused = true)]
async fn the_model_chooses_and_order_decides() {
    let ((haiku, asked_haiku), (all, asked_all)) =
        (route("claude-haiku-*", vec![]), route("claude-*", vec![]));
    assert_eq!(send(vec![haiku, all], "claude-opus-5").await.expect("a reply").status, StatusCode::OK);
    assert_eq!((asked(&asked_haiku), asked(&asked_all)), (0, 1));
    let refused = send(vec![route("claude-*", vec![]).0], "gpt").await.expect("a reply");
    assert_eq!(refused.status, StatusCode::NOT_FOUND);
}

#[rstest]
#[case::no_connection(down(), true)]
#[case::overloaded(reply(529, None), true)]
#[case::busy_for_long(reply(429, Some("120")), true)]
#[case::busy_for_a_moment(reply(429, Some("1")), false)]
#[case::may_have_been_paid(Err(UpstreamError::Broken("reset".into())), false)]
#[tokio::test(start_paused = true)]
async fn the_next_one_takes_over_only_when_nothing_was_produced(
    #[case] first: Result<Reply, UpstreamError>,
    #[case] taken_over: bool,
) {
    let ((one, _), (other, asked_other)) = (route("*", vec![first]), route("*", vec![]));
    let _ = send(vec![one, other], "m").await;
    assert_eq!(asked(&asked_other) == 1, taken_over);
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_and_honour_what_is_asked() {
    let begun = Instant::now();
    let (one, asked_one) = route("*", (0..20).map(|_| down()).collect());
    assert!(send(vec![one], "m").await.is_err());
    assert_eq!(asked(&asked_one) as usize, 1 + RETRIES);
    assert!(begun.elapsed() <= RETRY_PATIENCE);

    let begun = Instant::now();
    let (one, asked_one) = route("*", vec![reply(429, Some("7"))]);
    assert_eq!(send(vec![one], "m").await.expect("a reply").status, StatusCode::OK);
    assert_eq!(asked(&asked_one), 2);
    assert!(begun.elapsed() >= Duration::from_secs(7));

    // Longer than we wait: the session is told, and comes back by itself.
    let begun = Instant::now();
    let (one, asked_one) = route("*", vec![reply(529, Some("300"))]);
    let told = send(vec![one], "m").await.expect("a reply");
    assert_eq!((told.status.as_u16(), asked(&asked_one)), (529, 1));
    assert_eq!(told.headers.get(RETRY_AFTER).map(|value| value.to_str().expect("text")), Some("300"));
    assert!(begun.elapsed() < Duration::from_secs(1));
}
