//! What this machine can carry.

use std::fs;

/// What one session takes at most, in an ordinary conversation, with the tools it runs.
const SESSION_BYTES: u64 = 640 * 1024 * 1024;

/// Sessions wait for the model most of the time, so that a core carries several.
const SESSIONS_PER_CORE: u64 = 8;

/// Sessions that may run at once where the configuration does not say.
#[must_use]
pub(super) fn default_max_sessions() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    sessions(memory_bytes(), cores)
}

/// Three quarters of the memory, and no more than the cores can keep going.
fn sessions(memory_bytes: Option<u64>, cores: u64) -> u32 {
    let by_cores = cores.saturating_mul(SESSIONS_PER_CORE);
    let by_memory = memory_bytes.map_or(by_cores, |bytes| bytes / 4 * 3 / SESSION_BYTES);
    u32::try_from(by_cores.min(by_memory).max(1)).unwrap_or(u32::MAX)
}

/// The machine's memory, or that of the container it runs in.
fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let limit =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    match (machine, limit) {
        (Some(machine), Some(limit)) => Some(machine.min(limit)),
        (machine, limit) => machine.or(limit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_cores_both_bound() {
        const GIB: u64 = 1024 * 1024 * 1024;
        assert_eq!(sessions(Some(24 * GIB), 2), 16);
        assert_eq!(sessions(Some(4 * GIB), 8), 4);
        assert_eq!(sessions(Some(GIB / 2), 1), 1);
        assert_eq!(sessions(None, 2), 16);
    }
}
