//! From what apt, pip and npm say to what failed, why, and what to type. Pure.

use holdpoint_containers::recognise;

use super::{plan::LayerKind, script::REPLACED};
use crate::Problem;

/// A cause, by what a tool says.
struct Cause {
    /// One of these is in a line.
    words: &'static [&'static str],
    why: &'static str,
    next: &'static str,
}

/// From the most particular to the most general.
const CAUSES: &[Cause] = &[
    Cause {
        words: &[REPLACED],
        why: "a package puts its program in the place of the Claude CLI or of holdpoint",
        next: "take that package out of the dependencies: sessions are run with those two",
    },
    Cause {
        words: &["No space left on device", "ENOSPC"],
        why: "the disk with the engine's storage is full",
        next: "podman system df, then `podman image prune`",
    },
    Cause {
        words: &[
            "CERTIFICATE_VERIFY_FAILED",
            "SSL certificate problem",
            "SELF_SIGNED_CERT_IN_CHAIN",
            "UNABLE_TO_GET_ISSUER_CERT",
            "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
            "self-signed certificate",
            "Certificate verification failed",
        ],
        why: "the certificate of the mirror, or of a proxy on the way, is not trusted in the build",
        next: "name the file of the certificate that signs it in SSL_CERT_FILE",
    },
    Cause {
        words: &[
            "Temporary failure resolving",
            "Could not resolve",
            "Failed to resolve",
            "Name or service not known",
            "EAI_AGAIN",
            "ENOTFOUND",
            "Temporary failure in name resolution",
        ],
        why: "a name cannot be resolved in the build: no network, or a proxy that it was not told of",
        next: "set http_proxy and https_proxy, or name a mirror that can be reached",
    },
    Cause {
        words: &[
            "Could not connect",
            "Connection refused",
            "ECONNREFUSED",
            "Network is unreachable",
            "Connection timed out",
            "ETIMEDOUT",
            "Failed to establish a new connection",
        ],
        why: "the mirror cannot be reached from the build",
        next: "set http_proxy and https_proxy, or name a mirror that can be reached",
    },
    Cause {
        words: &["401 Unauthorized", "E401", "403 Forbidden", "E403"],
        why: "the mirror refuses the build, or this package",
        next: "check the user and password in the mirror's address",
    },
    Cause {
        words: &["ERESOLVE", "ResolutionImpossible", "conflicting dependencies", "have unmet dependencies"],
        why: "packages that these need do not go together",
        next: "loosen one of the versions, or add the one that fits all (npm: `overrides`)",
    },
    Cause {
        words: &[
            "error: command 'gcc' failed",
            "command 'x86_64-linux-gnu-gcc' failed",
            "No such file or directory: 'gcc'",
            "command 'gcc'",
            "Python.h",
            "gyp ERR!",
            "gyp error",
        ],
        why: "a package has to be compiled, and there is no compiler in the image",
        next: "add build-essential and python3-dev to dependencies/system-packages.txt, or ask for a version that comes built",
    },
    Cause {
        words: &["Failed building wheel", "metadata-generation-failed", "Could not build wheels"],
        why: "a package comes as sources alone, and does not build in the image",
        next: "ask for a version that comes built, or add what it needs to dependencies/system-packages.txt",
    },
    Cause {
        words: &["EBADENGINE", "Requires-Python", "Unsupported engine"],
        why: "a package wants another version of Python or Node than Debian 12 has",
        next: "ask for an older version of it",
    },
];

/// What stands before the name of the package that is missing, and what ends the name.
const MISSING: &[(&str, &[char])] = &[
    ("Unable to locate package ", &[' ']),
    ("has no installation candidate", &[]),
    ("No matching distribution found for ", &[' ', '(']),
    ("Could not find a version that satisfies the requirement ", &[' ', '(']),
    ("No matching version found for ", &[' ']),
    ("notarget a package version that doesn't exist: ", &[' ']),
    ("Failed building wheel for ", &[' ']),
    (" 404  '", &['\'']),
];

