//! What a container is created with. Pure: everything is decided from what is given.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, ResourcesUlimits};
use holdpoint_containers::Kind;
use holdpoint_model::{
    ContainerDef, Network, SharedFolder,
    container::{GATEWAY_DIR, SESSION_DIR},
    image::PROGRAM_PATH,
};

use crate::WorkerId;

/// Says in which data folder a container's execution is.
pub const LABEL_DATA: &str = "io.holdpoint.data";

/// Says whose container it is: `EXECUTION/INCARNATION`.
pub const LABEL_WORKER: &str = "io.holdpoint.worker";

/// More places for temporary files than `/tmp`, and their size in bytes: some programs insist on them.
const MORE_TMP: (&str, u64) = ("/var/tmp", 64 << 20);

/// Shared memory, in bytes.
const SHARED_MEMORY_BYTES: i64 = 64 << 20;

/// Open files of one process.
const OPEN_FILES: i64 = 1024;

/// Processes that a user may have beyond those that its container may.
const MORE_PROCESSES: u32 = 16;

/// The first of the user ids that sessions get where Holdpoint is root. No account has them
/// (<https://systemd.io/UIDS-GIDS/>), and each execution has one of its own.
const FIRST_UID: u32 = 0x7000_0000;

/// What the engine can bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) memory: bool,
    pub(super) processes: bool,
    pub(super) cpus: bool,
}

/// Who a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// The operator, in a user namespace of Podman's where that is nobody else's id.
    KeepId { uid: u32, gid: u32 },
    /// The operator, who is not root.
    Operator { uid: u32, gid: u32 },
    /// An id that nobody has; the operator is root, and folders are mounted with mapped ids.
    Mapped { uid: u32 },
}

impl User {
    /// For an operator of these ids.
    pub(super) fn of(kind: Kind, uid: u32, gid: u32, id: WorkerId) -> Self {
        match kind {
            _ if uid == 0 => {
                let [.., a, b, c] = id.execution.0.into_bytes();
                Self::Mapped { uid: FIRST_UID | u32::from_be_bytes([0, a, b, c]) }
            }
            Kind::RootlessPodman => Self::KeepId { uid, gid },
            Kind::RootfulPodman | Kind::Docker => Self::Operator { uid, gid },
        }
    }

    fn ids(self) -> (u32, u32) {
        match self {
            Self::KeepId { uid, gid } | Self::Operator { uid, gid } => (uid, gid),
            Self::Mapped { uid } => (uid, uid),
        }
    }
}

/// A folder of the host, and where the container sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shared {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    pub(super) read_only: bool,
}

/// Everything that one container is made of.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) id: WorkerId,
    pub(super) data: &'a Path,
    pub(super) image: &'a str,
    pub(super) def: &'a ContainerDef,
    pub(super) user: User,
    pub(super) bounds: Bounds,
    pub(super) shared: &'a [Shared],
}

/// The name of a worker's container.
pub(super) fn name(id: WorkerId) -> String {
    format!("holdpoint-{}-{}", id.execution, id.incarnation)
}

/// What the container sees of the host.
pub(super) fn shared(
    workspace: &Path,
    home: &Path,
    session: &Path,
    gateway: Option<&Path>,
    read_only: &[PathBuf],
    folders: &[SharedFolder],
) -> Vec<Shared> {
    let same = |path: &Path, read_only| Shared { source: path.into(), target: path.into(), read_only };
    let at =
        |path: &Path, target: &str| Shared { source: path.into(), target: target.into(), read_only: true };
    let mut shared = vec![same(workspace, false), same(home, false)];
    shared.push(at(session, SESSION_DIR));
    shared.extend(gateway.map(|gateway| at(gateway, GATEWAY_DIR)));
    shared.extend(read_only.iter().map(|path| same(path, true)));
    shared.extend(folders.iter().map(|folder| same(&folder.path, !folder.write)));
    shared
}

