//! From what mmdebstrap made to the Debian layer: what no image needs is left out, and what a container
//! must have is put in.

use std::{collections::BTreeSet, fs::File, io, path::Path};

use holdpoint_model::image::{AGENT_HOME, AGENT_UID};
use jiff::{Timestamp, fmt::rfc2822};
use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

use crate::layer::{Content, Entry, Layer, Node};

/// Folders that stay, without anything that is in them: the engine fills them, or nobody does.
const EMPTIED: &[&str] = &[
    "dev/",
    "proc/",
    "sys/",
    "run/",
    "tmp/",
    "var/tmp/",
    "var/cache/apt/",
    "var/cache/ldconfig/",
    "var/lib/apt/lists/",
];

/// Folders whose folders stay, but no file in them.
const WITHOUT_FILES: &[&str] = &["var/log/"];

/// What says which machine built it, is a copy of what it was before, or is a lock.
const LEFT_OUT: &[&str] = &[
    "etc/.pwd.lock",
    "etc/apt/sources.list",
    "etc/group-",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/lib/dbus/machine-id",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
    "var/lib/systemd/random-seed",
];

/// The list of installed packages.
const DPKG_STATUS: &str = "var/lib/dpkg/status";

/// The agent's workspace belongs to whoever Holdpoint runs as, which need not be the user in the
/// container; nothing else that could be a repository gets in there.
const GITCONFIG: &str = "[safe]\n\tdirectory = *\n";

/// What Debian programs that start through PAM take as the locale; the image's environment says it too.
const LOCALE: &str = "LANG=C.UTF-8\n";

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, as Debian writes it.
    pub version: String,
    /// Its architecture; `all` where it has none.
    pub architecture: String,
}

/// The Debian layer, and what it is of.
#[derive(Debug)]
pub(crate) struct Rootfs {
    pub(crate) layer: Layer,
    pub(crate) packages: Vec<Package>,
    /// When the newest list of packages was published, in seconds since 1970. No time in the image is later.
    pub(crate) snapshot: u64,
}

/// Reads the archive that mmdebstrap wrote. `sources` is what apt in the image gets.
pub(crate) fn read(raw: &Path, sources: &str) -> io::Result<Rootfs> {
    let mut layer = Layer::default();
    let mut published = BTreeSet::new();
    let mut archive = Archive::new(File::open(raw)?);
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        if path.starts_with("var/lib/apt/lists/") && path.ends_with("Release") {
            published.insert(published_at(&io::read_to_string(&mut entry)?)?);
        }
        let kind = entry.header().entry_type();
        if path.is_empty() || !stays(&path, kind) {
            continue;
        }
        if let Some(node) = node(&entry, kind, raw)? {
            let header = entry.header();
            let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
            let (uid, gid) = (id(header.uid()?)?, id(header.gid()?)?);
            layer.put(path, Entry { node, mode: header.mode()?, uid, gid, mtime: header.mtime()? });
        }
    }
    let snapshot = published.last().copied().ok_or_else(|| io::Error::other("it has no list of packages"))?;
    layer.settle_hardlinks();
    layer.no_later_than(snapshot);
    complete(&mut layer, sources, snapshot)?;
    let packages = packages(&text(&layer, DPKG_STATUS)?);
    if packages.is_empty() {
        return Err(io::Error::other("no package is installed in it"));
    }
    Ok(Rootfs { layer, packages, snapshot })
}

fn stays(path: &str, kind: EntryType) -> bool {
    let is_below = |folders: &[&str]| folders.iter().any(|folder| path.starts_with(folder));
    let is_folder = kind == EntryType::Directory;
    !(is_below(EMPTIED) || LEFT_OUT.contains(&path) || (!is_folder && is_below(WITHOUT_FILES)))
}

