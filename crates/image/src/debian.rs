//! The Debian layer: made by mmdebstrap once, then kept in a folder.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    BaseInputs, Problem, Progress, Step,
    layer::{Digested, Hashing, digest_bytes, digest_file},
    packages::{DPKG_OPTIONS, PACKAGES, SUITE, architecture},
    rootfs::{self, Package},
    sources::{Source, sources},
};

/// Counts up when the same inputs come to make another layer: what was kept is then made anew.
const FORMAT: u32 = 1;

/// How many of mmdebstrap's last lines are repeated when it fails.
const SAID_LINES: usize = 12;

/// The layer as it is kept: this, and the archive beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) sha256: String,
    /// Of the archive, in bytes.
    pub(crate) size: u64,
    /// In seconds since 1970.
    pub(crate) snapshot: u64,
    pub(crate) sources: Vec<String>,
    pub(crate) packages: Vec<Package>,
}

/// The layer, ready to be used.
#[derive(Debug)]
pub(crate) struct Debian {
    pub(crate) archive: PathBuf,
    pub(crate) kept: Kept,
    pub(crate) was_kept: bool,
}

/// The layer that was kept, or a new one.
pub(crate) fn layer(inputs: &BaseInputs, progress: &dyn Progress) -> Result<Debian, Problem> {
    let sources = sources(inputs.mirror.as_deref(), Path::new("/etc/apt"));
    let public: Vec<_> = sources.iter().map(Source::public_line).collect();
    let name = format!("debian-{SUITE}-{}", &key(&public)[..16]);
    let (archive, note) =
        (inputs.cache.join(format!("{name}.tar")), inputs.cache.join(format!("{name}.json")));
    if !inputs.fresh
        && let Some(kept) = kept(&archive, &note)
    {
        return Ok(Debian { archive, kept, was_kept: true });
    }
    let raw = bootstrap(inputs, &sources, progress)?;
    let unreadable = |error: io::Error| Problem::new("failed to read what mmdebstrap made", error);
    let rootfs = rootfs::read(raw.path(), &lines(&public)).map_err(unreadable)?;
    let failed = |error: io::Error| Problem::file("write to", &inputs.cache, &error);
    let mut made = tempfile::NamedTempFile::new_in(&inputs.cache).map_err(failed)?;
    let mut hashing = Hashing::new(io::BufWriter::with_capacity(1 << 20, made.as_file_mut()));
    rootfs.layer.write(&mut hashing).map_err(failed)?;
    let Digested { sha256, size } = hashing.done();
    let kept = Kept { sha256, size, snapshot: rootfs.snapshot, sources: public, packages: rootfs.packages };
    // The note last: without it the archive is made again.
    let _ = fs::remove_file(&note);
    made.as_file().sync_all().map_err(failed)?;
    made.persist(&archive).map_err(|error| failed(error.error))?;
    let text = serde_json::to_vec(&kept).map_err(|error| failed(error.into()))?;
    let mut noted = tempfile::NamedTempFile::new_in(&inputs.cache).map_err(failed)?;
    noted.write_all(&text).map_err(failed)?;
    noted.persist(&note).map_err(|error| failed(error.error))?;
    Ok(Debian { archive, kept, was_kept: false })
}

/// What is kept, if every byte of it is there.
fn kept(archive: &Path, note: &Path) -> Option<Kept> {
    let kept: Kept = serde_json::from_slice(&fs::read(note).ok()?).ok()?;
    let found = digest_file(archive).ok()?;
    (found == Digested { sha256: kept.sha256.clone(), size: kept.size }).then_some(kept)
}

/// What a layer is made from, apart from the state of Debian: another key, another layer.
fn key(sources: &[String]) -> String {
    let inputs =
        format!("{FORMAT}\n{SUITE}\n{}\n{PACKAGES:?}\n{DPKG_OPTIONS:?}\n{sources:?}", architecture());
    digest_bytes(inputs.as_bytes()).sha256
}

fn lines(sources: &[String]) -> String {
    sources.iter().map(|line| format!("{line}\n")).collect()
}

