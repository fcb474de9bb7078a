//! What a container engine says when it cannot start something, in words, with what to type. The engines say
//! the same thing in many ways; what is looked for here was provoked with Podman 4.3 and runc 1.1.

use bollard::errors::Error;
use holdpoint_containers::Kind;

use crate::EngineError;

/// What is known of the start that failed.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) kind: Kind,
    pub(super) image: &'a str,
}

/// A cause that is recognised by what the engine says: any of these, all of these words.
struct Symptom {
    words: &'static [&'static str],
    why: &'static str,
    next: &'static str,
}

/// From the most particular to the most general.
const SYMPTOMS: &[Symptom] = &[
    Symptom {
        words: &["insufficient uids or gids"],
        why: "rootless Podman has too few subordinate user ids to unpack the image",
        next: "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER && podman system migrate",
    },
    Symptom {
        words: &["no subuid ranges found"],
        why: "this user has no subordinate user ids",
        next: "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER && podman system migrate",
    },
    Symptom {
        words: &["newuidmap", "not found"],
        why: "the program newuidmap is missing, which gives containers their user ids",
        next: "sudo apt-get install uidmap",
    },
    Symptom {
        words: &["newuidmap"],
        why: "newuidmap refused to map user ids",
        next: "grep $USER /etc/subuid /etc/subgid     (a range each), then `podman system migrate`",
    },
    Symptom {
        words: &["crun", "cgroup"],
        why: "crun does not take this machine's control groups",
        next: "sudo apt-get install runc, and `runtime = \"runc\"` below `[engine]` in containers.conf",
    },
    Symptom {
        words: &["unknown version specified"],
        why: "crun is too old for the engine",
        next: "sudo apt-get install runc, and `runtime = \"runc\"` below `[engine]` in containers.conf",
    },
    Symptom {
        words: &["setting rlimit", "operation not permitted"],
        why: "limits of processes may not be raised on this machine",
        next: "`default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]` below `[containers]` in containers.conf",
    },
    Symptom {
        words: &["error setting rlimit"],
        why: "limits of processes may not be raised on this machine",
        next: "`default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]` below `[containers]` in containers.conf",
    },
    Symptom {
        words: &["no space left on device"],
        why: "the disk with the engine's storage is full",
        next: "podman system df, then `podman image prune`",
    },
    Symptom {
        words: &["disk quota exceeded"],
        why: "the disk quota of the engine's storage is used up",
        next: "podman system df, then `podman image prune`",
    },
    Symptom {
        words: &["/usr/local/bin/holdpoint", "no such file"],
        why: "the image has no `holdpoint` program: it is not built on Holdpoint's base image",
        next: "holdpoint image build --base     (and build other images on it)",
    },
    Symptom {
        words: &["exec format error"],
        why: "the image is for another kind of processor",
        next: "holdpoint image build --base",
    },
    Symptom {
        words: &["statfs", "no such file or directory"],
        why: "a folder that the session needs is gone from this machine",
        next: "start the conversation again, or restore a backup with `holdpoint restore`",
    },
    Symptom {
        words: &["permission denied", "/var/lib/containers"],
        why: "the engine's storage belongs to somebody else",
        next: "podman info     (as the user that runs Holdpoint)",
    },
    Symptom {
        words: &["overlay", "not supported over"],
        why: "the disk with the engine's storage does not take overlays",
        next: "sudo apt-get install fuse-overlayfs, and `mount_program = \"/usr/bin/fuse-overlayfs\"` in storage.conf",
    },
];

/// The error of a failed start.
pub(super) fn explain(error: &Error, attempt: &Attempt<'_>) -> EngineError {
    let said = said(error);
    let lower = said.to_lowercase();
    let container = |why: String, next: String| EngineError::Container { why, next, said: said.clone() };
    let status = match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    };
    if let Some(symptom) =
        SYMPTOMS.iter().find(|symptom| symptom.words.iter().all(|word| lower.contains(word)))
    {
        return container(symptom.why.into(), symptom.next.into());
    }
    if status == Some(404) && (lower.contains("no such image") || lower.contains("image not known")) {
        let next = if attempt.image.starts_with("localhost/holdpoint/base") {
            "holdpoint image build --base".to_owned()
        } else if attempt.kind == Kind::Docker {
            format!("docker pull {}", attempt.image)
        } else {
            format!("podman pull {}", attempt.image)
        };
        return container(format!("the image {} is not on this machine", attempt.image), next);
    }
    if status.is_none() {
        let next = match attempt.kind {
            Kind::RootlessPodman => "systemctl --user enable --now podman.socket",
            Kind::RootfulPodman => "sudo systemctl enable --now podman.socket",
            Kind::Docker => "sudo systemctl enable --now docker",
        };
        return container(format!("{} does not answer any more", attempt.kind), next.into());
    }
    let next = if attempt.kind == Kind::Docker { "docker info" } else { "podman info" };
    container(format!("{} refused", attempt.kind), format!("{next}     (and its own log)"))
}

fn said(error: &Error) -> String {
    match error {
        Error::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status_code: u16, message: &str) -> String {
        let error = Error::DockerResponseServerError { status_code, message: message.into() };
        explain(&error, &Attempt { kind: Kind::RootlessPodman, image: "localhost/holdpoint/base:1" })
            .to_string()
    }

    #[test]
    fn causes_are_told_with_what_to_type() {
        for (status, said, command) in [
            (404, "No such image: localhost/holdpoint/base:1", "holdpoint image build --base"),
            (
                500,
                "potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/gshadow): Check /etc/subuid",
                "usermod --add-subuids",
            ),
            (500, "exec: \"newuidmap\": executable file not found in $PATH", "apt-get install uidmap"),
            (500, "crun: opening file `memory.max` for writing: cgroup: No such file", "runtime = \"runc\""),
            (500, "write /var/tmp/x: no space left on device", "podman system df"),
            (500, "something new", "podman info"),
        ] {
            let text = of(status, said);
            assert!(text.contains(command) && text.contains(said), "{text}");
        }
    }
}
