//! The `$SYS` topics as the main thread starts them.

use std::sync::Arc;
use std::time::Instant;

use broker_config::Config;

use super::Broker;
use crate::node::ListenerCounters;
use crate::sys::{SysParts, SysTree, run};
use crate::worker::WorkerShared;

/// Puts the values in front of the workers' retained messages; `None`: there are to be none.
pub(super) fn place(config: &Config, shared: &mut WorkerShared) -> Option<Arc<SysTree>> {
    config.sys_interval?;
    let tree = Arc::new(SysTree::new(Arc::clone(&shared.retained)));
    shared.retained = Arc::clone(&tree) as _;
    Some(tree)
}

/// Starts to tell the values, if there are to be any.
pub(super) fn start(
    broker: &mut Broker,
    config: &Config,
    tree: Option<Arc<SysTree>>,
    (version, started): (&'static str, Instant),
    listeners: Vec<Arc<ListenerCounters>>,
) {
    let (Some(interval), Some(tree)) = (config.sys_interval, tree) else { return };
    broker.tasks.spawn(run(SysParts {
        interval,
        version,
        started,
        meta: broker.cluster.meta.clone(),
        totals: broker.cluster.totals.clone(),
        is_member: config.cluster.is_some(),
        workers: broker.workers.handles(),
        listeners,
        tree,
    }));
}
