mod hostile;
mod trees;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use holdpoint_model::{
    Actor, AgentDef, Command, Execution, ExecutionId, SessionId, command::Gone, event::Created,
};
use holdpoint_store::{CreateOutcome, Store, StoreOptions};
use uuid::Uuid;

use super::*;
use crate::{data::DataDir, failure::Failure, term::Term};

/// A data folder with two conversations, of which one is not over.
struct World {
    dir: tempfile::TempDir,
    data: DataDir,
    going: ExecutionId,
    over: ExecutionId,
}

async fn start(store: &Store) -> ExecutionId {
    let id = ExecutionId(Uuid::now_v7());
    let created = Created {
        agent: "claude".into(),
        definition: AgentDef::builtin(),
        title: "t".into(),
        owner: Actor::system("test"),
        session: SessionId(Uuid::now_v7()),
        inputs: BTreeMap::new(),
        rehearsal: true,
        forked_from: None,
        release: None,
    };
    let outcome = store.create(id, created, "do it".into(), vec![], None).await.expect("create");
    assert!(matches!(outcome, CreateOutcome::New(_)));
    id
}

async fn known(store: &Store, id: ExecutionId) -> Execution {
    (*store.execution(id).await.expect("read").expect("known")).clone()
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::at(dir.path().canonicalize().expect("path").join("data"));
        data.create().expect("create");
        let store = Store::open(&data.database(), StoreOptions::default()).await.expect("store");
        let (going, over) = (start(&store).await, start(&store).await);
        let worker = Command::StartWorker { engine: "process".into(), reason: "test".into() };
        store.apply(going, worker).await.expect("start");
        store.apply(going, Command::WorkerGone { incarnation: 1, how: Gone::Parked }).await.expect("parked");
        store.apply(over, Command::Cancel { by: Actor::system("test") }).await.expect("cancel");
        store.close().await;
        let world = Self { dir, data, going, over };
        world.put("secret", b"0123456789");
        world.put("control.json", b"{}");
        world.put("lock", b"1");
        world.put("cli/2.1/claude", b"half a gigabyte");
        world.put(".probe-1", b"");
        world.put("checkpoints/blobs/ab", b"blob");
        for id in [going, over] {
            for (name, content) in [("workspace/a.txt", &b"text"[..]), ("home/.claude/t.jsonl", b"{}\n")] {
                world.put(&format!("executions/{id}/{name}"), content);
            }
            for number in [1, 2] {
                world.put(&format!("executions/{id}/run/{number}/journal.jsonl"), b"{}\n");
            }
        }
        // Of an execution that the database does not know.
        world.put(&format!("executions/{}/workspace/late", Uuid::now_v7()), b"late");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.root().join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("folders");
        fs::write(path, content).expect("file");
    }

    fn tar(&self) -> PathBuf {
        self.dir.path().join("backup.tar")
    }

    async fn back_up(&self) -> Written {
        let to = Destination::File(self.tar());
        write(&self.data, to, Term::default(), Stop::default()).await.expect("backup")
    }

    async fn restore_to(&self, name: &str) -> anyhow::Result<Restored> {
        let data = DataDir::at(self.dir.path().canonicalize().expect("path").join(name));
        restore(&self.tar(), &data, Term::default(), Stop::default()).await
    }
}

