//! What a session in a container gets, and the places inside that both sides know.

use std::{fmt, path::PathBuf, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The folder inside a container where its worker's socket is.
pub const SESSION_DIR: &str = "/run/holdpoint/session";

/// The folder inside a container where the gateway's socket is.
pub const GATEWAY_DIR: &str = "/run/holdpoint/gateway";

/// The port on loopback inside a container that leads to the gateway. Nothing else listens there: every
/// container has a network of its own.
pub const GATEWAY_PORT: u16 = 8377;

/// `PATH` inside.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The processors of a session where its agent says nothing.
const DEFAULT_CPUS: f64 = 1.0;

/// The memory of a session where its agent says nothing.
const DEFAULT_MEMORY: HumanSize = HumanSize(1 << 30);

/// The processes and threads of a session where its agent says nothing. The CLI alone has about thirty.
const DEFAULT_PROCESSES: u32 = 512;

/// The size of `/tmp` where an agent says nothing. It counts as memory.
const DEFAULT_TMP: HumanSize = HumanSize(256 << 20);

/// The largest file where an agent says nothing.
const DEFAULT_FILE: HumanSize = HumanSize(4 << 30);

/// The files of a conversation all together where an agent says nothing.
const DEFAULT_DISK: HumanSize = HumanSize(5 << 30);

/// How a session in a container is bounded: the table `[agents.NAME.container]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerDef {
    /// The image, by name or digest; Holdpoint's base image where absent.
    pub image: Option<String>,
    /// Processors, as in `1.5`.
    pub cpus: f64,
    /// Memory of everything that runs in it, as in `"1GiB"`.
    pub memory: HumanSize,
    /// Processes and threads.
    pub processes: u32,
    /// The size of `/tmp`, which is memory and counts as such.
    pub tmp: HumanSize,
    /// The largest file that may be written.
    pub file: HumanSize,
    /// All files of the conversation together: the workspace and the session's home. One that has more is ended.
    pub disk: HumanSize,
    /// What it reaches.
    pub network: Network,
    /// More folders of this machine that it sees, at the same paths.
    pub folders: Vec<SharedFolder>,
}

impl Default for ContainerDef {
    fn default() -> Self {
        Self {
            image: None,
            cpus: DEFAULT_CPUS,
            memory: DEFAULT_MEMORY,
            processes: DEFAULT_PROCESSES,
            tmp: DEFAULT_TMP,
            file: DEFAULT_FILE,
            disk: DEFAULT_DISK,
            network: Network::GatewayOnly,
            folders: Vec::new(),
        }
    }
}

/// Something that a person should know about a session's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// So many processes were killed because all of them together had used up the memory.
    OutOfMemory {
        /// Since the last note.
        killed: u64,
    },
    /// So many times no process could be started because there were too many.
    TooManyProcesses {
        /// Since the last note.
        refused: u64,
    },
    /// This folder of the container's memory is full.
    Full {
        /// Which.
        folder: String,
    },
    /// The session could not be started in its container, for a reason that somebody has to see to.
    NotStarted {
        /// The cause.
        why: String,
        /// What to type.
        next: String,
        /// What was said inside.
        said: String,
    },
}

/// A folder of this machine that all sessions of an agent see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedFolder {
    /// Which; relative to the configuration.
    pub path: PathBuf,
    /// Whether they may write to it. What one of them writes, all others read.
    #[serde(default)]
    pub write: bool,
}

/// What a session in a container reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The gateway, and nothing else: neither other machines nor this one.
    #[default]
    GatewayOnly,
    /// Whatever the container engine's own network reaches.
    Open,
    /// Nothing. The gateway answers the CLI alone; a command that the CLI runs is let down.
    None,
}

