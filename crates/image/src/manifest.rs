//! What is in the base image, as a file in it says it.

use serde::Serialize;

use crate::{
    debian::Kept,
    packages::{SUITE, architecture},
    rootfs::{Package, rfc3339},
};

/// What is in the base image. Its JSON is in the image at `holdpoint_model::image::MANIFEST_PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The `holdpoint` program.
    pub holdpoint: Program,
    /// The Claude CLI.
    pub cli: Program,
    /// All the rest.
    pub debian: Debian,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal.
    pub sha256: String,
}

/// What of Debian is in the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The release's name.
    pub suite: String,
    /// The architecture, as Debian calls it.
    pub architecture: String,
    /// When the newest list of packages was published that it was made from (RFC 3339). Files in the
    /// image are no younger.
    pub snapshot: String,
    /// Where the packages came from, as lines of apt's sources.list.
    pub sources: Vec<String>,
    /// The packages, by name.
    pub packages: Vec<Package>,
}

impl Manifest {
    pub(crate) fn new(holdpoint: Program, cli: Program, kept: &Kept) -> Self {
        let debian = Debian {
            suite: SUITE.into(),
            architecture: architecture().into(),
            snapshot: rfc3339(kept.snapshot),
            sources: kept.sources.clone(),
            packages: kept.packages.clone(),
        };
        Self { holdpoint, cli, debian }
    }

    /// The file's text.
    pub(crate) fn text(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_every_package_both_programs_and_of_when_it_is() {
        let package =
            Package { name: "git".into(), version: "1:2.39.5".into(), architecture: "amd64".into() };
        let kept = Kept {
            sha256: "a".into(),
            size: 1,
            snapshot: 1_795_432_957,
            sources: vec!["deb http://deb.debian.org/debian bookworm main".into()],
            packages: vec![package],
        };
        let program = |version: &str| Program { version: version.into(), sha256: "0f".into() };
        let text = Manifest::new(program("0.1.0"), program("2.1.330"), &kept).text().expect("json");
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(json["debian"]["snapshot"], "2026-11-23T11:22:37Z");
        assert_eq!(json["debian"]["packages"][0]["version"], "1:2.39.5");
        assert_eq!((&json["holdpoint"]["version"], &json["cli"]["sha256"]), (&"0.1.0".into(), &"0f".into()));
        assert!(text.ends_with("}\n"));
    }
}