/// What is below a folder: path, mode, and content or the target of the link.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    fn walk(root: &Path, at: &Path, all: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
        let mut names: Vec<_> = fs::read_dir(at).expect("read").flatten().map(|entry| entry.path()).collect();
        names.sort();
        for path in names {
            let meta = fs::symlink_metadata(&path).expect("meta");
            let content = match () {
                () if meta.is_symlink() => {
                    fs::read_link(&path).expect("link").into_os_string().into_encoded_bytes()
                }
                () if meta.is_file() => fs::read(&path).expect("file"),
                () => Vec::new(),
            };
            all.insert(
                path.strip_prefix(root).expect("below").to_owned(),
                (meta.permissions().mode(), content),
            );
            if meta.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

fn failure(outcome: anyhow::Result<Restored>) -> Failure {
    let error = outcome.expect_err("refused");
    error.downcast_ref::<Failure>().unwrap_or_else(|| panic!("{error:#}")).clone()
}

#[tokio::test]
async fn what_belongs_comes_back_as_it_was() {
    let world = World::new().await;
    let going = format!("executions/{}", world.going);
    // Longer than a header of the archive has room for, with what a list of checksums has to escape.
    let long = format!("{going}/workspace/{}/line\nbreak \\ ünïcode", "deep/".repeat(40));
    world.put(&long, b"long");
    world.put(&format!("{going}/workspace/empty"), b"");
    world.put(&format!("{going}/workspace/large"), &vec![7; 9 * 1024 * 1024]);
    world.put(&format!("{going}/run/1/worker.log"), &vec![b'x'; 1024 * 1024 + 1]);
    let odd = world.path(&format!("{going}/workspace")).join(std::ffi::OsStr::new("bytes"));
    fs::write(&odd, "x").expect("file");
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o751)).expect("mode");
    let closed = world.path(&format!("{going}/workspace/closed"));
    fs::create_dir(&closed).expect("folder");
    fs::write(closed.join("file"), "x").expect("file");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).expect("mode");
    for (name, target) in [("python", "/usr/bin/python3"), ("up", "../../.."), ("dangling", "nowhere")] {
        symlink(target, world.path(&format!("{going}/workspace/{name}"))).expect("link");
    }
    symlink("/etc", world.path("checkpoints/link")).expect("link");
    let _socket = UnixListener::bind(world.path(&format!("{going}/home/s"))).expect("socket");

    let written = world.back_up().await;
    assert!(written.damaged.is_empty(), "{:?}", written.damaged);
    assert_eq!(fs::metadata(world.tar()).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!((written.manifest.conversations(), written.manifest.going_on), (2, 1));
    let checked = check(&world.tar(), Term::default(), Stop::default()).expect("whole");
    assert_eq!((checked.files, checked.bytes), (written.files, written.bytes));
    assert_eq!(checked.manifest, written.manifest);

    let restored = world.restore_to("restored").await.expect("restored");
    assert!(!restored.can_go_on(), "it is somewhere else now");
    let mut expected = tree(world.data.root());
    let is_left_out = |path: &Path| {
        let text = path.to_string_lossy();
        let known = [world.going, world.over].iter().any(|id| text.starts_with(&format!("executions/{id}")));
        text == "control.json"
            || text == "lock"
            || text.starts_with("cli")
            || text.starts_with("cache")
            || text == ".probe-1"
            || text == "checkpoints/link"
            || text.starts_with("holdpoint.db")
            || text.starts_with(&format!("{going}/run/2"))
            || text == format!("{going}/run/1/worker.log")
            || text == format!("{going}/home/s")
            || (text.starts_with("executions/") && !known)
    };
    expected.retain(|path, _| !is_left_out(path));
    let mut found = tree(&restored.root);
    found.retain(|path, _| !path.to_string_lossy().starts_with("holdpoint.db"));
    assert_eq!(found, expected);

    let data = DataDir::at(restored.root.clone());
    let store = Store::open(&data.database(), StoreOptions::default()).await.expect("store");
    assert_eq!(known(&store, world.going).await.incarnation, 1);
    assert!(known(&store, world.over).await.status.is_final());
    store.close().await;
    assert_eq!(fs::metadata(data.database()).expect("there").permissions().mode() & 0o777, 0o600);
    // The second time to the folder it was made of, once that is out of the way.
    fs::rename(world.data.root(), world.dir.path().join("before")).expect("away");
    assert!(world.restore_to("data").await.expect("restored").can_go_on());
}