/// What an entry is; nothing for devices and the like, which the engine makes.
fn node<R: io::Read>(entry: &tar::Entry<'_, R>, kind: EntryType, raw: &Path) -> io::Result<Option<Node>> {
    let target = || {
        let bytes = entry.link_name_bytes().ok_or_else(|| io::Error::other("a link to nothing"))?;
        Ok::<_, io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok(match kind {
        EntryType::Directory => Some(Node::Folder),
        EntryType::Symlink => Some(Node::Symlink(target()?)),
        EntryType::Link => Some(Node::Hardlink(target()?.trim_start_matches("./").to_owned())),
        EntryType::Regular => Some(Node::File(Content::Part {
            file: raw.to_owned(),
            offset: entry.raw_file_position(),
            len: entry.size(),
        })),
        _ => None,
    })
}

/// The `Date` of a Release file, in seconds since 1970
/// (<https://wiki.debian.org/DebianRepository/Format#Date.2C_Valid-Until>).
fn published_at(release: &str) -> io::Result<u64> {
    let date = release.lines().find_map(|line| line.strip_prefix("Date:"));
    let date = date.ok_or_else(|| io::Error::other("a list of packages has no date"))?.trim();
    // "UTC" is Debian's own; the RFC has numbers.
    let date = date.replace("UTC", "+0000");
    let time = rfc2822::parse(&date).map_err(|error| io::Error::other(format!("{date:?}: {error}")))?;
    u64::try_from(time.timestamp().as_second()).map_err(io::Error::other)
}

/// When something was published, as people write it.
pub(crate) fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .unwrap_or_default()
        .to_string()
}

/// Accounts, sources, locale, and a home for the agent.
fn complete(layer: &mut Layer, sources: &str, time: u64) -> io::Result<()> {
    let (uid, home) = (AGENT_UID, AGENT_HOME);
    let passwd = text(layer, "etc/passwd")?;
    let shadow = no_passwords(&passwd);
    let passwd = format!("{passwd}agent:x:{uid}:{uid}:agent:{home}:/bin/bash\n");
    let group = format!("{}agent:x:{uid}:\n", text(layer, "etc/group")?);
    let gshadow = format!("{}agent:*::\n", text(layer, "etc/gshadow")?);
    let mut put = |path: &str, content: String, mode: u32| {
        layer.put(path, Entry::file(Content::Bytes(content.into_bytes()), mode, time));
    };
    put("etc/passwd", passwd, 0o644);
    put("etc/group", group, 0o644);
    put("etc/gshadow", gshadow, 0o600);
    put("etc/shadow", shadow, 0o600);
    put("etc/apt/sources.list", sources.to_owned(), 0o644);
    put("etc/gitconfig", GITCONFIG.to_owned(), 0o644);
    put("etc/default/locale", LOCALE.to_owned(), 0o644);
    let home = Entry { node: Node::Folder, mode: 0o755, uid, gid: uid, mtime: time };
    layer.put(AGENT_HOME.trim_start_matches('/'), home);
    Ok(())
}

/// No account has a password that would let anybody in, root and the agent included, and none says
/// on what day it was made.
fn no_passwords(passwd: &str) -> String {
    let names = passwd.lines().filter_map(|line| line.split(':').next());
    names.chain(["agent"]).map(|name| format!("{name}:*:::::::\n")).collect()
}

fn text(layer: &Layer, path: &str) -> io::Result<String> {
    let missing = || io::Error::other(format!("it has no /{path}"));
    match &layer.get(path).ok_or_else(missing)?.node {
        Node::File(content) => String::from_utf8(content.read()?).map_err(io::Error::other),
        _ => Err(missing()),
    }
}

/// The installed packages in dpkg's list, by name.
fn packages(status: &str) -> Vec<Package> {
    let mut packages: Vec<_> = status.split("\n\n").filter_map(package).collect();
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    packages
}