/// Why a layer could not be made. `said` is the last of what was said.
pub(super) fn explain(kind: LayerKind, code: i64, said: &[String]) -> Problem {
    let file = match kind {
        LayerKind::System => "dependencies/system-packages.txt",
        LayerKind::Python => "dependencies/requirements.txt",
        LayerKind::Npm | LayerKind::Configuration => "dependencies/package.json",
    };
    let tail = said.join("\n");
    let has = |word: &str| said.iter().any(|line| line.contains(word));
    let package = package(said);
    let what = match &package {
        Some(package) => format!("failed to install the {kind}: {package}"),
        None => format!("failed to install the {kind}"),
    };
    let cause = CAUSES.iter().find(|cause| cause.words.iter().any(|word| has(word)));
    // What is not reached cannot be found either: such a cause comes before the missing package.
    let (why, next) = match (cause, &package, recognise(&tail)) {
        (Some(cause), ..) => (cause.why.to_owned(), cause.next.to_owned()),
        (None, Some(package), _) => (
            format!("there is no package of this name and version where packages come from: {package}"),
            format!("check its name and version in {file}, in the master's and the project's repository"),
        ),
        (None, None, Some(symptom)) => (symptom.why.to_owned(), symptom.next.to_owned()),
        (None, None, None) if code == 137 => (
            "it was ended from outside, as when memory runs out".to_owned(),
            "free -h; and build again".to_owned(),
        ),
        (None, None, None) => {
            (format!("it ended with exit code {code}"), format!("look at {file} by what was said"))
        }
    };
    Problem::new(what, format!("{why}. The last that was said:\n{tail}")).next(next)
}

/// The package that is named, if one is.
fn package(said: &[String]) -> Option<String> {
    MISSING.iter().find_map(|(words, ends)| {
        let line = said.iter().find(|line| line.contains(words))?;
        let (before, after) = line.split_once(words)?;
        let name = if ends.is_empty() {
            // E: Package 'x' has no installation candidate
            before.split(['\'', '"']).nth(1)?
        } else {
            after.split(*ends).next()?
        };
        let name = name.trim_matches(['\'', '"', '.', ';']);
        (!name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_failure_names_the_package_and_says_what_to_do() {
        use LayerKind::{Npm, Python, System};
        for (kind, said, package, next) in [
            (System, "E: Unable to locate package treee", "treee", "system-packages.txt"),
            (System, "E: Package 'python2' has no installation candidate", "python2", "system-packages.txt"),
            (
                System,
                "W: Failed to fetch http://deb.example/x  Temporary failure resolving 'deb.example'",
                "",
                "http_proxy",
            ),
            (Python, "ERROR: No matching distribution found for sixx==99", "sixx==99", "requirements.txt"),
            (Python, "ERROR: Failed building wheel for lxml", "lxml", "comes built"),
            (Python, "error: command 'gcc' failed: No such file", "", "build-essential"),
            (Python, "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]", "", "SSL_CERT_FILE"),
            (
                Npm,
                "npm ERR! notarget No matching version found for left-pad@99.",
                "left-pad@99",
                "package.json",
            ),
            (Npm, "npm ERR! 404  'no-such@*' is not in this registry.", "no-such@*", "package.json"),
            (Npm, "npm error 404  'no-such@*' is not in this registry.", "no-such@*", "package.json"),
            (
                Npm,
                "npm error notarget No matching version found for left-pad@99.",
                "left-pad@99",
                "package.json",
            ),
            (Npm, "npm ERR! code ERESOLVE", "", "overrides"),
            (Npm, "npm ERR! code SELF_SIGNED_CERT_IN_CHAIN", "", "SSL_CERT_FILE"),
            (Python, "OSError: [Errno 28] No space left on device", "", "podman system df"),
            (Npm, "holdpoint: a package replaces /usr/local/bin/claude", "", "sessions are run"),
            (Npm, "something new", "", "package.json"),
        ] {
            let problem = explain(kind, 1, &[said.to_owned()]);
            assert!(problem.what.contains(package), "{said}: {problem:?}");
            assert!(problem.why.contains(said), "{said}: {problem:?}");
            assert!(problem.next.join("\n").contains(next), "{said}: {problem:?}");
        }
        assert!(explain(Npm, 137, &[]).why.contains("memory"));
    }
}