/// A size in memory or on disk as people write it: `"512MiB"`, `"1GiB"`. In bytes inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct HumanSize(pub u64);

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl FromStr for HumanSize {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || format!("{text:?} is no size: write a number and a unit, as in \"512MiB\" or \"1GiB\"");
        let trimmed = text.trim();
        let split = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, unit) = trimmed.split_at(split);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(bad)?;
        number.checked_mul(*bytes).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<String> for HumanSize {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) =
            UNITS.into_iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes)).unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

impl From<HumanSize> for String {
    fn from(size: HumanSize) -> Self {
        size.to_string()
    }
}

impl Note {
    /// As people read it, for an agent with these bounds.
    #[must_use]
    pub fn told(&self, def: &ContainerDef) -> String {
        match self {
            Self::OutOfMemory { killed } => format!(
                "The session had used all of its {} of memory, so {} killed in the middle of its work. More is `container.memory` of the agent.",
                def.memory,
                if *killed == 1 { "a process was".to_owned() } else { format!("{killed} processes were") }
            ),
            Self::TooManyProcesses { .. } => format!(
                "The session had {} processes and threads, so no more could be started. More is `container.processes` of the agent.",
                def.processes
            ),
            Self::Full { folder } => format!(
                "{folder} in the session's container is full, so nothing more could be written there. More than {} is `container.tmp` of the agent.",
                def.tmp
            ),
            Self::NotStarted { why, next, .. } => {
                format!("The session could not be started: {why}. Try: {next}")
            }
        }
    }
}

/// The least memory with which the CLI comes up and can run a command (seen: 165 MB for the CLI alone).
pub const LEAST_MEMORY: HumanSize = HumanSize(256 << 20);

/// The least room for files: the CLI's own records of a conversation, and a little work.
pub const LEAST_DISK: HumanSize = HumanSize(16 << 20);

/// The fewest processes and threads with which it does.
pub const FEWEST_PROCESSES: u32 = 64;

impl ContainerDef {
    /// What is wrong with it: the key and why.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if !(self.cpus.is_finite() && self.cpus >= 0.1) {
            found.push(("cpus", format!("{} is too little: 0.1 or more", self.cpus)));
        }
        if self.memory < LEAST_MEMORY {
            found.push(("memory", format!("the Claude CLI needs {LEAST_MEMORY} or more")));
        }
        if self.processes < FEWEST_PROCESSES {
            found.push(("processes", format!("the Claude CLI needs {FEWEST_PROCESSES} or more")));
        }
        if self.tmp.0 == 0 {
            found.push(("tmp", "the Claude CLI needs a folder for temporary files".into()));
        }
        if self.file.0 == 0 {
            found.push(("file", "nothing could be written".into()));
        }
        if self.disk < LEAST_DISK {
            found.push(("disk", format!("a conversation needs {LEAST_DISK} or more")));
        }
        if self.image.as_ref().is_some_and(|image| image.trim().is_empty()) {
            found.push(("image", "an empty name; leave it out for the base image".into()));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_alike() {
        for text in ["0GiB", "1B", "512MiB", "3KiB", "1GiB", "1500MiB"] {
            assert_eq!(text.parse::<HumanSize>().expect(text).to_string(), text);
        }
        assert_eq!("1024 MiB".parse::<HumanSize>().expect("size").to_string(), "1GiB");
        for text in ["", "1", "GiB", "1GB", "-1MiB", "1.5GiB", "99999999999999999999B", "99999999999999GiB"] {
            assert!(text.parse::<HumanSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_defaults_are_good_and_nonsense_is_named() {
        assert_eq!(ContainerDef::default().problems(), []);
        let nonsense = ContainerDef {
            image: Some(" ".into()),
            cpus: f64::NAN,
            memory: HumanSize(1),
            processes: 1,
            tmp: HumanSize(0),
            file: HumanSize(0),
            disk: HumanSize(0),
            network: Network::Open,
            folders: Vec::new(),
        };
        let keys: Vec<&str> = nonsense.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["cpus", "memory", "processes", "tmp", "file", "disk", "image"]);
    }
}
