//! Files of a workspace, never one outside of it. What is in the workspace was put there by a
//! session that may be hostile or confused, and may change while we look.
//!
//! One rule says which of them people get, in lists and for download: plain files, but for what is in
//! a `.claude` folder (settings and commands of the agent) and what the agent's `exclude` names.

use std::{
    fs::File,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use holdpoint_model::AgentDef;
use rustix::fs::{Mode, OFlags, open, openat};

/// Whether people get this file of a workspace. Judged by its plain spelling, as
/// [`open_inside`] reads it: `a/./b` is `a/b`.
pub(crate) fn may_show(definition: &AgentDef, relative: &str) -> bool {
    let names: Vec<&str> = Path::new(relative)
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let path = names.join("/");
    let name = names.last().copied().unwrap_or_default();
    // The same patterns as the worker's, when it collects results.
    let is_excluded = definition.exclude.iter().any(|pattern| {
        let pattern = pattern.trim_end_matches('/');
        glob(pattern, &path) || glob(pattern, name) || path.starts_with(&format!("{pattern}/"))
    });
    !is_excluded && !names.contains(&".claude")
}

/// `*` matches any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && glob(tail, &rest[at..]))
        }),
    }
}

/// Opens a regular file below `root`. Each folder on the way is opened by itself, from the one
/// before, without following links: no link and no `..` leads out, not even one that is put there
/// while we walk.
pub(crate) fn open_inside(root: &Path, relative: &str) -> io::Result<(File, u64)> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::NotFound, why.to_owned());
    let mut names = Vec::new();
    for component in Path::new(relative).components() {
        match component {
            Component::Normal(name) if !name.as_bytes().contains(&0) => names.push(name),
            // `./` in front; the rest of such dots `components` leaves out by itself.
            Component::CurDir => {}
            _ => return Err(refused("the path leads out of the workspace")),
        }
    }
    let Some((last, folders)) = names.split_last() else {
        return Err(refused("the path names no file"));
    };
    let folder_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folder = open(root, folder_flags, Mode::empty())?;
    for name in folders {
        folder = openat(&folder, *name, folder_flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // Not blocking: a pipe put here would otherwise hold this thread until somebody writes to it.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, *last, flags, Mode::empty())?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(refused("the path names no regular file"));
    }
    Ok((file, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn the_agent_says_what_is_not_shown() {
        let exclude = ["*.log", "private/", "out/*/raw"].map(str::to_owned).to_vec();
        let definition = AgentDef { exclude, ..AgentDef::default() };
        for path in ["a.txt", "out/a.txt", "attachments/a", "a/private/b", "private", "claude/a", ".env"] {
            assert_eq!(may_show(&definition, path), path != "private", "{path}");
        }
        for path in [
            "x.log",
            "out/x.log",
            "private/a",
            "private//a",
            "./private/./a",
            "out/1/raw",
            ".claude/settings.json",
            "sub/.claude/settings.json",
            "sub//./.claude/./settings.json",
        ] {
            assert!(!may_show(&definition, path), "{path}");
        }
    }

    #[test]
    fn files_inside_are_opened_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("dir");
        let root = dir.path().join("workspace");
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        std::fs::write(root.join("a/b/c.txt"), "inside").expect("file");
        std::fs::write(dir.path().join("secret"), "outside").expect("file");
        symlink(dir.path().join("secret"), root.join("link")).expect("link");
        symlink(dir.path(), root.join("up")).expect("link");
        symlink("c.txt", root.join("a/b/sibling")).expect("link");
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), Mode::RWXU).expect("pipe");

        let (mut file, size) = open_inside(&root, "a/b/c.txt").expect("inside");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("read");
        assert_eq!((text.as_str(), size), ("inside", 6));
        open_inside(&root, "./a//b/./c.txt").expect("harmless spellings");

        for path in [
            "",
            ".",
            "a",
            "a/b",
            "missing",
            "../secret",
            "a/../../secret",
            "a/b/../b/c.txt",
            "/etc/passwd",
            "link",
            "up/secret",
            "a/b/sibling",
            "pipe",
            "a/b/c.txt\0",
        ] {
            open_inside(&root, path).expect_err(path);
        }
    }
}
