//! Over HTTP, from git's own server program, with tokens.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use holdpoint_sources::Source;
use secrecy::SecretString;

use crate::site::{PATH, Site, anywhere};

/// What a server does with whoever asks.
#[derive(Clone)]
enum Manner {
    /// Serves everybody.
    Open,
    /// Serves whoever has this in `Authorization`.
    Wants(String),
    /// Says no, whoever it is.
    Forbids,
    /// Sends everybody elsewhere.
    Elsewhere(String),
}

struct Server {
    host: String,
    /// The `Authorization` of every request.
    seen: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    fn start(root: PathBuf, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let host = listener.local_addr().expect("address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        // Ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (root, manner, sees) = (root.clone(), manner.clone(), Arc::clone(&sees));
                std::thread::spawn(move || serve(stream, root, &manner, &sees));
            }
        });
        Self { host, seen }
    }

    fn seen(&self) -> Vec<Option<String>> {
        self.seen.lock().expect("whole").clone()
    }
}

fn serve(
    mut stream: TcpStream,
    root: PathBuf,
    manner: &Manner,
    seen: &Mutex<Vec<Option<String>>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone());
    let mut body = vec![0; header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let authorization = header("authorization");
    seen.lock().ok()?.push(authorization.clone());
    let answer = |mut stream: TcpStream, status: &str, more: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()
    };
    match manner {
        Manner::Open => {}
        Manner::Wants(wanted) if authorization.as_ref() == Some(wanted) => {}
        Manner::Wants(_) => {
            return answer(stream, "401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"");
        }
        Manner::Forbids => return answer(stream, "403 Forbidden", "", b""),
        Manner::Elsewhere(host) => {
            return answer(stream, "302 Found", &format!("Location: http://{host}{target}\r\n"), b"");
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env_clear()
        .envs([("PATH", PATH), ("GIT_HTTP_EXPORT_ALL", "1"), ("PATH_INFO", path), ("QUERY_STRING", query)])
        .env("GIT_PROJECT_ROOT", root.canonicalize().ok()?)
        .env("HOME", root)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("content-type").unwrap_or_default())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(&body).ok()?;
    let output = child.wait_with_output().ok()?.stdout;
    let end = output.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK").to_owned();
    let more: String =
        head.lines().filter(|line| !line.starts_with("Status")).map(|line| format!("{line}\r\n")).collect();
    stream.flush().ok()?;
    answer(stream, &status, &more, &output[end + 4..])
}

const TOKEN: &str = "ghp_Hunter2Hunter2Hunter2";

fn basic(text: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(text))
}

fn with_token(url: String, token: &str) -> Source {
    Source { token: Some(SecretString::from(token.to_owned())), ..Source::git(url) }
}

#[tokio::test]
async fn a_token_goes_to_its_host_and_is_kept_nowhere() {
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    let server = Server::start(site.path(""), Manner::Wants(basic(&format!("x-access-token:{TOKEN}"))));
    let url = format!("http://{}/config", server.host);
    let sources = site.sources();
    let source = with_token(url.clone(), TOKEN);
    assert_eq!(sources.look(&source).await.as_ref(), Ok(&commit));
    let fetched = sources.files(&source, &commit).await.expect("fetched");
    assert_eq!(fetched.tree.get("a").expect("there").bytes, b"1");
    assert!(!anywhere(&site.path("cache"), TOKEN));
    assert!(!anywhere(&site.path("cache"), &BASE64_STANDARD.encode(format!("x-access-token:{TOKEN}"))));

    // By the host, for addresses that bring none.
    let by_host = site.sources_with(&[], &[(&server.host, TOKEN)]);
    assert_eq!(by_host.look(&Source::git(&url)).await.as_ref(), Ok(&commit));

    let without = sources.look(&Source::git(&url)).await.expect_err("no token");
    assert!(without.why.contains("there is no token"), "{without:?}");
    assert!(without.next[0].contains("GITHUB_TOKEN"), "{without:?}");
    let wrong = sources.look(&with_token(url, "ghp_other")).await.expect_err("another");
    assert!(wrong.why.contains("refuses the token"), "{wrong:?}");
    assert!(!format!("{wrong:?}").contains("ghp_other"));
}

#[tokio::test]
async fn a_name_may_come_with_the_token() {
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    let server = Server::start(site.path(""), Manner::Wants(basic("oauth2:secret")));
    let source = with_token(format!("http://{}/config", server.host), "oauth2:secret");
    assert_eq!(site.sources().look(&source).await.as_ref(), Ok(&commit));
}

#[tokio::test]
async fn no_other_host_is_given_it() {
    let site = Site::new();
    let repository = site.repository("config");
    let commit = repository.commit(&[("a", "1")]);
    let other = Server::start(site.path(""), Manner::Open);
    let first = Server::start(site.path(""), Manner::Elsewhere(other.host.clone()));
    let source = with_token(format!("http://{}/config", first.host), TOKEN);
    let sources = site.sources();
    let problem = sources.look(&source).await.expect_err("it is elsewhere");
    assert!(problem.why.contains("is elsewhere"), "{problem:?}");
    sources.files(&source, &commit).await.expect_err("it is elsewhere");
    assert!(first.seen().iter().all(Option::is_some), "it had it: {:?}", first.seen());
    assert!(other.seen().is_empty(), "it was asked: {:?}", other.seen());

    // The user's own settings may lead elsewhere, too; git goes there, without the token.
    site.add_to_gitconfig(&format!("[url \"http://{}/\"]\ninsteadOf = http://{}/\n", other.host, first.host));
    assert_eq!(sources.look(&source).await.as_ref(), Ok(&commit));
    assert!(!other.seen().is_empty() && other.seen().iter().all(Option::is_none), "{:?}", other.seen());

    // A token of another host is none for this one.
    let third = Server::start(site.path(""), Manner::Open);
    let by_host = site.sources_with(&[], &[(&first.host, TOKEN)]);
    by_host.look(&Source::git(format!("http://{}/config", third.host))).await.expect("open");
    assert!(third.seen().iter().all(Option::is_none), "{:?}", third.seen());
}

#[tokio::test]
async fn no_and_not_there_are_told_apart() {
    let site = Site::new();
    site.repository("config").commit(&[("a", "1")]);
    let forbids = Server::start(site.path(""), Manner::Forbids);
    let problem = site.sources().look(&with_token(format!("http://{}/config", forbids.host), TOKEN)).await;
    assert!(problem.expect_err("no").why.contains("refuses the token"));
    let open = Server::start(site.path(""), Manner::Open);
    let problem = site.sources().look(&Source::git(format!("http://{}/none", open.host))).await;
    let problem = problem.expect_err("not there");
    assert!(problem.why.contains("knows no such repository"), "{problem:?}");
}

#[tokio::test]
async fn over_http_a_commit_that_is_no_tip_is_fetched_too() {
    let site = Site::new();
    let repository = site.repository("config");
    let old = repository.commit(&[("a", "1")]);
    repository.commit(&[("a", "2")]);
    let server = Server::start(site.path(""), Manner::Open);
    let source = Source::git(format!("http://{}/config", server.host));
    let fetched = site.sources().files(&source, &old).await.expect("fetched");
    assert_eq!(fetched.tree.get("a").expect("there").bytes, b"1");
}

#[tokio::test]
async fn nobody_listens() {
    let site = Site::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port();
    let problem = site.sources().look(&Source::git(format!("http://127.0.0.1:{port}/a"))).await;
    assert!(problem.expect_err("nobody").why.contains("does not answer"));
}