/// What the engine is asked for.
pub(super) fn body(plan: &Plan<'_>) -> ContainerCreateBody {
    let (uid, gid) = plan.user.ids();
    let def = plan.def;
    let bytes = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
    let mounts = plan.shared.iter().map(|shared| Mount {
        typ: Some(MountType::BIND),
        source: Some(shared.source.display().to_string()),
        target: Some(shared.target.display().to_string()),
        read_only: Some(shared.read_only),
        ..Mount::default()
    });
    let limit = |name: &str, most: i64| ResourcesUlimits {
        name: Some(name.into()),
        soft: Some(most),
        hard: Some(most),
    };
    // For commands beside the session. The first process of a container bounds itself, and all that it starts:
    // rootless Podman 4.3 takes limits over its socket, and sets none.
    let mut ulimits = vec![limit("nofile", OPEN_FILES), limit("fsize", bytes(def.file.0)), limit("core", 0)];
    ulimits.extend(user_processes(plan).map(|most| limit("nproc", most.into())));
    #[allow(clippy::cast_possible_truncation)]
    let nano_cpus = (def.cpus * 1e9) as i64;
    ContainerCreateBody {
        image: Some(plan.image.to_owned()),
        hostname: Some("session".into()),
        user: Some(format!("{uid}:{gid}")),
        entrypoint: Some(vec![PROGRAM_PATH.into()]),
        cmd: Some(inside_args(plan)),
        // Whatever the image says: only the program that is started inside gets an environment.
        env: Some(vec![format!("PATH={}", holdpoint_model::container::PATH)]),
        labels: Some(HashMap::from([
            (LABEL_DATA.to_owned(), plan.data.display().to_string()),
            (LABEL_WORKER.to_owned(), plan.id.to_string()),
        ])),
        host_config: Some(HostConfig {
            mounts: Some(mounts.collect()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".into()]),
            security_opt: Some(vec!["no-new-privileges".into()]),
            privileged: Some(false),
            tmpfs: Some(tmpfs(def, plan.data)),
            shm_size: Some(SHARED_MEMORY_BYTES),
            network_mode: match def.network {
                Network::GatewayOnly | Network::None => Some("none".into()),
                Network::Open => None,
            },
            userns_mode: matches!(plan.user, User::KeepId { .. }).then(|| "keep-id".into()),
            memory: plan.bounds.memory.then(|| bytes(def.memory.0)),
            memory_swap: plan.bounds.memory.then(|| bytes(def.memory.0)),
            pids_limit: plan.bounds.processes.then(|| def.processes.into()),
            nano_cpus: plan.bounds.cpus.then_some(nano_cpus),
            ulimits: Some(ulimits),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// How many processes its user may have. Counted by user: whoever shares the operator's id would be bounded by
/// what the operator runs. It is set in any other case: rootless Podman says that it bounds processes where it
/// cannot. A little higher, because the kernel looks at this limit first, and counts only what the other refuses.
fn user_processes(plan: &Plan<'_>) -> Option<u32> {
    (!matches!(plan.user, User::Operator { .. })).then(|| plan.def.processes.saturating_add(MORE_PROCESSES))
}

fn inside_args(plan: &Plan<'_>) -> Vec<String> {
    let def = plan.def;
    let mut args = vec!["inside".to_owned(), format!("--file-bytes={}", def.file.0)];
    args.push(format!("--open-files={OPEN_FILES}"));
    args.extend(user_processes(plan).map(|most| format!("--user-processes={most}")));
    if def.network == Network::None {
        args.push("--cli-alone".into());
    }
    args
}

fn tmpfs(def: &ContainerDef, data: &Path) -> HashMap<String, String> {
    let of = |size: u64| format!("rw,nosuid,nodev,mode=1777,size={size}");
    let mut all =
        HashMap::from([("/tmp".to_owned(), of(def.tmp.0)), (MORE_TMP.0.to_owned(), of(MORE_TMP.1))]);
    if data.starts_with("/root") {
        // The image's own is closed to everybody but root, and what is mounted below would be, too.
        all.insert("/root".into(), "rw,nosuid,nodev,mode=755,size=64k".into());
    }
    all
}

#[cfg(test)]
mod tests {
    use holdpoint_model::ExecutionId;

    use super::*;

    fn id() -> WorkerId {
        WorkerId { execution: ExecutionId(uuid::Uuid::from_u128(0xabc)), incarnation: 3 }
    }

    fn whole_body_of(def: &ContainerDef, user: User, bounds: bool) -> ContainerCreateBody {
        let shared = shared(
            "/d/w".as_ref(),
            "/d/h".as_ref(),
            "/d/s".as_ref(),
            Some("/d/g".as_ref()),
            &["/p".into()],
            &def.folders,
        );
        let bounds = Bounds { memory: bounds, processes: bounds, cpus: bounds };
        let data = Path::new("/root/d");
        body(&Plan { id: id(), data, image: "i", def, user, bounds, shared: &shared })
    }

    fn body_of(def: &ContainerDef, user: User, bounds: bool) -> HostConfig {
        let body = whole_body_of(def, user, bounds);
        body.host_config.expect("a host configuration")
    }

    #[test]
    fn nothing_is_open_unless_someone_chose_it() {
        let host = body_of(&ContainerDef::default(), User::KeepId { uid: 7, gid: 8 }, true);
        assert_eq!(host.cap_drop, Some(vec!["ALL".into()]));
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".into()]));
        assert_eq!((host.readonly_rootfs, host.privileged), (Some(true), Some(false)));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.userns_mode.as_deref(), Some("keep-id"));
        assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
        assert_eq!((host.pids_limit, host.nano_cpus), (Some(512), Some(1_000_000_000)));
        let limits = host.ulimits.expect("limits");
        let nproc = limits.iter().find(|limit| limit.name.as_deref() == Some("nproc")).expect("nproc");
        assert_eq!(nproc.hard, Some(528), "Podman's own bound may be none");
        let written: Vec<_> = host
            .mounts
            .expect("mounts")
            .into_iter()
            .filter(|mount| mount.read_only == Some(false))
            .filter_map(|mount| mount.target)
            .collect();
        assert_eq!(written, ["/d/w", "/d/h"]);
        assert!(host.tmpfs.expect("tmpfs").contains_key("/root"));
    }

    #[test]
    fn the_first_process_bounds_itself_whatever_the_engine_does() {
        let args = |user| whole_body_of(&ContainerDef::default(), user, true).cmd.expect("arguments");
        let own = args(User::Mapped { uid: 7 });
        assert!(own.contains(&format!("--file-bytes={}", 4_u64 << 30)), "{own:?}");
        assert!(own.contains(&"--user-processes=528".to_owned()), "{own:?}");
        let shared = args(User::Operator { uid: 7, gid: 8 });
        assert!(shared.iter().all(|arg| !arg.starts_with("--user-processes")), "{shared:?}");
    }

    #[test]
    fn what_the_engine_cannot_bound_it_is_not_asked_for() {
        let host = body_of(&ContainerDef::default(), User::Operator { uid: 7, gid: 8 }, false);
        assert_eq!((host.memory, host.pids_limit, host.nano_cpus), (None, None, None));
        assert!(host.ulimits.expect("limits").iter().all(|limit| limit.name.as_deref() != Some("nproc")));
        assert_eq!(host.userns_mode, None);
    }

    #[test]
    fn a_session_is_never_root() {
        for kind in [Kind::RootlessPodman, Kind::RootfulPodman, Kind::Docker] {
            let User::Mapped { uid } = User::of(kind, 0, 0, id()) else { panic!("root must be mapped") };
            assert_eq!(uid, 0x7000_0abc);
            assert_ne!(User::of(kind, 5, 6, id()).ids().0, 0);
        }
    }
}
