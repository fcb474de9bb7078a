//! The channels against a server that notes what it gets.

use std::time::Duration;

use holdpoint_model::{ExecutionId, Hold, HoldId, HoldKind, HoldState, NoticeId, Occasion, hold::Subject};
use holdpoint_notify::{
    Channel, Notice, Ntfy, NtfySettings, Receipt, Retry, SendError, SettingsError, SigningSecret, Waiting,
    Webhook, WebhookSettings,
};
use rstest::rstest;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

/// 2026-11-24T12:00:00Z
const NOW: i64 = 1_795_521_600_000;
const SECRET: &str = "whsec_aG9sZHBvaW50LXRlc3Qtc2VjcmV0LTMyLWJ5dGVzISE=";

fn notice(occasion: Occasion) -> Notice {
    let input = json!({"command": "git push https://u:hunter2@example.org"});
    let subject = Subject { tool: "Bash".into(), input, ..Subject::reply() };
    let hold = Hold {
        id: HoldId(Uuid::from_u128(2)),
        kind: HoldKind::Tool,
        subject,
        opened_at: NOW - 3_600_000,
        expires_at: Some(NOW + 3_600_000),
        asked_by: None,
        assigned: None,
        state: HoldState::Open,
    };
    let execution = ExecutionId(Uuid::from_u128(3));
    let waiting = Waiting::new(occasion, execution, "scribe", "Prüfen\r\nX-Evil: 1", false, &hold);
    Notice::of_hold(NoticeId(Uuid::from_u128(1)), "https://holdpoint.example/", waiting)
}

fn webhook(url: &str) -> Webhook {
    let settings = WebhookSettings { url: url.to_owned(), secret: SECRET.to_owned().into(), proxy: None };
    Webhook::new(&settings).expect("settings")
}

fn ntfy(url: &str, token: Option<&str>) -> Ntfy {
    let token = token.map(|token| SecretString::from(token.to_owned()));
    Ntfy::new(&NtfySettings { url: url.to_owned(), token, proxy: None }).expect("settings")
}

