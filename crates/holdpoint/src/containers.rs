//! The container engine of this machine, as configuration and environment have it.

use std::path::PathBuf;

use holdpoint_containers::{ConnectError, ConnectOptions, Containers};

use crate::{config::Container, env::Environment, failure::Failure};

/// Connects to the engine that the configuration asks for.
///
/// # Errors
/// When none can be used: with the deciding fact about each, and what to type.
pub async fn connect(container: &Container, environment: &Environment) -> Result<Containers, Failure> {
    let connected = Containers::connect(&options(container, environment)).await;
    connected.map_err(|error| failure(&error))
}

/// What connecting needs to know.
#[must_use]
pub fn options(container: &Container, environment: &Environment) -> ConnectOptions {
    let uid = rustix::process::geteuid().as_raw();
    ConnectOptions {
        choice: container.engine.clone(),
        uid,
        runtime_dir: environment.xdg_runtime_dir.clone(),
        container_host: environment.container_host.clone(),
        docker_host: environment.docker_host.clone(),
        path: environment.path.clone(),
        own_folder: own_folder(uid, environment.xdg_runtime_dir.clone()),
        service_env: environment.for_podman.clone(),
    }
}

/// Short, as paths of sockets must be, and the same for all data folders of this user.
fn own_folder(uid: u32, runtime_dir: Option<PathBuf>) -> PathBuf {
    match runtime_dir.filter(|dir| dir.is_dir()) {
        Some(dir) => dir.join("holdpoint"),
        None if uid == 0 => "/run/holdpoint".into(),
        None => format!("/tmp/holdpoint-{uid}").into(),
    }
}

/// Why no engine can be used.
#[must_use]
pub fn failure(error: &ConnectError) -> Failure {
    let failure = Failure::new("no container engine can be used").why(error);
    error.next().into_iter().fold(failure, Failure::next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_our_own_is_in_a_folder_that_exists() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(own_folder(1000, Some(dir.path().to_owned())), dir.path().join("holdpoint"));
        assert_eq!(own_folder(1000, Some("/nowhere".into())), PathBuf::from("/tmp/holdpoint-1000"));
        assert_eq!(own_folder(0, None), PathBuf::from("/run/holdpoint"));
    }
}
