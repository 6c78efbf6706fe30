//! What a local process has used, from /proc (Linux only), and this process's own limit of open files.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How often a process is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(250);
/// A process that uses less between two looks does no work any more: a twentieth of a core.
const QUIET: Duration = Duration::from_millis(12);

/// Files that a process needs beside its connections.
pub(crate) const FILES_RESERVED: u64 = 256;

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
}

/// What process `pid` has used so far.
///
/// # Errors
/// No such process, or no /proc.
pub fn usage(pid: u32) -> Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path)
            .with_context(|| format!("read {path}: --pid names a running process of this machine"))
    };
    let per_second = rustix::param::clock_ticks_per_second();
    let ticks = cpu_ticks(&read("stat")?).context("/proc/PID/stat has no CPU times")?;
    let kibibytes = resident_kibibytes(&read("status")?).context("/proc/PID/status: no VmRSS")?;
    Ok(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        resident_bytes: kibibytes * 1024,
    })
}

/// Fields 14 and 15; the second field is a name in parentheses that may hold blanks.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Waits until the process has no work left, at most for `within`, and returns what it has used then.
///
/// # Errors
/// As [`usage`].
pub async fn settled(pid: u32, within: Duration) -> Result<Usage> {
    let deadline = Instant::now() + within;
    let mut before = usage(pid)?;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = usage(pid)?;
        if now.cpu.saturating_sub(before.cpu) < QUIET || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}

/// A runtime of one thread.
///
/// # Errors
/// The system gives it no event queue.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("start a runtime")
}

/// Sees to it that this process may open as many connections.
///
/// # Errors
/// It may not.
pub(crate) fn allow_connections(connections: usize) -> Result<()> {
    let wanted = connections as u64 + FILES_RESERVED;
    let limit = raise_open_files(wanted);
    ensure!(limit >= wanted, "{wanted} open files are needed and {limit} allowed: see ulimit -n");
    Ok(())
}

/// Raises this process's limit of open files to `wanted`, or as far as the system lets it, and returns the limit that then
/// holds. Child processes inherit it.
#[must_use]
pub fn raise_open_files(wanted: u64) -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current;
    }
    // Root may go above the hard limit; whoever may not goes up to it.
    let hard = limits.maximum.unwrap_or(u64::MAX);
    for limit in [wanted, wanted.min(hard)] {
        let limits = Rlimit { current: Some(limit), maximum: Some(limit.max(hard)) };
        if setrlimit(Resource::Nofile, limits).is_ok() {
            return limit;
        }
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found_behind_a_name_with_blanks_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 9 0 123 456";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("42 (a"), None);
    }

    #[test]
    fn resident_memory_is_read_in_kibibytes() {
        let status = "Name:\tx\nVmHWM:\t  900 kB\nVmRSS:\t  812 kB\nThreads:\t3\n";
        assert_eq!(resident_kibibytes(status), Some(812));
        assert_eq!(resident_kibibytes("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_found_in_proc() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 64 << 10, "{usage:?}");
    }
}
