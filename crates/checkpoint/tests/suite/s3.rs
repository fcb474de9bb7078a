//! The same against an S3 server, not a model of one: moto's, which is a Python package.
//!
//! `cargo xtask` installs it below the target folder:
//! `python3 -m pip install --target target/test-tools/moto 'moto[server]==5.2.5'`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use holdpoint_checkpoint::{Checkpoints, GRACE, Matching, OpenError, S3Settings, Sweep, Tree};

use crate::support::*;

/// Where moto is installed, instead of the usual place.
const MOTO: &str = "HOLDPOINT_TEST_MOTO";

/// Set to the reason why these tests cannot run on this machine, by whoever found out (no Python).
const NOT_HERE: &str = "HOLDPOINT_TEST_NO_S3";

const BUCKET: &str = "checkpoints";

struct Server {
    process: Child,
    endpoint: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// `None` only if somebody said why not.
    fn start() -> Option<Self> {
        if let Some(why) = std::env::var_os(NOT_HERE) {
            println!("not run: {}", why.display());
            return None;
        }
        let moto = std::env::var_os(MOTO).map_or_else(usual_place, PathBuf::from);
        assert!(
            moto.join("moto").is_dir(),
            "there is no S3 server in {}: `cargo xtask tools` installs one; where there is no Python, set {NOT_HERE} to that reason",
            moto.display()
        );
        let mut process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONPATH", moto)
            .env("PYTHONUNBUFFERED", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut lines = BufReader::new(process.stderr.take().expect("its output")).lines();
        let endpoint =
            lines.by_ref().find_map(|line| Some(line.ok()?.split_once("Running on ")?.1.trim().to_owned()));
        // It must not stop because nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        let server = Self { process, endpoint: endpoint.expect("it says where it listens") };
        server.make_bucket();
        Some(server)
    }

    /// The one request that this crate never makes.
    fn make_bucket(&self) {
        let address = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("connect");
        write!(
            stream,
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .expect("request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn store(&self, prefix: &str) -> Checkpoints {
        let settings = S3Settings {
            endpoint: Some(self.endpoint.clone()),
            bucket: BUCKET.into(),
            prefix: prefix.into(),
            region: "us-east-1".into(),
            key_id: "key".into(),
            secret: "secret".into(),
        };
        Checkpoints::s3(&settings).expect("store")
    }
}

/// `<target>/test-tools/moto`; this test is in `<target>/<profile>/deps`.
fn usual_place() -> PathBuf {
    let own = std::env::current_exe().expect("this test");
    own.ancestors().nth(3).expect("a target folder").join("test-tools/moto")
}

#[tokio::test]
async fn everything_works_in_a_bucket_as_in_a_folder() {
    let Some(server) = Server::start() else { return };
    let mut bench = Bench::new();
    bench.store = server.store("some/prefix");
    bench.store.probe().await.expect("probe");
    let mut dice = Dice(5);
    for n in 0..30 {
        bench.put(&format!("src/{n}"), dice.content(5_000));
    }
    bench.put("large", dice.content(9 << 20));
    bench.put("100% odd \u{e9}", "x");
    let first = bench.take(1).await;
    assert_eq!((first.files_read, first.blobs_written), (32, 10));
    let before = read(&bench.workspace());
    bench.put("src/3", "changed");
    let second = bench.take(2).await;
    assert_eq!((second.files_read, second.blobs_written), (1, 1));

    let workspace = bench.workspace();
    let to = [("workspace", workspace.as_path())];
    bench.store.restore(&first.manifest, &to).await.expect("restore");
    assert_eq!(read(&workspace), before);
    assert_eq!(bench.store.matches(&first.manifest, &to).await.expect("match"), Matching::Same);
    let newest = bench.store.newest_whole(EXECUTION).await.expect("newest");
    assert_eq!(
        (newest.manifest.map(|found| found.id()), newest.skipped.len()),
        (Some(second.manifest.id()), 0)
    );
    assert_eq!(bench.store.executions().await.expect("executions"), [EXECUTION]);
    let listed = bench.store.list(EXECUTION).await.expect("list");
    assert_eq!(listed.iter().map(|listed| listed.seq).collect::<Vec<_>>(), [1, 2]);

    // A second place in the same bucket knows nothing of it.
    assert!(server.store("other").executions().await.expect("executions").is_empty());

    // Into a folder and back.
    let folder = Checkpoints::local(&bench.path("copy")).expect("folder");
    bench.store.copy_to(&folder, &second.manifest).await.expect("copy");
    assert_eq!(folder.verify(&second.manifest).await.expect("verify"), vec![]);
    folder.copy_to(&server.store("back"), &second.manifest).await.expect("copy");
    let back = server.store("back").newest_whole(EXECUTION).await.expect("newest");
    assert_eq!(back.manifest.map(|found| found.id()), Some(second.manifest.id()));

    // And away with the second.
    bench.store.delete(EXECUTION, second.manifest.id()).await.expect("delete");
    let grace = u64::try_from(GRACE.as_millis()).expect("ms");
    let then = now_ms() + grace + 60_000;
    assert_eq!(bench.store.sweep(then, Sweep::Now).await.expect("sweep").condemned, 1);
    assert_eq!(bench.store.verify(&second.manifest).await.expect("verify"), vec![], "not yet gone");
    assert_eq!(bench.store.sweep(then + grace, Sweep::Now).await.expect("sweep").destroyed, 1);
    assert_eq!(bench.store.verify(&second.manifest).await.expect("verify").len(), 1);
    assert_eq!(bench.store.verify(&first.manifest).await.expect("verify"), vec![]);
}

#[tokio::test]
async fn a_server_that_is_away_tears_no_checkpoint() {
    let Some(server) = Server::start() else { return };
    let mut bench = Bench::with(&[("a", "1")]);
    bench.store = server.store("");
    let manifest = bench.take(1).await.manifest;
    // A bucket that is not there is no empty one.
    let settings = S3Settings {
        endpoint: Some(server.endpoint.clone()),
        bucket: "elsewhere".into(),
        prefix: String::new(),
        region: "us-east-1".into(),
        key_id: "key".into(),
        secret: "secret".into(),
    };
    let elsewhere = Checkpoints::s3(&settings).expect("store");
    elsewhere.probe().await.expect_err("no such bucket");
    elsewhere.newest_whole(EXECUTION).await.expect_err("nor an empty one");
    let workspace = bench.workspace();
    let tree = Tree { name: "workspace", path: &workspace, exclude: &[] };
    assert!(elsewhere.take(&[tree], facts(1)).await.is_err());
    drop(server);
    let begun = std::time::Instant::now();
    bench.store.newest_whole(EXECUTION).await.expect_err("not `none is whole`");
    let to = bench.path("to");
    bench.store.restore(&manifest, &[("workspace", &to)]).await.expect_err("away");
    assert!(!fs::exists(&to).expect("look"), "nothing half restored");
    println!("given up after {:?}", begun.elapsed() / 2);
}

#[test]
fn nothing_is_sent_unencrypted_to_another_machine() {
    let settings = S3Settings {
        endpoint: Some("http://storage.example.org".into()),
        bucket: "b".into(),
        prefix: String::new(),
        region: "us-east-1".into(),
        key_id: "key".into(),
        secret: "secret".into(),
    };
    assert!(matches!(Checkpoints::s3(&settings), Err(OpenError::NotEncrypted(_))));
}
