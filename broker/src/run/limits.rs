//! The process's limit of open files, which is also its limit of connections. IO: two calls.

use crate::node::AdmissionLimits;
use broker_config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files beside clients' sockets: log, snapshots, peers, admin API, runtimes.
const FILES_RESERVED: u64 = 512;

/// Raises the limit as far as the system lets this process, and says so where the listeners allow
/// more connections than that. Gives the limit; `None`: there is none.
pub(super) fn raise_open_files(config: &Config) -> Option<u64> {
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
    tracing::info!(open_files = allowed, "limit of open files");
    if let Some(allowed) = allowed.filter(|allowed| *allowed < wanted) {
        tracing::info!(
            allowed,
            wanted,
            "the system's limit of open files is below what the listeners allow: raise it, or \
             lower their connection limits"
        );
    }
    allowed
}

/// Most connections: as configured (0: without number), and never more than there are files for, so
/// that a client is told why rather than not accepted.
pub(super) fn admission(config: &Config, open_files: Option<u64>) -> AdmissionLimits {
    let configured = |count: u32| if count == 0 { u32::MAX } else { count };
    let files = open_files.map_or(u64::MAX, |files| files.saturating_sub(FILES_RESERVED).max(1));
    let connections = match config.limits.connections_max {
        0 => files,
        count => files.min(count.into()),
    };
    AdmissionLimits {
        connections,
        per_address: configured(config.limits.connections_per_address_max),
        per_user: configured(config.limits.connections_per_user_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use broker_config::Config;

    fn config(limits: &str) -> Config {
        let text = format!(
            "data_dir = '/d'\n[limits]\n{limits}\n[policy]\n\
             [[listeners]]\nname = 'a'\nprotocol = 'mqtt'\nport = 1\nacknowledge_plaintext = true\n"
        );
        Config::parse(&text).unwrap()
    }

    #[test]
    fn there_are_never_more_connections_than_open_files_and_0_is_no_limit_of_the_rest() {
        let of = |limits, files| admission(&config(limits), files);
        assert_eq!(of("", Some(10_000)).connections, 10_000 - FILES_RESERVED);
        assert_eq!(
            of("connections_max = 20000", Some(10_000)).connections,
            10_000 - FILES_RESERVED
        );
        assert_eq!(of("connections_max = 20", Some(10_000)).connections, 20);
        assert_eq!(of("connections_max = 20", None).connections, 20);
        assert_eq!(of("", None), AdmissionLimits::NONE);
        let set = of("connections_per_address_max = 3\nconnections_per_user_max = 4", None);
        assert_eq!((set.per_address, set.per_user), (3, 4));
    }
}