#[tokio::test]
async fn a_folder_that_is_in_use_is_not_written_over() {
    let world = World::new().await;
    world.back_up().await;
    let before = tree(world.data.root());
    let told = failure(world.restore_to("data").await);
    assert!(told.why.contains("not empty") && told.next.iter().any(|next| next.contains("mv ")), "{told}");
    assert_eq!(tree(world.data.root()), before);
    fs::write(world.dir.path().join("file"), "").expect("file");
    assert!(failure(world.restore_to("file").await).why.contains("not a folder"));
    let inside = Destination::File(world.path("backup.tar"));
    let error = write(&world.data, inside, Term::default(), Stop::default()).await.expect_err("inside");
    assert!(error.to_string().contains("is in the data folder itself"), "{error}");
    fs::create_dir(world.dir.path().join("empty")).expect("folder");
    world.restore_to("empty").await.expect("an empty one will do");
    world.restore_to("new/deeper").await.expect("and one that is not there");
}

/// Nothing is left behind by what failed, and nothing was used.
fn nothing_new(world: &World) {
    let names: Vec<String> = fs::read_dir(world.dir.path())
        .expect("read")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "data" && name != "backup.tar")
        .collect();
    assert_eq!(names, [] as [&str; 0]);
}

#[tokio::test]
async fn any_byte_that_is_not_what_was_written_is_found() {
    let world = World::new().await;
    world.back_up().await;
    let sound = fs::read(world.tar()).expect("read");
    // Odd, so that every place in a block is hit.
    let step = 397;
    let look = |bytes: &[u8]| {
        fs::write(world.tar(), bytes).expect("write");
        check(&world.tar(), Term::default(), Stop::default())
    };
    for at in (0..sound.len()).step_by(step) {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x10;
        assert!(look(&bytes).is_err(), "byte {at} of {}", sound.len());
    }
    for size in (0..sound.len()).step_by(step) {
        assert!(look(&sound[..size]).is_err(), "cut after {size} of {}", sound.len());
    }
    // The one that was hit is named, and nothing of it is restored.
    let text = b"{\"t\":1}\n";
    world.put(&format!("executions/{}/home/.claude/named.jsonl", world.over), text);
    world.back_up().await;
    let mut bytes = fs::read(world.tar()).expect("read");
    let at = bytes.windows(text.len()).position(|window| window == text).expect("in it");
    bytes[at + 5] = b'2';
    fs::write(world.tar(), &bytes).expect("write");
    let told = failure(world.restore_to("restored").await).to_string();
    assert!(
        told.contains(&format!("{}/home/.claude/named.jsonl is not what was written", world.over)),
        "{told}"
    );
    nothing_new(&world);
}

#[tokio::test]
async fn what_is_no_backup_or_of_a_newer_holdpoint_is_told_apart() {
    let world = World::new().await;
    let told = failure(world.restore_to("restored").await);
    assert_eq!(told.exit, crate::failure::Exit::NotFound);
    fs::write(world.tar(), "not a backup at all").expect("write");
    assert!(failure(world.restore_to("restored").await).what.contains("is no backup"));
    world.back_up().await;
    let mut bytes = fs::read(world.tar()).expect("read");
    let text = b"\"format\": 1";
    let at = bytes.windows(text.len()).position(|window| window == text).expect("in it");
    bytes[at + text.len() - 1] = b'2';
    fs::write(world.tar(), &bytes).expect("write");
    let told = failure(world.restore_to("restored").await).to_string();
    assert!(told.contains("a newer Holdpoint made this backup") && told.contains("form 2"), "{told}");
    let nothing = DataDir::at(world.dir.path().join("nothing"));
    let to = Destination::File(world.tar());
    let error = write(&nothing, to, Term::default(), Stop::default()).await.expect_err("nothing");
    assert!(error.to_string().contains("nothing to back up"), "{error}");
    // Told to stop, nothing stays of it.
    let stop = Stop::default();
    stop.stop();
    let to = Destination::File(world.dir.path().join("stopped.tar"));
    assert!(write(&world.data, to, Term::default(), stop).await.is_err());
    nothing_new(&world);
}
