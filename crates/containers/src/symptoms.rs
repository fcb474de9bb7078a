//! What container engines say when something is wrong with the machine, in words, with what to type. The
//! engines say the same thing in many ways; what is looked for here was provoked with Podman 4.3 and runc 1.1
//! (`tests/tests/symptoms.rs`).

/// A cause that is recognised by what an engine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// All of these words are said.
    words: &'static [&'static str],
    /// The cause.
    pub why: &'static str,
    /// What to type.
    pub next: &'static str,
}

const SUBORDINATE_IDS: &str = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER && podman system migrate     (a range that /etc/subuid gives to nobody else)";

const RUNC: &str =
    "sudo apt-get install -y runc, and `runtime = \"runc\"` below `[engine]` in containers.conf";

const ULIMITS: &str = "ulimit -Hu; ulimit -Hn     (what is allowed: `container.processes` of the agent must be below the first, and the second at least 1024)";

const SPACE: &str = "podman system df, then `podman image prune`";

/// From the most particular to the most general.
const SYMPTOMS: &[Symptom] = &[
    Symptom {
        words: &["insufficient uids or gids"],
        why: "rootless Podman has too few subordinate user ids to unpack the image",
        next: SUBORDINATE_IDS,
    },
    Symptom {
        words: &["no subuid ranges found"],
        why: "this user has no subordinate user ids",
        next: SUBORDINATE_IDS,
    },
    Symptom {
        words: &["no subgid ranges found"],
        why: "this user has no subordinate group ids",
        next: SUBORDINATE_IDS,
    },
    Symptom {
        words: &["keep-id requires additional uids"],
        why: "this user has no subordinate user ids",
        next: SUBORDINATE_IDS,
    },
    Symptom {
        words: &["newuidmap", "not found"],
        why: "the program newuidmap is missing, which gives containers their user ids",
        next: "sudo apt-get install -y uidmap",
    },
    Symptom {
        words: &["newgidmap", "not found"],
        why: "the program newgidmap is missing, which gives containers their group ids",
        next: "sudo apt-get install -y uidmap",
    },
    Symptom {
        words: &["should have setuid"],
        why: "newuidmap may not map user ids: it has lost its setuid bit",
        next: "sudo apt-get install -y --reinstall uidmap",
    },
    Symptom {
        words: &["newuidmap"],
        why: "newuidmap refused to map user ids",
        next: "grep $USER /etc/subuid /etc/subgid     (a range each), then `podman system migrate`",
    },
    Symptom {
        words: &["crun", "cgroup"],
        why: "crun does not take this machine's control groups",
        next: RUNC,
    },
    Symptom { words: &["unknown version specified"], why: "crun is too old for the engine", next: RUNC },
    Symptom {
        words: &["default oci runtime", "not found"],
        why: "the program that starts containers is missing",
        next: RUNC,
    },
    Symptom {
        words: &["setting rlimit", "operation not permitted"],
        why: "limits of processes may not be raised on this machine",
        next: ULIMITS,
    },
    Symptom {
        words: &["no space left on device"],
        why: "the disk with the engine's storage is full",
        next: SPACE,
    },
    Symptom {
        words: &["disk quota exceeded"],
        why: "the disk quota of the engine's storage is used up",
        next: SPACE,
    },
    Symptom {
        words: &["/usr/local/bin/holdpoint", "no such file"],
        why: "the image has no `holdpoint` program: it is not built on Holdpoint's base image",
        next: "holdpoint image build --base     (and build other images on it)",
    },
    Symptom {
        words: &["exec format error"],
        why: "the image is for another kind of processor",
        next: "holdpoint image build --base     (and build other images on it, on a machine of this kind)",
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
        next: "sudo apt-get install -y fuse-overlayfs, and `mount_program = \"/usr/bin/fuse-overlayfs\"` in storage.conf",
    },
];

/// The cause of what an engine says, if it is one that is known.
#[must_use]
pub fn recognise(said: &str) -> Option<&'static Symptom> {
    let said = said.to_lowercase();
    SYMPTOMS.iter().find(|symptom| symptom.words.iter().all(|word| said.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_engines_were_seen_to_say_is_recognised() {
        for (said, command) in [
            (
                "potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/gshadow): Check /etc/subuid",
                "usermod --add-subuids",
            ),
            (
                "keep-id requires additional UIDs or GIDs defined in /etc/subuid and /etc/subgid to function correctly: %!w(<nil>)",
                "usermod --add-subuids",
            ),
            (
                "command required for rootless mode with multiple IDs: exec: \"newuidmap\": executable file not found in $PATH",
                "install -y uidmap",
            ),
            (
                "cannot set up namespace using \"/usr/bin/newuidmap\": should have setuid or have filecaps setuid: exit status 1",
                "--reinstall uidmap",
            ),
            ("crun: opening file `memory.max` for writing: cgroup: No such file", "runtime = \"runc\""),
            (
                "OCI runtime error: crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2",
                "runtime = \"runc\"",
            ),
            (
                "runc create failed: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted",
                "ulimit -Hu",
            ),
            ("write /var/tmp/x: no space left on device", "podman system df"),
            (
                "runc create failed: exec: \"/usr/local/bin/holdpoint\": stat /usr/local/bin/holdpoint: no such file or directory",
                "holdpoint image build --base",
            ),
            ("exec /usr/local/bin/holdpoint: exec format error", "holdpoint image build --base"),
        ] {
            let found = recognise(said).expect(said);
            assert!(found.next.contains(command), "{said}: {found:?}");
        }
        assert_eq!(recognise("something new"), None);
    }
}
