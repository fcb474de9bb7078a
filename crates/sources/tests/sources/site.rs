//! A folder with repositories in it, a home of its own, and a cache.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use holdpoint_sources::{Options, Revision, Sources};
use secrecy::SecretString;

/// Where programs are; tests read no environment.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const GITCONFIG: &str = "[user]\nname = A\nemail = a@example.com\n[init]\ndefaultBranch = main\n\
    [uploadpack]\nallowFilter = true\n[commit]\ngpgSign = false\n";

pub(crate) struct Site {
    dir: tempfile::TempDir,
}

pub(crate) struct Repository {
    pub(crate) path: PathBuf,
    home: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("holdpoint-sources-").tempdir().expect("dir");
        fs::write(dir.path().join(".gitconfig"), GITCONFIG).expect("config");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn add_to_gitconfig(&self, text: &str) {
        let file = fs::OpenOptions::new().append(true).open(self.path(".gitconfig"));
        file.expect("config").write_all(text.as_bytes()).expect("written");
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            cache: self.path("cache"),
            git: "git".into(),
            path: PATH.into(),
            env: vec![("HOME".into(), self.dir.path().display().to_string())],
            tokens: BTreeMap::new(),
        }
    }

    pub(crate) fn sources(&self) -> Sources {
        Sources::new(self.options())
    }

    pub(crate) fn sources_with(&self, env: &[(&str, &str)], tokens: &[(&str, &str)]) -> Sources {
        let mut options = self.options();
        options.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let tokens =
            tokens.iter().map(|(host, token)| ((*host).to_owned(), SecretString::from((*token).to_owned())));
        options.tokens = tokens.collect();
        Sources::new(options)
    }

    /// A repository without a commit.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("folder");
        let repository = Repository { path, home: self.dir.path().to_owned() };
        repository.git(&["init", "--quiet"]);
        repository
    }
}

impl Repository {
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
    }

    pub(crate) fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.path).env_clear();
        command.env("PATH", PATH).env("HOME", &self.home);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git");
        child.stdin.take().expect("stdin").write_all(input).expect("input");
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path.join(path);
        fs::create_dir_all(path.parent().expect("above")).expect("folder");
        fs::write(path, text).expect("file");
    }

    /// Commits these files, and says which commit it is.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) -> Revision {
        for (path, text) in files {
            self.write(path, text);
        }
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", "x"]);
        self.head()
    }

    pub(crate) fn head(&self) -> Revision {
        self.git(&["rev-parse", "HEAD"]).parse().expect("a commit")
    }
}

/// Processes whose command line has this in it.
pub(crate) fn processes_of(part: &Path) -> Vec<i32> {
    let part = part.display().to_string();
    let all = fs::read_dir("/proc").expect("proc").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&part)
    })
    .collect()
}

/// Whether a text is anywhere below a folder.
pub(crate) fn anywhere(folder: &Path, text: &str) -> bool {
    fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().expect("kind").is_dir() {
            true => anywhere(&path, text),
            false => fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)),
        }
    })
}
