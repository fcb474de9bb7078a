//! The files of a commit, read out of git's own store: nothing is ever checked out.

use std::ffi::OsString;

use holdpoint_model::{problem::Problem, tree::Tree};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use super::{
    cache::Held,
    run::{Call, Git, LOCAL_LIMIT},
    trouble::quote,
};
use crate::tree::{Gathered, MAX_FILES, too_many};

/// The most that a list of files may have, in bytes: all files that there may be, each with a long path.
const MAX_LIST_BYTES: usize = MAX_FILES * 400;
/// The longest line that says what comes next, in bytes.
const MAX_HEAD_BYTES: u64 = 200;

/// Why a commit could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// What is in the cache is damaged: it is to be fetched anew.
    Damaged(String),
    /// It would be the same again.
    Problem(Problem),
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// A file of a commit, as `git ls-tree -l` lists it.
#[derive(Debug, PartialEq, Eq)]
struct Entry<'a> {
    mode: &'a str,
    id: &'a str,
    /// None for what is no file.
    bytes: Option<u64>,
    path: &'a [u8],
}

/// The files of a commit, or of a folder in it, and what is left out of them.
pub(crate) async fn read(
    git: &Git,
    held: &Held,
    folder: Option<&str>,
    of: &str,
) -> Result<(Tree, Vec<String>), Unread> {
    let mut own = OsString::from("--git-dir=");
    own.push(&held.folder);
    let list = list(git, &own, held, folder, of).await?;
    let mut gathered = Gathered::default();
    let mut wanted = Vec::new();
    for line in list.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let entry = parse(line).ok_or_else(|| Unread::Damaged("git lists files in another way".into()))?;
        let Some(path) = gathered.takes(entry.path) else { continue };
        match (entry.mode, entry.bytes) {
            ("100644" | "100755" | "100664", Some(bytes)) => {
                gathered.expect(of, &path, bytes)?;
                wanted.push((path, entry.mode == "100755", entry.id.to_owned(), bytes));
            }
            ("120000", _) => {
                gathered.left_out(&path, "it is a link, and none is followed; put the file itself there");
            }
            ("160000", _) => {
                gathered.left_out(
                    &path,
                    "it is a submodule, and none is fetched; put the files themselves there",
                );
            }
            (mode, _) => gathered.left_out(&path, &format!("it is no file (mode {mode})")),
        }
    }
    content(git, own, wanted, &mut gathered).await?;
    Ok(gathered.done())
}

async fn list(
    git: &Git,
    own: &OsString,
    held: &Held,
    folder: Option<&str>,
    of: &str,
) -> Result<Vec<u8>, Unread> {
    let what =
        folder.map_or_else(|| format!("{}:", held.commit), |folder| format!("{}:{folder}", held.commit));
    let arguments = [own.clone()].into_iter();
    let arguments = arguments.chain(["ls-tree", "-r", "-l", "-z", "--full-tree", &what].map(OsString::from));
    let call = Call {
        arguments: arguments.collect(),
        max_bytes: MAX_LIST_BYTES,
        limit: LOCAL_LIMIT,
        ..Call::default()
    };
    let ended = git.run(&call).await.map_err(|problem| match problem.why.starts_with("it wrote more") {
        true => too_many(of),
        false => problem,
    })?;
    if ended.status.success() {
        return Ok(ended.out);
    }
    let said = &ended.said;
    match folder {
        Some(folder) if said.contains("Not a valid object name") || said.contains("not a tree object") => {
            let commit = &held.commit[..12];
            let why = format!("there is no such folder at commit {commit}");
            Err(Problem::new(format!("failed to find the folder {folder:?} in {of}"), why).into())
        }
        _ => Err(Unread::Damaged(quote(said))),
    }
}

/// `MODE TYPE ID SIZE<tab>PATH`.
fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&line[..tab]).ok()?.split_ascii_whitespace();
    let (mode, _, id, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some(Entry { mode, id, bytes: size.parse().ok(), path: &line[tab + 1..] })
}

/// Reads the content of files; git is asked for one after the other, and answers in that order.
async fn content(
    git: &Git,
    own: OsString,
    wanted: Vec<(String, bool, String, u64)>,
    gathered: &mut Gathered,
) -> Result<(), Unread> {
    if wanted.is_empty() {
        return Ok(());
    }
    let mut running = git.start(&[own, "cat-file".into(), "--batch".into(), "--buffer".into()]).await?;
    let Some((mut stdin, stdout)) = running.pipes() else {
        return Err(Unread::Damaged("git has no pipes".into()));
    };
    let ids: String = wanted.iter().map(|(_, _, id, _)| format!("{id}\n")).collect();
    let asking = async move {
        // If it ends early, what it did not answer says so.
        let _ = stdin.write_all(ids.as_bytes()).await;
        drop(stdin);
    };
    let reading = async {
        let mut stdout = BufReader::new(stdout);
        for (path, executable, id, bytes) in wanted {
            let mut head = String::new();
            let mut limited = (&mut stdout).take(MAX_HEAD_BYTES);
            let read = limited.read_line(&mut head).await;
            if read.is_err() || head.trim_end() != format!("{id} blob {bytes}") {
                return Err(Unread::Damaged(format!("git says {:?} of the file `{path}`", head.trim_end())));
            }
            let mut content = vec![0; usize::try_from(bytes).unwrap_or_default()];
            let whole = stdout.read_exact(&mut content).await.is_ok() && stdout.read_u8().await.is_ok();
            if !whole {
                return Err(Unread::Damaged(format!("the file `{path}` is cut short")));
            }
            gathered.file(&path, executable, content);
        }
        Ok(())
    };
    let both = async { tokio::join!(asking, reading).1 };
    let read = tokio::time::timeout(LOCAL_LIMIT, both).await.map_err(|_| {
        let why = format!("it took longer than {} s", LOCAL_LIMIT.as_secs());
        Unread::Problem(Problem::new("failed to run git cat-file", why))
    })?;
    if let Err(Unread::Damaged(why)) = read {
        let ended = tokio::time::timeout(LOCAL_LIMIT, running.end()).await;
        let said = ended.ok().and_then(Result::ok).map(|(_, said)| quote(&said));
        return Err(Unread::Damaged(format!("{why}; {}", said.unwrap_or_default())));
    }
    read?;
    let _ = tokio::time::timeout(LOCAL_LIMIT, running.end()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whatever_a_path_has_in_it() {
        let entry = parse(b"100644 blob abc     12\ta\tb\nc").expect("an entry");
        assert_eq!(entry, Entry { mode: "100644", id: "abc", bytes: Some(12), path: b"a\tb\nc" });
        let module = parse(b"160000 commit abc       -\tm").expect("an entry");
        assert_eq!(module.bytes, None);
        assert_eq!(parse(b"x"), None);
    }
}
