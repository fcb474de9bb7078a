//! Why no container engine could be used, in words, with what to type.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{Kind, symptoms::recognise};

/// The packages that make Podman work on Debian and Ubuntu, rootless too.
const PODMAN_PACKAGES: &str = "podman runc uidmap slirp4netns fuse-overlayfs netavark aardvark-dns";

/// No container engine could be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What was tried, in order; at least one.
    pub tried: Vec<Tried>,
}

/// One that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// As a heading: `rootless Podman`.
    pub what: String,
    /// What decided against it.
    pub fact: Fact,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.fact)
    }
}

/// What decided against an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// There is no socket.
    NoSocket {
        /// Where it should be.
        socket: PathBuf,
    },
    /// The socket is somebody else's.
    NotAllowed {
        /// Which.
        socket: PathBuf,
    },
    /// The socket was left behind.
    NobodyListens {
        /// Which.
        socket: PathBuf,
    },
    /// It failed to answer as an engine does.
    Refused {
        /// Which.
        socket: PathBuf,
        /// Why.
        error: String,
    },
    /// It is not what was asked for.
    OtherKind {
        /// Which.
        socket: PathBuf,
        /// What it is.
        kind: Kind,
    },
    /// The address in a variable is none of a socket on this machine.
    OtherMachine {
        /// The variable.
        variable: &'static str,
        /// What it says.
        address: String,
    },
    /// Rootless Podman, as root.
    IsRoot,
    /// Rootful Podman, not as root.
    IsNotRoot,
    /// `podman` is not on the PATH.
    NoPodman,
    /// Podman could not be served.
    NotServed {
        /// The command.
        command: String,
        /// Why: how it ended, and the last of what it said.
        error: String,
    },
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket { socket } => write!(f, "there is no socket {}", socket.display()),
            Self::NotAllowed { socket } => write!(f, "this user may not use {}", socket.display()),
            Self::NobodyListens { socket } => write!(f, "nobody listens on {}", socket.display()),
            Self::Refused { socket, error } => write!(f, "{} does not work: {error}", socket.display()),
            Self::OtherKind { socket, kind } => write!(f, "{} is {kind}", socket.display()),
            Self::OtherMachine { variable, address } => {
                write!(f, "{variable} is {address}: only unix:// sockets of this machine can be used")
            }
            Self::IsRoot => f.write_str("this is root; rootless Podman is that of an ordinary user"),
            Self::IsNotRoot => f.write_str("only root can serve it"),
            Self::NoPodman => f.write_str("podman is not installed"),
            Self::NotServed { command, error } => {
                if let Some(symptom) = recognise(error) {
                    write!(f, "{} (", symptom.why)?;
                }
                write!(f, "`{command}` failed: {error}")?;
                if recognise(error).is_some() { f.write_str(")") } else { Ok(()) }
            }
        }
    }
}

impl Fact {
    /// What to type to change it, if one command does.
    #[must_use]
    pub fn next(&self) -> Option<String> {
        match self {
            Self::NoSocket { .. } | Self::IsRoot | Self::IsNotRoot | Self::OtherKind { .. } => None,
            Self::NotAllowed { socket } if is_dockers(socket) => Some(
                "sudo usermod -aG docker $USER     (then sign in anew; who may use it is as good as root)"
                    .into(),
            ),
            Self::NotAllowed { socket } => Some(format!(
                "`engine = \"rootless-podman\"` below `[container]` in holdpoint.toml, or: sudo setfacl -m u:$USER:rw {}     (who may use it is as good as its owner)",
                socket.display()
            )),
            Self::NobodyListens { socket } if is_dockers(socket) => {
                Some("sudo systemctl start docker".into())
            }
            Self::NobodyListens { socket } => Some(serve(socket)),
            Self::Refused { socket, .. } => {
                Some(format!("curl --unix-socket {} http://d/_ping", socket.display()))
            }
            Self::OtherMachine { variable, .. } => Some(format!("unset {variable}")),
            Self::NoPodman => Some(format!("sudo apt-get install -y {PODMAN_PACKAGES}")),
            Self::NotServed { command, error } => {
                Some(recognise(error).map_or_else(|| command.clone(), |symptom| symptom.next.to_owned()))
            }
        }
    }
}

impl Fact {
    /// What to type where nothing else was tried that could be mended.
    fn only_way(&self) -> Option<String> {
        let choose =
            |kind: Kind| format!("`engine = \"{}\"` below `[container]` in holdpoint.toml", kind.name());
        match self {
            Self::NoSocket { socket } if is_dockers(socket) => {
                Some("sudo systemctl enable --now docker".into())
            }
            Self::NoSocket { socket } => Some(serve(socket)),
            Self::IsRoot => Some(choose(Kind::RootfulPodman)),
            Self::IsNotRoot => Some(choose(Kind::RootlessPodman)),
            Self::OtherKind { kind, .. } => Some(choose(*kind)),
            _ => None,
        }
    }
}

fn is_dockers(socket: &Path) -> bool {
    socket.ends_with("docker.sock")
}

fn serve(socket: &Path) -> String {
    format!("podman system service --time=0 unix://{} &", socket.display())
}

impl ConnectError {
    /// What to type next: one line each, no line twice.
    #[must_use]
    pub fn next(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.tried.iter().filter_map(|tried| tried.fact.next()) {
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        if lines.is_empty() {
            // What is only in the way of one of several is the whole story where there was one.
            lines.extend(self.tried.iter().find_map(|tried| tried.fact.only_way()));
        }
        lines
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, tried) in self.tried.iter().enumerate() {
            write!(f, "{}{tried}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_candidate_has_its_line_and_no_command_comes_twice() {
        let tried = |what: &str, fact| Tried { what: what.into(), fact };
        let error = ConnectError {
            tried: vec![
                tried("rootless Podman", Fact::NoPodman),
                tried("rootful Podman", Fact::NoPodman),
                tried("Docker", Fact::NotAllowed { socket: "/var/run/docker.sock".into() }),
            ],
        };
        assert_eq!(
            error.to_string(),
            "rootless Podman: podman is not installed\n\
             rootful Podman: podman is not installed\n\
             Docker: this user may not use /var/run/docker.sock"
        );
        let next = error.next();
        assert_eq!(next.len(), 2, "{next:?}");
        assert!(next[0].contains("apt-get install") && next[1].contains("usermod"), "{next:?}");
    }
}
