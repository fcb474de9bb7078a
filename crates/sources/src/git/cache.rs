//! Commits that were fetched, each a bare repository of its own.
//!
//! `git/ADDRESS/COMMIT` is made beside and then takes its name, so it is whole or not there: a fetch that was killed
//! leaves a folder that the next one sweeps away. One fetch of an address goes on at a time; its lock is held by git,
//! too, so that one whose Holdpoint was killed is not swept away while it still writes. Whoever reads a commit holds
//! its folder; what is held is not removed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use holdpoint_model::{Digest, problem::Problem};
use rustix::fs::FlockOperation;
use tokio::time::Instant;

use super::{
    environment::Access,
    run::{Call, FETCH_LIMIT, Git, LOCAL_LIMIT},
    trouble::{Cause, cause, explain, quote},
};
use crate::source::Remote;

/// Commits of an address that are kept: the newest, by when they were last used.
const KEPT: usize = 8;
/// The largest that a repository may be as it comes, in bytes.
const MAX_PACK_BYTES: u64 = 1024 * 1024 * 1024;
/// What git may write to its output when nothing is asked of it, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Between two looks whether another fetch of the address is done.
const PAUSE: Duration = Duration::from_millis(25);
/// Folders of fetches under way begin so.
const DRAFT: &str = "tmp-";

/// For names of drafts, which must differ within this process.
static DRAFTS: AtomicU64 = AtomicU64::new(0);

/// The folder of all addresses.
#[derive(Debug)]
pub(crate) struct Cache(PathBuf);

/// A commit that is there, and stays as long as this is held.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) folder: PathBuf,
    pub(crate) commit: String,
    _lock: File,
}

impl Cache {
    pub(crate) fn new(cache: &Path) -> Self {
        Self(cache.join("git"))
    }

    /// A commit, if it is there.
    pub(crate) fn have(&self, remote: &Remote, commit: &str) -> Option<Held> {
        let folder = self.place(remote).join(commit);
        let lock = File::open(&folder).ok()?;
        // Only who removes it holds it alone.
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).ok()?;
        if !folder.exists() {
            return None;
        }
        // Which are the newest, is only for tidying up.
        let _ = lock.set_modified(SystemTime::now());
        Some(Held { folder, commit: commit.to_owned(), _lock: lock })
    }

    /// A commit, fetched if it is not there. The reference is where to look for it if the server does not give
    /// commits by their number.
    pub(crate) async fn get(
        &self,
        git: &Git,
        access: &Access,
        reference: Option<&str>,
        commit: &str,
    ) -> Result<Held, Problem> {
        if let Some(held) = self.have(&access.remote, commit) {
            return Ok(held);
        }
        let place = self.place(&access.remote);
        fs::create_dir_all(&place).map_err(|error| Problem::file("make", &place, &error))?;
        let lock = self.lock(&access.remote).await?;
        // Another one may have fetched it meanwhile.
        if let Some(held) = self.have(&access.remote, commit) {
            return Ok(held);
        }
        sweep(&place).await;
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = place.join(format!("{DRAFT}{}-{number}", std::process::id()));
        let fetched = fetch(git, access, reference, commit, &draft, &lock).await;
        let kept = fetched.and_then(|()| {
            let folder = place.join(commit);
            fs::rename(&draft, &folder).map_err(|error| Problem::file("keep", &folder, &error))
        });
        if let Err(problem) = kept {
            sweep(&place).await;
            return Err(problem);
        }
        prune(&place, commit).await;
        self.have(&access.remote, commit).ok_or_else(|| {
            let why = "it was removed as soon as it was there; somebody else tidies up this folder";
            Problem::new(format!("failed to keep a commit in {}", place.display()), why)
        })
    }

    /// Removes a commit that cannot be read, so that it is fetched anew.
    pub(crate) async fn forget(&self, held: Held) -> Result<(), Problem> {
        let Held { folder, _lock, .. } = held;
        drop(_lock);
        let draft = draft_of(&folder);
        match fs::rename(&folder, &draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Problem::file("remove", &folder, &error));
            }
            _ => {}
        }
        remove(draft).await;
        Ok(())
    }

    /// The folder of an address. Two of them share nothing, as who may read one may not read the other.
    fn place(&self, remote: &Remote) -> PathBuf {
        let digest = Digest::of_bytes(remote.url.as_bytes());
        self.0.join(&digest.as_str()["sha256:".len()..][..24])
    }

    async fn lock(&self, remote: &Remote) -> Result<File, Problem> {
        let path = self.place(remote).join("lock");
        let failed = |error: &io::Error| Problem::file("lock", &path, error);
        let lock = File::options().create(true).append(true).read(true).open(&path);
        let lock = lock.map_err(|error| failed(&error))?;
        let until = Instant::now() + FETCH_LIMIT;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(lock),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let what = format!("failed to fetch {}", remote.url);
                    return Err(Problem::new(what, "another fetch of it has been going on for ten minutes")
                        .next(format!("fuser -v {}", path.display())));
                }
                Err(error) => return Err(failed(&error.into())),
            }
        }
    }
}

