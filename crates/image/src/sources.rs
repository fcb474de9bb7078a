//! Where Debian's packages come from: a mirror that was named, the host's own where the host runs the
//! same release, or Debian's.

use std::{fs, path::Path};

use crate::packages::SUITE;

/// Debian's keys on a Debian host.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where nothing else is said.
const DEBIAN: &str = "http://deb.debian.org/debian";

/// Debian's security updates, where nothing else is said.
const SECURITY: &str = "http://deb.debian.org/debian-security";

/// One source of packages: the component `main` of a suite at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    uri: String,
    suite: String,
}

impl Source {
    fn new(uri: &str, suite: &str) -> Self {
        Self { uri: uri.trim_end_matches('/').to_owned(), suite: suite.to_owned() }
    }

    /// As apt reads it.
    pub(crate) fn line(&self) -> String {
        format!("deb {} {} main", self.uri, self.suite)
    }

    /// The same without the password that its address may have: for what goes into the image.
    pub(crate) fn public_line(&self) -> String {
        let uri = match self.uri.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                format!("{scheme}://{host}/{path}")
            }
            None => self.uri.clone(),
        };
        Self { uri, ..self.clone() }.line()
    }

    /// A snapshot of the past says itself that it is too old to be trusted; its signature still counts.
    pub(crate) fn is_snapshot(&self) -> bool {
        let is_time = |part: &str| {
            let digits = part.bytes().filter(u8::is_ascii_digit).count();
            part.len() == 16 && digits == 14 && part.ends_with('Z') && part.as_bytes()[8] == b'T'
        };
        self.uri.split('/').any(is_time)
    }
}

/// The sources to build from.
pub(crate) fn sources(mirror: Option<&str>, etc_apt: &Path) -> Vec<Source> {
    match mirror {
        Some(mirror) => of_mirror(mirror),
        None => {
            let host = of_host(etc_apt);
            if host.is_empty() { of_debian() } else { host }
        }
    }
}

fn updates() -> String {
    format!("{SUITE}-updates")
}

fn security() -> String {
    format!("{SUITE}-security")
}

fn of_debian() -> Vec<Source> {
    vec![Source::new(DEBIAN, SUITE), Source::new(DEBIAN, &updates()), Source::new(SECURITY, &security())]
}

/// Security updates are beside the archive, as everywhere: `…/debian-security` for `…/debian`. A mirror
/// whose address has no such part is taken to have the release alone.
fn of_mirror(mirror: &str) -> Vec<Source> {
    let mut sources = vec![Source::new(mirror, SUITE)];
    let parts: Vec<&str> = mirror.trim_end_matches('/').split('/').collect();
    if parts.contains(&"debian") {
        let beside: Vec<_> =
            parts.iter().map(|part| if *part == "debian" { "debian-security" } else { part }).collect();
        sources.push(Source::new(mirror, &updates()));
        sources.push(Source::new(&beside.join("/"), &security()));
    }
    sources
}

/// The host's own, of the same release and signed by Debian: an address that others added is not for
/// the image.
fn of_host(etc_apt: &Path) -> Vec<Source> {
    let mut files = vec![etc_apt.join("sources.list")];
    let folder = fs::read_dir(etc_apt.join("sources.list.d"));
    let mut more: Vec<_> = folder.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    more.sort();
    files.extend(more);
    let mut sources = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let found = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => of_list(&text),
            Some("sources") => of_deb822(&text),
            _ => Vec::new(),
        };
        for source in found {
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
    }
    // Updates alone are no release.
    if sources.iter().any(|source| source.suite == SUITE) { sources } else { Vec::new() }
}

fn is_ours(suite: &str) -> bool {
    suite == SUITE || suite == updates() || suite == security()
}

fn is_debians(signed_by: &str) -> bool {
    signed_by.is_empty() || signed_by == KEYRING || signed_by.contains("/debian-archive-")
}

