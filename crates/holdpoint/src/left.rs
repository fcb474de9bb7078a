//! What of a data folder's workers and sessions still runs on this machine, whatever the log says.

use std::fs;

use holdpoint_engine::{SESSION_MARK, WORKER_MARK, WorkerId};

use crate::data::DataDir;

/// A process that a worker is or has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whose.
    pub worker: WorkerId,
    /// The process.
    pub pid: i32,
}

/// Every process of this user that carries the mark of an execution in this data folder. Empty where
/// the system does not show the environment of processes.
#[must_use]
pub fn of(data: &DataDir) -> Vec<Left> {
    let mut left = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // Empty for a zombie: it is over, and only its parent has not looked yet.
        let Ok(environ) = fs::read(process.path().join("environ")) else { continue };
        let worker = environ.split(|byte| *byte == 0).find_map(mark);
        if let Some(worker) = worker
            && data.executions().join(worker.execution.to_string()).is_dir()
        {
            left.push(Left { worker, pid });
        }
    }
    left
}

fn mark(variable: &[u8]) -> Option<WorkerId> {
    let (key, value) = std::str::from_utf8(variable).ok()?.split_once('=')?;
    if key == WORKER_MARK || key == SESSION_MARK { value.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::env::Environment;

    #[test]
    fn what_carries_the_mark_of_this_folder_is_found() {
        let dir = tempfile::tempdir().expect("dir");
        let data = DataDir::locate(Some(dir.path()), &Environment::default()).expect("data");
        let worker =
            WorkerId { execution: holdpoint_model::ExecutionId(uuid::Uuid::now_v7()), incarnation: 2 };
        let mut child =
            Command::new("sleep").arg("1000").env(SESSION_MARK, worker.to_string()).spawn().expect("sleep");
        assert_eq!(of(&data), [], "it is of another folder");
        fs::create_dir_all(data.executions().join(worker.execution.to_string())).expect("folder");
        let pid = i32::try_from(child.id()).expect("pid");
        let mut found = of(&data);
        // Until `sleep` has begun, it is still us.
        for _ in 0..100 {
            if !found.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            found = of(&data);
        }
        child.kill().expect("kill");
        assert_eq!(found, [Left { worker, pid }]);
        // It dies when its turn on the processor comes, and stays a zombie until it is waited for.
        for _ in 0..1_000 {
            if of(&data).is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert_eq!(of(&data), [], "a zombie is over");
        child.wait().expect("wait");
    }
}