async fn fetch(
    git: &Git,
    access: &Access,
    reference: Option<&str>,
    commit: &str,
    draft: &Path,
    lock: &File,
) -> Result<(), Problem> {
    let url = &access.remote.url;
    let what = format!("failed to fetch {} of {url}", &commit[..12]);
    let format = if commit.len() == 64 { "sha256" } else { "sha1" };
    let run = async |arguments: Vec<OsString>, network: bool| {
        let call = Call {
            arguments,
            access: network.then_some(access),
            lock: Some(lock),
            max_bytes: MAX_BYTES,
            limit: if network { FETCH_LIMIT } else { LOCAL_LIMIT },
            watch: network.then(|| (draft.join("objects/pack"), MAX_PACK_BYTES)),
        };
        git.run(&call).await.map_err(|problem| Problem { what: what.clone(), ..problem })
    };
    let mut init: Vec<OsString> = ["init", "--quiet", "--bare", "--template="].map(OsString::from).to_vec();
    init.push(format!("--object-format={format}").into());
    init.push(draft.into());
    let made = run(init, false).await?;
    if !made.status.success() {
        return Err(explain(what.clone(), access, &made.said));
    }
    let mut own = OsString::from("--git-dir=");
    own.push(draft);
    let of_own = |arguments: &[&str]| -> Vec<OsString> {
        std::iter::once(own.clone()).chain(arguments.iter().map(OsString::from)).collect()
    };
    const FETCH: [&str; 6] = [
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--no-recurse-submodules",
    ];
    let fetched = |rest: &[&str]| of_own(&[&FETCH[..], rest].concat());

    let first = run(fetched(&["--depth=1", "--", url, commit]), true).await?;
    if !first.status.success() {
        if !matches!(cause(&first.said), Cause::NotAdvertised | Cause::NotShallow) {
            return Err(explain(what.clone(), access, &first.said));
        }
        // Old servers give what they advertise, and all of it.
        let mut wanted = vec!["--", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
        let other =
            reference.filter(|name| name.starts_with("refs/")).map(|name| format!("+{name}:refs/holdpoint"));
        wanted.extend(other.as_deref());
        let second = run(fetched(&wanted), true).await?;
        if !second.status.success() {
            return Err(explain(what.clone(), access, &second.said));
        }
    }
    let there = run(of_own(&["cat-file", "-e", &format!("{commit}^{{tree}}")]), false).await?;
    if there.status.success() {
        return Ok(());
    }
    let why = format!(
        "the repository no longer has this commit on any branch or tag: the branch was rewritten, or it is the commit \
         of another repository\n{}",
        quote(&first.said)
    );
    let next = match reference {
        Some(reference) => format!("take what {reference} is at now, by updating the lock"),
        None => "take what the branch is at now, by updating the lock".to_owned(),
    };
    Err(Problem::new(&what, why).next(next).next(format!("git ls-remote {url}")))
}

/// Removes what fetches left that did not come to their end. Whoever calls this holds the lock.
async fn sweep(place: &Path) {
    for name in names(place).into_iter().filter(|name| name.starts_with(DRAFT)) {
        remove(place.join(name)).await;
    }
}

/// Removes all but the newest commits that nobody reads, and never this one.
async fn prune(place: &Path, but: &str) {
    let mut commits: Vec<(SystemTime, PathBuf)> = names(place)
        .into_iter()
        .filter(|name| crate::revision::commit(name).is_some() && name != but)
        .map(|name| place.join(name))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    commits.sort_unstable_by(|a, b| b.cmp(a));
    for (_, folder) in commits.into_iter().skip(KEPT - 1) {
        let Ok(lock) = File::open(&folder) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        let draft = draft_of(&folder);
        if fs::rename(&folder, &draft).is_ok() {
            remove(draft).await;
        }
    }
}

fn draft_of(folder: &Path) -> PathBuf {
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    folder.with_file_name(format!("{DRAFT}{}-{number}", std::process::id()))
}

/// Removes a folder of ours. What stays because it failed is swept away by the next fetch.
async fn remove(folder: PathBuf) {
    let _ = tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await;
}

fn names(place: &Path) -> Vec<String> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
