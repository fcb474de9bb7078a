//! Files of a workspace, never one outside of it. What is in the workspace was put there by a
//! session that may be hostile or confused, and may change while we look.
//!
//! One rule says which of them people get, in lists and for download: plain files, but for what is in
//! a `.claude` folder (settings and commands of the agent) and what the agent's `exclude` names.

use std::{
    fs::File,
    io,
    path::{Component, Path},
};

use holdpoint_beneath::Folder;
use holdpoint_model::{AgentDef, exclude::is_excluded};

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
    !names.contains(&".claude") && !is_excluded(&definition.exclude, &names.join("/"))
}

/// Opens a regular file below `root` and says how long it is. No link and no `..` leads out, not even one
/// that is put there while we walk; links that stay inside are not followed either, since they would show
/// under another name what the agent keeps to itself.
pub(crate) fn open_inside(root: &Path, relative: &str) -> io::Result<(File, u64)> {
    let (file, stat) = Folder::open(root)?.file(relative)?;
    Ok((file, u64::try_from(stat.st_size).unwrap_or_default()))
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
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).expect("pipe");

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
