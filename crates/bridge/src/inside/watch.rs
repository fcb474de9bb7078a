//! What the container's limits did to what runs in it. The program that hits one sees "Killed" or "cannot
//! fork"; people should see why.

use std::{fs, path::Path, time::Duration};

use holdpoint_model::container::Note;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use crate::frame::Frame;

/// How often to look. Reading two files of the kernel costs microseconds.
const EVERY: Duration = Duration::from_millis(250);

/// The folder that is the container's memory, and may be full.
const MEMORY_FOLDER: &str = "/tmp";

/// Where the kernel counts, by version of its control groups, and the word before the number.
/// <https://docs.kernel.org/admin-guide/cgroup-v2.html>, <https://docs.kernel.org/admin-guide/cgroup-v1/>
const OUT_OF_MEMORY: [(&str, &str); 2] =
    [("/sys/fs/cgroup/memory.events", "oom_kill"), ("/sys/fs/cgroup/memory/memory.oom_control", "oom_kill")];
/// Where the kernel says what it bounds memory to: container engines say that they do where they cannot.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
const TOO_MANY: [(&str, &str); 2] =
    [("/sys/fs/cgroup/pids.events", "max"), ("/sys/fs/cgroup/pids/pids.events", "max")];

/// Looks for as long as somebody listens. With `memory_bytes` it also sees to that limit itself, because the
/// kernel does not: rootless containers have no memory limit under the first version of control groups. With
/// `processes` it counts those where no control group does: then the kernel only has a limit by user, which is a
/// little higher, and does not say when it refused one.
pub(super) async fn watch(
    memory_bytes: Option<u64>,
    processes: Option<u32>,
    program: u32,
    notes: mpsc::Sender<Frame>,
) {
    let (mut killed, mut refused) = (count(&OUT_OF_MEMORY), count(&TOO_MANY));
    let mut was_full = is_full();
    let mut had_too_many = false;
    let processes = processes.filter(|_| !TOO_MANY.iter().any(|(file, _)| Path::new(file).exists()));
    let memory_bytes = memory_bytes
        .filter(|most| !LIMITS.iter().any(|file| number(file).is_some_and(|limit| limit <= *most)));
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        let mut found = Vec::new();
        let now = count(&OUT_OF_MEMORY);
        let mut more = now.saturating_sub(killed);
        killed = now;
        if memory_bytes.is_some_and(|most| keep_below(most, program)) {
            more += 1;
        }
        if more > 0 {
            found.push(Note::OutOfMemory { killed: more });
        }
        let now = count(&TOO_MANY);
        if now > refused {
            found.push(Note::TooManyProcesses { refused: now - refused });
            refused = now;
        }
        let has_too_many = processes.is_some_and(|most| threads() >= most);
        if has_too_many && !had_too_many {
            found.push(Note::TooManyProcesses { refused: 1 });
        }
        had_too_many = has_too_many;
        let full = is_full();
        if full && !was_full {
            found.push(Note::Full { folder: MEMORY_FOLDER.into() });
        }
        was_full = full;
        for note in found {
            if notes.send(Frame::Note(note)).await.is_err() {
                return;
            }
        }
        if notes.is_closed() {
            return;
        }
    }
}

fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn count(places: &[(&str, &str)]) -> u64 {
    places.iter().find_map(|(file, word)| number_after(&fs::read_to_string(file).ok()?, word)).unwrap_or(0)
}

/// The number in the line that begins with this word.
fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

fn is_full() -> bool {
    rustix::fs::statvfs(MEMORY_FOLDER).is_ok_and(|stat| stat.f_blocks > 0 && stat.f_bavail == 0)
}

/// The processes here.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// All their threads.
fn threads() -> u32 {
    processes().filter_map(|pid| threads_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).sum()
}

/// The number of threads in a process's line (<https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>).
fn threads_in(stat: &str) -> Option<u32> {
    // The name of a program may hold anything.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(17)?.parse().ok()
}

/// Kills the largest process if all together have more than `most` bytes of memory; the program itself only
/// when it is the largest. Whether one was killed.
fn keep_below(most: u64, program: u32) -> bool {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let own = std::process::id();
    let mut processes: Vec<(u64, u32)> =
        processes().filter(|pid| *pid != own).filter_map(|pid| Some((own_pages(pid)? * page, pid))).collect();
    let all: u64 = processes.iter().map(|(bytes, _)| bytes).sum();
    if all <= most {
        return false;
    }
    // Of two equally large ones, rather not the program.
    processes.sort_by_key(|(bytes, pid)| (*bytes, *pid != program));
    let largest = processes.last().and_then(|(_, pid)| Pid::from_raw(i32::try_from(*pid).ok()?));
    largest.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
}

/// Pages in memory that a process does not share with a file.
fn own_pages(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn counts_threads() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 33 0 100 1 2";
        assert_eq!(threads_in(line), Some(33));
        assert!(threads() > 0);
    }

    #[rstest]
    #[case("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", "oom_kill", Some(3))]
    #[case("low 0\noom 1\noom_kill 2\noom_group_kill 0\n", "oom_kill", Some(2))]
    #[case("max 17\n", "max", Some(17))]
    #[case("", "max", None)]
    fn reads_the_kernels_counters(#[case] text: &str, #[case] word: &str, #[case] expected: Option<u64>) {
        assert_eq!(number_after(text, word), expected);
    }
}
