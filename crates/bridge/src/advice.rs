//! Why the container could not write to a folder, as seen from outside, where whoever mends it is.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// The cause and what to type, for the first of these folders with which something is wrong.
pub(crate) fn advice(folders: &[String]) -> Option<(String, String)> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    folders.iter().find_map(|folder| one(folder, own))
}

/// Its group counts too: where ids are mapped, a folder of another group belongs to nobody inside.
fn one(folder: &str, (user, group): (u32, u32)) -> Option<(String, String)> {
    let path = Path::new(folder);
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            return Some((format!("{folder} cannot be looked at: {error}"), format!("ls -ld {folder}")));
        }
    };
    if !meta.is_dir() {
        return Some((
            format!("{folder} is no folder, and the session writes there"),
            format!("mv {folder} {folder}.was"),
        ));
    }
    if (meta.uid(), meta.gid()) != (user, group) {
        let whose = format!("user {} and group {}", meta.uid(), meta.gid());
        return Some((
            format!(
                "{folder} belongs to {whose}, and a session writes only what belongs to user {user} and group {group}, who runs Holdpoint"
            ),
            format!("sudo chown -R {user}:{group} {folder}"),
        ));
    }
    if meta.mode() & 0o700 != 0o700 {
        return Some((
            format!("{folder} is closed to its own user (mode {:o})", meta.mode() & 0o7777),
            format!("chmod u+rwx {folder}"),
        ));
    }
    let disk = rustix::fs::statvfs(path).ok()?;
    if disk.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        return Some((
            format!("{folder} is on a disk that is mounted read-only"),
            format!("sudo mount -o remount,rw \"$(findmnt -no TARGET -T {folder})\""),
        ));
    }
    (disk.f_bavail == 0).then(|| (format!("the disk that holds {folder} is full"), format!("df -h {folder}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_first_folder_that_cannot_be_written_is_named_with_what_to_type() {
        let dir = tempfile::tempdir().expect("dir");
        let at = |name: &str| dir.path().join(name).display().to_string();
        for name in ["good", "closed"] {
            fs::create_dir(at(name)).expect("folder");
        }
        fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o500)).expect("mode");
        fs::write(at("file"), "").expect("file");
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let told = |name: &str, own| one(&at(name), own);
        assert_eq!(told("good", own), None);
        assert_eq!(told("missing", own), None);
        assert_eq!(told("file", own).expect("told").1, format!("mv {0} {0}.was", at("file")));
        assert_eq!(told("closed", own).expect("told").1, format!("chmod u+rwx {}", at("closed")));
        for (user, group) in [(own.0 + 1, own.1), (own.0, own.1 + 1)] {
            let (why, next) = told("good", (user, group)).expect("told");
            assert!(why.contains(&format!("belongs to user {}", own.0)), "{why}");
            assert_eq!(next, format!("sudo chown -R {user}:{group} {}", at("good")));
        }
        assert_eq!(
            advice(&[at("good"), at("file"), at("closed")]).expect("told").1,
            told("file", own).expect("told").1
        );
    }
}
