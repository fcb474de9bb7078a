//! What of Debian is in the base image.

/// The release. Its glibc is the oldest that Holdpoint supports, so what was built here runs there.
pub(crate) const SUITE: &str = "bookworm";

/// The C library of that release: a program that needs a later one does not start in the image.
pub(crate) const GLIBC: (u32, u32) = (2, 36);

/// What agents need beyond the smallest Debian (which has bash, coreutils, findutils, grep, gzip, sed,
/// tar and apt). Each has its reason; what one agent alone needs goes into the image of that agent.
pub(crate) const PACKAGES: &[&str] = &[
    // TLS to anywhere, for git and curl.
    "ca-certificates",
    // What agents fetch with.
    "curl",
    // `diff`, which the CLI's own edits are compared with, and `patch`.
    "diffutils",
    "patch",
    // The CLI asks git what a folder is at its start. Brings perl along, which it cannot do without.
    "git",
    // JSON in shell commands.
    "jq",
    // The pager of git.
    "less",
    // `ps`, `pkill` and `free`: the CLI looks for the children of its shells.
    "procps",
    // Short scripts. `python3-minimal` has no `json` and no `urllib`, which most of them begin with.
    "python3",
    // What the CLI searches with.
    "ripgrep",
    // Archives as people upload them.
    "unzip",
];

/// What is not even unpacked, now or by a later `apt-get install`: what people read. Licences stay.
pub(crate) const DPKG_OPTIONS: &[&str] = &[
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
];

/// Debian's name for the architecture of this machine, which is also that of image engines.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
