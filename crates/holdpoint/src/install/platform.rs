//! What there is for which machine, with the checksums of version 2.1.330.

use crate::failure::Failure;

/// What is installed on a kind of machine.
#[derive(Clone, Debug)]
pub(super) struct Platform {
    /// The npm package that holds the program.
    pub(super) npm_package: String,
    /// The SHA-512 of its archive, as npm writes it.
    pub(super) npm_integrity: &'static str,
    /// The SHA-256 of the Python wheel that holds the same program, where it is pinned.
    pub(super) wheel_sha256: Option<&'static str>,
    /// The SHA-256 of the program itself, where it is pinned.
    pub(super) program_sha256: Option<&'static str>,
    /// About how many bytes have to be fetched.
    pub(super) download_bytes: u64,
}

/// The Python package whose wheel bundles the program.
pub(super) const WHEEL: &str = "claude-agent-sdk==0.2.187";

const DOWNLOAD_BYTES: u64 = 175_000_000;

const INTEGRITY: [(&str, &str); 6] = [
    (
        "linux-x64",
        "sha512-9Gn+V7DtJ8M1nztP9CeDVl9g3RtrepI7rOFTyPRRnZe8D6zebIHKmC7OvBauucuAP0X0k85SDN/LPVZyjsGezQ==",
    ),
    (
        "linux-arm64",
        "sha512-V4yanAY5EA5UpwwRPtjSfqDbNqAlUJeVn3NYZw2AgmRHjdpSsLtHAzbxRXfkAnbjwTXzE0uedjQxUY02ARPcsA==",
    ),
    (
        "linux-x64-musl",
        "sha512-OnduSSPY1b59FA8jTbq20Y1XkDUV0S1OVyvYBNslEbpX79P81JF7Ih4lgYvDKiFnnSv75z4Kv6qLE5DQqogYXA==",
    ),
    (
        "linux-arm64-musl",
        "sha512-NemfeTqZ30tQDhAeumZgDYoX4ewhAHkN3dbcsyvlgb+yvpKUlcYu5Bor8K+Du5azGe3uy9sftlJxbGhTsCR7zA==",
    ),
    (
        "darwin-arm64",
        "sha512-rgzAjrRJJsIdZXGF9CCFFbURxKuJNobRr+krV3dNmqNJWIws74rLD0CABe4+nXlx/9WwRECTrveprWB96mubqw==",
    ),
    (
        "darwin-x64",
        "sha512-XenTNj2zXaFrnLmf47n25vChfFhlfeyaAR/vW5SFsEnLGwd2U1vDUY97+5etHBZu3xWBnlK8HhBVxzRi9YTUDw==",
    ),
];

/// This machine's.
pub(super) fn current() -> Result<Platform, Failure> {
    let is_musl = cfg!(target_os = "linux") && std::path::Path::new("/etc/alpine-release").exists();
    of(std::env::consts::OS, std::env::consts::ARCH, is_musl)
}

fn of(os: &str, arch: &str, is_musl: bool) -> Result<Platform, Failure> {
    let os = if os == "macos" { "darwin" } else { os };
    let arch = match arch {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let name = format!("{os}-{arch}{}", if is_musl { "-musl" } else { "" });
    let Some((name, npm_integrity)) = INTEGRITY.into_iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = INTEGRITY.iter().map(|(name, _)| *name).collect();
        return Err(Failure::new(format!("there is no Claude CLI for {name}"))
            .why(format!("it comes for {}", known.join(", ")))
            .next("cli = \"/path/to/claude\"     (in [claude] of holdpoint.toml)"));
    };
    let pinned = name == "linux-x64";
    Ok(Platform {
        npm_package: format!("@anthropic-ai/claude-code-{name}@{}", super::VERSION),
        npm_integrity,
        wheel_sha256: pinned.then_some("693132296d1ffca857b5d393e449fd138a89bd08024d9a3e519615ba4040d9c3"),
        program_sha256: pinned.then_some("f390eaa0814e6a1bff74cbb47acb74cb9c89d30ced809fe0af5af00c7bfe8ebb"),
        download_bytes: DOWNLOAD_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_known_by_their_npm_names() {
        let linux = of("linux", "x86_64", false).expect("known");
        assert_eq!(linux.npm_package, "@anthropic-ai/claude-code-linux-x64@2.1.330");
        assert!(linux.wheel_sha256.is_some());
        assert!(of("macos", "aarch64", false).expect("known").npm_package.contains("darwin-arm64"));
        let unknown = of("freebsd", "x86_64", false).expect_err("unknown").to_string();
        assert!(unknown.contains("freebsd-x64") && unknown.contains("linux-x64"), "{unknown}");
    }
}