/// Runs mmdebstrap; its archive goes to a file that is gone when dropped.
fn bootstrap(
    inputs: &BaseInputs,
    sources: &[Source],
    progress: &dyn Progress,
) -> Result<tempfile::NamedTempFile, Problem> {
    let failed = |error: io::Error| Problem::file("write to", &inputs.cache, &error);
    let raw = tempfile::NamedTempFile::new_in(&inputs.cache).map_err(failed)?;
    // On stdin rather than as an argument: an address may have a password, and arguments are public.
    let mut list = tempfile::tempfile().map_err(failed)?;
    list.write_all(lines(&sources.iter().map(Source::line).collect::<Vec<_>>()).as_bytes())
        .map_err(failed)?;
    list.rewind().map_err(failed)?;
    let mut command = Command::new("mmdebstrap");
    command.args(arguments(inputs.is_root, sources));
    command.env_clear().env("PATH", path_with_sbin(&inputs.path)).env("LC_ALL", "C.UTF-8");
    command.envs(inputs.env.iter().map(|(name, value)| (name, value)));
    command.stdin(list).stdout(raw.as_file().try_clone().map_err(failed)?).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(&error))?;
    let mut said = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        watch(stderr, &mut said, progress);
    }
    let status = child.wait().map_err(|error| Problem::new("failed to wait for mmdebstrap", error))?;
    if status.success() {
        return Ok(raw);
    }
    Err(explain(&format!("mmdebstrap ended with {status}"), &Vec::from(said), inputs.is_root))
}

fn arguments(is_root: bool, sources: &[Source]) -> Vec<String> {
    let mode = if is_root { "root" } else { "unshare" };
    let mut arguments = vec![
        format!("--mode={mode}"),
        "--variant=minbase".into(),
        "--format=tar".into(),
        "--verbose".into(),
        // The lists say of when they are; they are left out of the layer afterwards.
        "--skip=cleanup/apt/lists".into(),
        format!("--architectures={}", architecture()),
        format!("--include={}", PACKAGES.join(",")),
    ];
    arguments.extend(DPKG_OPTIONS.iter().map(|option| format!("--dpkgopt={option}")));
    if sources.iter().any(Source::is_snapshot) {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
    }
    // The archive to stdout, the sources from stdin.
    arguments.extend([SUITE.into(), "-".into(), "-".into()]);
    arguments
}

/// mmdebstrap and what it runs are partly in folders that an ordinary user's PATH does not have.
fn path_with_sbin(path: &str) -> String {
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Follows what mmdebstrap says: apt announces how many packages it installs, dpkg names each twice.
fn watch(stderr: impl io::Read, said: &mut VecDeque<String>, progress: &dyn Progress) {
    let (mut total, mut done) = (0, 0);
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if let Some(installed) = newly_installed(&line) {
            total += 2 * installed;
            progress.step(Step::Packages, total);
            progress.at(done);
        } else if line.starts_with("Unpacking ") || line.starts_with("Setting up ") {
            done += 1;
            progress.at(done);
        }
        if !line.is_empty() {
            said.push_back(line);
        }
        if said.len() > SAID_LINES {
            said.pop_front();
        }
    }
}

/// `0 upgraded, 69 newly installed, 0 to remove and 0 not upgraded.`
fn newly_installed(line: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.strip_suffix(" newly installed"))?.parse().ok()
}

fn not_started(error: &io::Error) -> Problem {
    let problem = Problem::new("failed to make the Debian part of the image", "");
    if error.kind() != io::ErrorKind::NotFound {
        return Problem { why: format!("mmdebstrap does not start: {error}"), ..problem };
    }
    let why = "mmdebstrap is not installed; it makes a Debian of packages, the same each time".to_owned();
    let install = "sudo apt-get install -y mmdebstrap     (Debian and Ubuntu have it; without root it needs uidmap too)";
    Problem { why, ..problem }.next(install)
}