fn package(paragraph: &str) -> Option<Package> {
    let field = |name: &str| {
        let value = paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))?;
        Some(value.trim().to_owned())
    };
    field("Status")?.ends_with(" installed").then_some(())?;
    Some(Package {
        name: field("Package")?,
        version: field("Version")?,
        architecture: field("Architecture")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "Origin: Debian\nDate: Mon, 23 Nov 2026 11:22:37 UTC\n";
    const STATUS: &str = "Package: zip\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.0-13\n\n\
                          Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\n\
                          Package: apt\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.6.1\n";

    /// An archive such as mmdebstrap writes, of files with these times.
    fn raw(mtime: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("file");
        let mut tar = tar::Builder::new(&file);
        let mut put = |path: &str, kind: EntryType, mode: u32, content: &str| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(mtime);
            tar.append_data(&mut header, path, content.as_bytes()).expect("entry");
        };
        put("./", EntryType::Directory, 0o755, "");
        put("./usr/bin/su", EntryType::Regular, 0o4755, "su");
        put("./etc/passwd", EntryType::Regular, 0o644, "root:x:0:0:root:/root:/bin/bash\n");
        put("./etc/group", EntryType::Regular, 0o644, "root:x:0:\n");
        put("./etc/gshadow", EntryType::Regular, 0o640, "root:*::\n");
        put("./etc/shadow", EntryType::Regular, 0o640, "root::20000:0:99999:7:::\n");
        put("./etc/machine-id", EntryType::Regular, 0o444, "0123\n");
        put("./etc/hostname", EntryType::Regular, 0o644, "builder\n");
        put("./dev/null", EntryType::Char, 0o666, "");
        put("./var/log/apt/", EntryType::Directory, 0o755, "");
        put("./var/log/apt/history.log", EntryType::Regular, 0o644, "secret habits");
        put("./var/lib/apt/lists/x_InRelease", EntryType::Regular, 0o644, RELEASE);
        put("./var/lib/dpkg/status", EntryType::Regular, 0o644, STATUS);
        tar.finish().expect("tar");
        drop(tar);
        file
    }

    #[test]
    fn no_trace_of_the_builder_or_its_clock_gets_into_the_layer() {
        let (first, second) = (raw(1_900_000_000), raw(1_900_086_400));
        let first = read(first.path(), "deb x\n").expect("first");
        let second = read(second.path(), "deb x\n").expect("second");
        assert_eq!(first.layer.get("usr/bin/su").map(|entry| entry.mtime), Some(first.snapshot));
        for gone in ["etc/machine-id", "etc/hostname", "dev/null", "var/log/apt/history.log", "etc/shadow-"] {
            assert_eq!(first.layer.get(gone), None, "{gone}");
        }
        assert!(first.layer.get("var/log/apt").is_some(), "programs expect the folder");
        assert_eq!(rfc3339(second.snapshot), "2026-11-23T11:22:37Z");
    }

    #[test]
    fn nobody_has_a_password_and_the_agent_has_an_account() {
        let raw = raw(1);
        let rootfs = read(raw.path(), "").expect("rootfs");
        assert_eq!(text(&rootfs.layer, "etc/shadow").expect("shadow"), "root:*:::::::\nagent:*:::::::\n");
        let passwd = text(&rootfs.layer, "etc/passwd").expect("passwd");
        assert!(passwd.ends_with("agent:x:1000:1000:agent:/home/agent:/bin/bash\n"), "{passwd}");
        let home = rootfs.layer.get("home/agent").expect("home");
        assert_eq!((home.uid, home.gid, home.mode), (1000, 1000, 0o755));
    }

    #[test]
    fn packages_are_those_that_are_installed_by_name() {
        let names: Vec<_> =
            packages(STATUS).into_iter().map(|one| format!("{} {}", one.name, one.version)).collect();
        assert_eq!(names, ["apt 2.6.1", "zip 3.0-13"]);
    }

    #[test]
    fn a_release_without_a_date_is_refused() {
        assert!(published_at("Origin: Debian\n").is_err());
        assert!(
            published_at("Date: yesterday\n").is_err_and(|error| error.to_string().contains("yesterday"))
        );
    }
}