async fn server(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

async fn only_request(server: &MockServer) -> Request {
    let mut all = server.received_requests().await.expect("recorded");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Made with Python: `base64(hmac.new(b64decode(secret), b"<id>.<timestamp>.<body>", sha256).digest())`.
#[test]
fn a_signature_computed_elsewhere_is_the_same() {
    let secret = SigningSecret::parse(&SECRET.to_owned().into()).expect("a secret");
    let signature = secret.sign("0190-é", 1_700_000_000, r#"{"n":"ü"}"#);
    assert_eq!(signature, "v1,B5DSMhM5kIR1QJXcnfUu1iKqUgwMeCgXlrRJkPIK6q0=");
}

#[tokio::test]
async fn a_webhook_is_signed_json() {
    let server = server(ResponseTemplate::new(202).set_body_string("thanks\n")).await;
    let receipt = webhook(&format!("{}/hook?key=k", server.uri())).send(&notice(Occasion::Opened), NOW).await;
    assert_eq!(receipt, Ok(Receipt { status: 202, answer: "thanks".into() }));
    let request = only_request(&server).await;
    assert_eq!(
        (request.method.as_str(), request.url.path(), request.url.query()),
        ("POST", "/hook", Some("key=k"))
    );
    assert_eq!(header(&request, "content-type"), "application/json");
    assert_eq!(header(&request, "webhook-id"), Uuid::from_u128(1).to_string());
    assert_eq!(header(&request, "webhook-timestamp"), (NOW / 1000).to_string());
    let body = std::str::from_utf8(&request.body).expect("text");
    let secret = SigningSecret::parse(&SECRET.to_owned().into()).expect("a secret");
    assert_eq!(
        header(&request, "webhook-signature"),
        secret.sign(&Uuid::from_u128(1).to_string(), NOW / 1000, body)
    );
    assert!(!body.contains("hunter2"), "{body}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let hold = Uuid::from_u128(2);
    assert_eq!(
        body,
        json!({
            "type": "hold.opened",
            "timestamp": "2026-11-24T11:00:00.000Z",
            "data": {
                "hold": hold, "kind": "tool", "summary": "asks to use Bash: git",
                "execution": Uuid::from_u128(3), "agent": "scribe", "title": "Prüfen X-Evil: 1",
                "rehearsal": false, "opened_at": "2026-11-24T11:00:00.000Z",
                "expires_at": "2026-11-24T13:00:00.000Z", "url": format!("https://holdpoint.example/holds/{hold}"),
            },
        })
    );
}

/// Only the time of the try differs: the receiver sees that it is the same.
#[tokio::test]
async fn a_second_try_has_the_same_id_and_body() {
    let server = server(ResponseTemplate::new(204)).await;
    let (webhook, notice) = (webhook(&server.uri()), notice(Occasion::Reminder { lead_ms: 3_600_000 }));
    for now in [NOW, NOW + 9_000] {
        webhook.send(&notice, now).await.expect("sent");
    }
    let all = server.received_requests().await.expect("recorded");
    assert_eq!(all[0].body, all[1].body);
    assert_eq!(header(&all[0], "webhook-id"), header(&all[1], "webhook-id"));
    assert_ne!(header(&all[0], "webhook-signature"), header(&all[1], "webhook-signature"));
    let body: Value = serde_json::from_slice(&all[0].body).expect("JSON");
    assert_eq!((&body["type"], &body["data"]["before_expiry_s"]), (&json!("hold.reminder"), &json!(3600)));
    assert_eq!(body["timestamp"], "2026-11-24T12:00:00.000Z", "when it was due");
}

#[tokio::test]
async fn ntfy_gets_title_message_and_link() {
    let server = server(ResponseTemplate::new(200)).await;
    let ntfy = ntfy(&format!("{}/topic", server.uri()), Some("tk_secret\n"));
    ntfy.send(&notice(Occasion::Reminder { lead_ms: 60_000 }), NOW).await.expect("sent");
    let request = only_request(&server).await;
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/topic"));
    assert_eq!(header(&request, "title"), "=?UTF-8?B?UmVtaW5kZXI6IFByw7xmZW4gWC1FdmlsOiAx?=");
    assert_eq!(header(&request, "priority"), "high");
    assert_eq!(header(&request, "tags"), "hourglass_flowing_sand");
    assert_eq!(header(&request, "click"), format!("https://holdpoint.example/holds/{}", Uuid::from_u128(2)));
    assert_eq!(header(&request, "x-sequence-id"), Uuid::from_u128(1).to_string());
    assert_eq!(header(&request, "authorization"), "Bearer tk_secret");
    assert!(request.headers.get("x-evil").is_none());
    let body = std::str::from_utf8(&request.body).expect("text");
    assert_eq!(body, "scribe asks to use Bash: git\nUntil 2026-11-24 13:00 UTC");
    assert!(!format!("{ntfy:?}").contains("topic") && !format!("{ntfy:?}").contains("tk_secret"));
}

#[tokio::test]
async fn a_test_needs_no_hold() {
    let server = server(ResponseTemplate::new(200)).await;
    let notice = Notice::test(NoticeId(Uuid::from_u128(9)), "http://localhost:3370", NOW);
    ntfy(&server.uri(), None).send(&notice, NOW).await.expect("sent");
    let request = only_request(&server).await;
    assert!(request.headers.get("authorization").is_none());
    assert_eq!(
        (header(&request, "title"), header(&request, "click")),
        ("Holdpoint", "http://localhost:3370/")
    );
    assert_eq!(notice.to_json()["type"], "test");
}

#[rstest]
#[case::server_error(500, None, Retry::Later(None))]
#[case::bad_gateway(502, Some("7"), Retry::Later(Some(Duration::from_secs(7))))]
#[case::timeout(408, None, Retry::Later(None))]
#[case::too_many(429, Some("Tue, 24 Nov 2026 12:01:30 GMT"), Retry::Later(Some(Duration::from_secs(90))))]
#[case::in_the_past(429, Some("Tue, 24 Nov 2020 12:01:30 GMT"), Retry::Later(Some(Duration::ZERO)))]
#[case::nonsense(503, Some("soon"), Retry::Later(None))]
#[case::bad_request(400, Some("7"), Retry::Never)]
#[case::unauthorised(401, None, Retry::Never)]
#[case::gone(410, None, Retry::Never)]
#[tokio::test]
async fn the_answer_says_whether_to_try_again(
    #[case] status: u16,
    #[case] retry_after: Option<&str>,
    #[case] expected: Retry,
) {
    let mut answer = ResponseTemplate::new(status).set_body_string("why not");
    if let Some(after) = retry_after {
        answer = answer.insert_header("retry-after", after);
    }
    let server = server(answer).await;
    let error = webhook(&server.uri()).send(&notice(Occasion::Opened), NOW).await.expect_err("refused");
    assert_eq!(error.retry(), expected, "{error}");
    assert!(error.to_string().contains(&status.to_string()), "{error}");
    assert!(!error.to_string().contains("why not"), "the log is no place for what others say: {error}");
    assert!(matches!(error, SendError::Refused { answer, .. } if answer == "why not"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = server(ResponseTemplate::new(200)).await;
    let server = server(ResponseTemplate::new(308).insert_header("location", elsewhere.uri().as_str())).await;
    let error =
        ntfy(&server.uri(), Some("tk")).send(&notice(Occasion::Opened), NOW).await.expect_err("redirect");
    assert!(matches!(error, SendError::Redirected { status: 308, .. }) && error.retry() == Retry::Never);
    assert_eq!(elsewhere.received_requests().await.expect("recorded").len(), 0);
}

#[tokio::test]
async fn nobody_there_may_be_there_later() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("address").port();
    let url = format!("http://127.0.0.1:{port}/hooks/hunter2");
    let error = webhook(&url).send(&notice(Occasion::Opened), NOW).await.expect_err("nobody");
    assert_eq!(error.retry(), Retry::Later(None));
    let told = error.to_string();
    assert!(told.starts_with(&format!("reach 127.0.0.1:{port}: ")) && !told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn a_long_answer_is_cut() {
    let server = server(ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 1_000_000])).await;
    let receipt = webhook(&server.uri()).send(&notice(Occasion::Opened), NOW).await.expect("sent");
    assert!(receipt.answer.ends_with('…') && receipt.answer.chars().count() == 200);
}

#[test]
fn wrong_settings_are_refused_without_telling_secrets() {
    let secret = SecretString::from(SECRET.to_owned());
    for url in ["ftp://x/hunter2", "hunter2", "https://"] {
        let settings = WebhookSettings { url: url.into(), secret: secret.clone(), proxy: None };
        assert_eq!(Webhook::new(&settings).expect_err(url), SettingsError::Url);
    }
    let token = Some(SecretString::from("hunter2\nx".to_owned()));
    let settings = NtfySettings { url: "https://ntfy.example/t".into(), token, proxy: None };
    let error = Ntfy::new(&settings).expect_err("a token");
    assert!(error == SettingsError::Token && !error.to_string().contains("hunter2"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}