/// Why mmdebstrap failed, where its last words are known.
fn explain(ended: &str, said: &[String], is_root: bool) -> Problem {
    let text = said.join("\n");
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let problem = |why: &str| {
        Problem::new(
            "failed to make the Debian part of the image",
            format!("{why}\n{ended}; its last words:\n{text}"),
        )
    };
    if has(&["No space left on device"]) {
        return problem("there is no space left where temporary files are")
            .next("df -h /tmp")
            .next("TMPDIR=/var/tmp holdpoint image build --base");
    }
    if has(&[
        "Could not resolve",
        "Temporary failure resolving",
        "Could not connect",
        "Connection failed",
        "Network is unreachable",
    ]) {
        return problem("the packages cannot be reached over the network")
            .next("holdpoint image build --base --mirror http://MIRROR/debian     (a mirror that this machine reaches)")
            .next("export http_proxy=http://PROXY:PORT     (where there is a proxy)");
    }
    if !is_root
        && has(&[
            "newuidmap",
            "newgidmap",
            "/etc/subuid",
            "/etc/subgid",
            "unshare",
            "user namespace",
            "sub-uid",
        ])
    {
        return problem("this user has no subordinate ids, or may make no user namespaces")
            .next("sudo apt-get install -y uidmap")
            .next("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER")
            .next("sudo holdpoint image build --base     (as root it needs neither)");
    }
    if is_root && has(&["Operation not permitted", "Permission denied"]) {
        return problem("this root may not mount or make devices, as in a container without privileges")
            .next("run it outside of the container, or give that CAP_SYS_ADMIN and CAP_MKNOD");
    }
    if has(&["NO_PUBKEY", "is not signed", "EXPKEYSIG"]) {
        return problem("the lists of packages are not signed by a key that this machine trusts")
            .next("sudo apt-get install -y debian-archive-keyring");
    }
    problem("mmdebstrap failed")
}

/// Opens the folder for what is kept, for one builder at a time, and clears what a killed one left there.
pub(crate) fn take(cache: &Path) -> Result<File, Problem> {
    let failed = |error: io::Error| Problem::file("use", cache, &error);
    fs::create_dir_all(cache).map_err(failed)?;
    let lock = fs::OpenOptions::new().create(true).append(true).open(cache.join("lock")).map_err(failed)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)
        .map_err(|error| failed(error.into()))?;
    for entry in fs::read_dir(cache).map_err(failed)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".tmp") {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_says_how_many_packages_come() {
        assert_eq!(
            newly_installed("0 upgraded, 69 newly installed, 0 to remove and 0 not upgraded."),
            Some(69)
        );
        assert_eq!(newly_installed("Setting up git (1:2.39.5-0+deb12u3) ..."), None);
    }

    #[test]
    fn each_known_failure_says_what_to_type() {
        let cases = [
            ("tar: ./usr: Cannot write: No space left on device", true, "TMPDIR=/var/tmp"),
            ("E: Temporary failure resolving 'deb.debian.org'", true, "--mirror"),
            ("E: newuidmap 4242 failed", false, "usermod --add-subuids"),
            ("mknod: Operation not permitted", true, "CAP_SYS_ADMIN"),
            ("W: GPG error: NO_PUBKEY 0E98404D386FA1D9", true, "debian-archive-keyring"),
        ];
        for (said, is_root, next) in cases {
            let problem = explain("exit status: 1", &[said.to_owned()], is_root);
            assert!(problem.why.contains(said) && problem.next.join("\n").contains(next), "{problem:?}");
        }
        let missing = not_started(&io::ErrorKind::NotFound.into());
        assert!(missing.next[0].contains("apt-get install -y mmdebstrap"), "{missing:?}");
    }

    #[test]
    fn a_kept_layer_is_used_only_if_it_is_whole() {
        let dir = tempfile::tempdir().expect("dir");
        let (archive, note) = (dir.path().join("a.tar"), dir.path().join("a.json"));
        fs::write(&archive, "layer").expect("archive");
        let Digested { sha256, size } = digest_bytes(b"layer");
        let whole = Kept { sha256, size, snapshot: 1, sources: Vec::new(), packages: Vec::new() };
        assert_eq!(kept(&archive, &note), None, "there is no note");
        fs::write(&note, serde_json::to_vec(&whole).expect("json")).expect("note");
        assert_eq!(kept(&archive, &note), Some(whole));
        fs::write(&archive, "lay3r").expect("archive");
        assert_eq!(kept(&archive, &note), None, "it was changed");
    }

    #[test]
    fn other_sources_are_another_layer_and_a_snapshot_may_be_old() {
        assert_ne!(key(&["deb a bookworm main".into()]), key(&["deb b bookworm main".into()]));
        let dated =
            sources(Some("http://snapshot.debian.org/archive/debian/20260711T000000Z"), Path::new("/"));
        let of = |is_root, sources: &[Source]| arguments(is_root, sources).join(" ");
        assert!(of(true, &dated).contains("Check-Valid-Until"));
        let plain = sources(Some("http://mirror.example/debian"), Path::new("/"));
        assert!(!of(true, &plain).contains("Check-Valid-Until"));
        assert!(of(true, &plain).contains("--mode=root") && of(false, &plain).contains("--mode=unshare"));
    }
}