/// `deb [options] uri suite component…` (sources.list(5)).
fn of_list(text: &str) -> Vec<Source> {
    text.lines().filter_map(of_line).collect()
}

fn of_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?, words.next()?);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    let fits = is_ours(suite) && words.any(|word| word == "main") && is_debians(signed_by.unwrap_or(""));
    (fits && uri.contains("://")).then(|| Source::new(uri, suite))
}

/// Paragraphs of `Field: value` (sources.list(5), "deb822-style format").
fn of_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| {
            let lines = paragraph.lines().filter(|line| !line.starts_with('#'));
            let mut fields = lines.filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
        };
        let has = |name: &str, word: &str| field(name).split_whitespace().any(|one| one == word);
        let off = field("Enabled").eq_ignore_ascii_case("no");
        if off || !has("Types", "deb") || !has("Components", "main") || !is_debians(field("Signed-By")) {
            continue;
        }
        for uri in field("URIs").split_whitespace().filter(|uri| uri.contains("://")) {
            let suites = field("Suites").split_whitespace().filter(|suite| is_ours(suite));
            sources.extend(suites.map(|suite| Source::new(uri, suite)));
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(sources: &[Source]) -> Vec<String> {
        sources.iter().map(Source::line).collect()
    }

    #[test]
    fn a_host_of_the_release_gives_its_own_sources_and_nobody_elses() {
        let dir = tempfile::tempdir().expect("dir");
        fs::create_dir(dir.path().join("sources.list.d")).expect("folder");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("file");
        write(
            "sources.list",
            "# deb http://commented.example/debian bookworm main\n\
             deb [arch=amd64 signed-by=/etc/keys/other.gpg] http://other.example/debian bookworm main\n\
             deb http://far.example/docker bookworm stable\n",
        );
        write(
            "sources.list.d/debian.sources",
            "Types: deb\n# a comment\nURIs: http://near.example/debian/\nSuites: bookworm bookworm-updates\n\
             Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
             Types: deb deb-src\nURIs: http://near.example/debian-security\nSuites: bookworm-security\n\
             Components: main\n\nEnabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\n\
             Components: main\n",
        );
        write("sources.list.d/node.list", "deb https://node.example nodistro main\n");
        assert_eq!(
            lines(&sources(None, dir.path())),
            [
                "deb http://near.example/debian bookworm main",
                "deb http://near.example/debian bookworm-updates main",
                "deb http://near.example/debian-security bookworm-security main",
            ]
        );
    }

    #[test]
    fn another_host_gives_debians() {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("sources.list"), "deb http://archive.ubuntu.com/ubuntu noble main\n")
            .expect("file");
        let lines = lines(&sources(None, dir.path()));
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().all(|line| line.contains("deb.debian.org")), "{lines:?}");
    }

    #[test]
    fn a_mirror_has_its_security_updates_beside_it() {
        let dated = "http://snapshot.debian.org/archive/debian/20260711T000000Z/";
        let sources = of_mirror(dated);
        assert_eq!(
            lines(&sources),
            [
                "deb http://snapshot.debian.org/archive/debian/20260711T000000Z bookworm main",
                "deb http://snapshot.debian.org/archive/debian/20260711T000000Z bookworm-updates main",
                "deb http://snapshot.debian.org/archive/debian-security/20260711T000000Z bookworm-security main",
            ]
        );
        assert!(sources.iter().all(Source::is_snapshot));
        let flat = of_mirror("http://mirror.example/bookworm");
        assert_eq!(lines(&flat), ["deb http://mirror.example/bookworm bookworm main"]);
        assert!(!flat[0].is_snapshot());
    }

    #[test]
    fn a_password_stays_out_of_the_image() {
        let source = Source::new("https://me:secret@mirror.example/debian", SUITE);
        assert_eq!(source.public_line(), "deb https://mirror.example/debian bookworm main");
        assert!(source.line().contains("secret"), "but apt needs it");
    }
}
