//! The files of a conversation all together. Neither the kernel nor a container engine bounds them in folders
//! that are shared with the host, and a session must not fill the disk that everybody else writes to.
//!
//! To go through all files again and again would be costly. What the disk has free is cheap to ask, so files are
//! counted only when that has become noticeably less, and now and then in case somebody else made room meanwhile.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use holdpoint_beneath::{Folder, Found, Loss, Walk, walk};
use holdpoint_model::{ContainerDef, event::Problem, wire::WorkerSpec};
use rustix::fs::statvfs;
use tokio::time::Instant;
use tracing::warn;

/// How often the disk is asked.
const EVERY: Duration = Duration::from_secs(1);

/// How often files are counted although the disk has as much free as before.
const AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// Between two counts, at least so many times what the last one took.
const PAUSE: u32 = 20;

/// What a name costs, whatever is in it: names alone can fill a disk, too.
const NAME_BYTES: u64 = 4096;

/// Less free by this part of the limit is noticeable, and by this many bytes in any case.
const NOTICEABLE: (u64, u64) = (16, 64 << 20);

/// Waits until the conversation has more files than it may have. Where sessions are in no containers, for ever.
pub(crate) async fn over(spec: &WorkerSpec) -> Problem {
    if spec.bridge.is_none() {
        return std::future::pending().await;
    }
    let (roots, most) = ([spec.workspace.clone(), spec.home.clone()], spec.container.disk.0);
    let noticeable = (most / NOTICEABLE.0).min(NOTICEABLE.1);
    let mut last: Option<(u64, Instant, Duration)> = None;
    let mut had_free = None;
    loop {
        let free = free(&roots[0]);
        let had = *had_free.get_or_insert(free);
        let is_due = last.is_none_or(|(then, at, took)| {
            let waited = at.elapsed();
            waited >= took * PAUSE && (free.saturating_add(noticeable) <= then || waited >= AT_LEAST_EVERY)
        });
        if is_due {
            let (began, roots) = (Instant::now(), roots.clone());
            match tokio::task::spawn_blocking(move || count(&roots, most))
                .await
                .map_err(io::Error::other)
                .flatten()
            {
                // Of what cannot be seen it is only known that the disk has lost it.
                Ok(found) if found.bytes > most || (found.hides && had.saturating_sub(free) > most) => {
                    return problem(&spec.container);
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "failed to count the conversation's files"),
            }
            last = Some((free, Instant::now(), began.elapsed()));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn problem(def: &ContainerDef) -> Problem {
    Problem {
        code: "disk_limit".into(),
        title: format!("the conversation's files have more than {} together", def.disk),
        detail: "The session was ended, so that it does not fill the disk. Its files are still there.".into(),
        hint: "More is `container.disk` of the agent. Branch off at an earlier turn, or start the conversation again.".into(),
    }
}

fn free(folder: &Path) -> u64 {
    statvfs(folder).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    bytes: u64,
    /// There is something that cannot be looked at.
    hides: bool,
}

/// What the files below these folders take on disk. Beyond `most` it ends.
fn count(roots: &[PathBuf], most: u64) -> io::Result<Count> {
    let mut count = Count::default();
    let mut linked = HashSet::new();
    let names = usize::try_from(most / NAME_BYTES).unwrap_or(usize::MAX);
    for root in roots {
        walk(&Folder::open(root)?, names, &|_, _| true, &mut |_, found| {
            let stat = match found {
                Found::Folder(stat) | Found::Other { stat, .. } => stat,
                Found::Lost(Loss::TooMany) => {
                    count.bytes = u64::MAX;
                    return Walk::Stop;
                }
                Found::Lost(Loss::Vanished) => return Walk::Continue,
                Found::Lost(_) => {
                    count.hides = true;
                    return Walk::Continue;
                }
            };
            let blocks = u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
            let is_new = stat.st_nlink == 1 || linked.insert((stat.st_dev, stat.st_ino));
            count.bytes = count.bytes.saturating_add(NAME_BYTES + if is_new { blocks } else { 0 });
            if count.bytes > most { Walk::Stop } else { Walk::Continue }
        })?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn of(root: &Path, most: u64) -> Count {
        count(&[root.to_owned()], most).expect("count")
    }

    #[test]
    fn counts_what_is_on_disk_once() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path();
        let empty = of(root, u64::MAX).bytes;
        fs::create_dir(root.join("deep")).expect("folder");
        fs::write(root.join("deep/a"), vec![1; 1 << 20]).expect("file");
        let one = of(root, u64::MAX).bytes;
        assert!(one - empty >= 1 << 20 && one - empty < 2 << 20, "{one}");
        fs::hard_link(root.join("deep/a"), root.join("b")).expect("hard link");
        let sparse = fs::File::create(root.join("sparse")).expect("file");
        sparse.set_len(1 << 40).expect("length");
        std::os::unix::fs::symlink("/usr", root.join("link")).expect("link");
        let more = of(root, u64::MAX).bytes - one;
        assert!(more < 64 << 10, "a second name, a hole and a link cost nearly nothing: {more}");
    }

    #[test]
    fn names_alone_are_too_much_some_time() {
        let dir = tempfile::tempdir().expect("dir");
        for n in 0..40 {
            fs::write(dir.path().join(n.to_string()), "").expect("file");
        }
        assert!(of(dir.path(), 20 * NAME_BYTES).bytes > 20 * NAME_BYTES);
        assert!(of(dir.path(), 400 * NAME_BYTES).bytes < 400 * NAME_BYTES);
    }
}
