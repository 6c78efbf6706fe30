//! The process's limit of open files, which is also its limit of connections. IO: two calls.

use broker_config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside clients' sockets: log, snapshots, peers, admin API, runtimes.
const FILES_RESERVED: u64 = 512;

/// Raises the limit as far as the system lets this process, and says so where the listeners allow
/// more connections than that.
pub(super) fn raise_open_files(config: &Config) {
    let limits = getrlimit(Resource::Nofile);
    let allowed = match limits.maximum {
        maximum if maximum == limits.current => limits.current,
        maximum => match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files can't be raised");
                limits.current
            }
        },
    };
    let wanted: u64 = FILES_RESERVED
        + config.listeners.iter().map(|l| u64::from(l.limits.connections)).sum::<u64>();
    // `None`: there is no limit.
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::info!(
            allowed,
            wanted,
            "the system's limit of open files is below what the listeners allow: raise it, or \
             lower their connection limits"
        );
    }
}
