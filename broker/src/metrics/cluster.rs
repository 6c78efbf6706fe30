//! Numbers of consensus, the peer links, the write-ahead log and the policy.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Metrics;
use super::page::{Kind, Page, Written};
use crate::cluster::RefusalKind;
use crate::cluster::meta::MetaRole;

impl Metrics {
    pub(super) fn cluster(&self, page: &mut Page) -> Written {
        self.raft(page)?;
        self.peers(page)?;
        self.log(page)?;
        self.proposals(page)?;
        self.durable_sessions(page)?;
        self.storage(page)?;
        self.policy(page)
    }

    fn raft(&self, page: &mut Page) -> Written {
        let meta = self.0.meta.status();
        let is = |role: MetaRole| u64::from(meta.role == role);
        page.family(
            Kind::Gauge,
            "raft_role",
            "1 for this node's part in the meta group.",
            "role",
            &[
                ("leader", is(MetaRole::Leader)),
                ("follower", is(MetaRole::Follower)),
                ("learner", is(MetaRole::Learner)),
            ],
        )?;
        let voters = meta.members.iter().filter(|member| member.is_voter).count() as u64;
        page.family(
            Kind::Gauge,
            "raft_members",
            "Members of the meta group.",
            "part",
            &[("voter", voters), ("learner", meta.members.len() as u64 - voters)],
        )?;
        page.single(Kind::Gauge, "raft_term", "Current term of the meta group.", meta.term)?;
        let index = |index: Option<u64>| index.unwrap_or(0);
        let last = index(meta.last_log_index);
        page.single(
            Kind::Gauge,
            "raft_last_log_index",
            "Last entry of the meta group's log here.",
            last,
        )?;
        let applied = index(meta.last_applied_index);
        page.single(Kind::Gauge, "raft_applied_index", "Last entry applied here.", applied)?;
        let has_leader = u64::from(meta.leader.is_some());
        page.single(Kind::Gauge, "raft_has_leader", "1 while a leader is known.", has_leader)
    }

    fn peers(&self, page: &mut Page) -> Written {
        let links = self.0.links.status();
        page.family(
            Kind::Gauge,
            "peer_links",
            "Links to other brokers.",
            "direction",
            &[("dialled", links.live.len() as u64), ("accepted", links.accepted.len() as u64)],
        )?;
        page.single(
            Kind::Gauge,
            "peer_discovery_problems",
            "Names of peers that do not resolve, or a watch for them that broke.",
            links.discovery_problems,
        )?;
        let dropped = links.frames_dropped;
        page.single(
            Kind::Counter,
            "peer_frames_dropped_total",
            "Frames dropped for a slow peer.",
            dropped,
        )?;
        let overloaded = links.links_overloaded;
        page.single(
            Kind::Counter,
            "peer_links_overloaded_total",
            "Links closed to a slow peer.",
            overloaded,
        )?;
        let refused: Vec<_> = RefusalKind::ALL
            .into_iter()
            .zip(links.refused)
            .map(|(kind, count)| (kind.as_str(), count))
            .collect();
        page.family(
            Kind::Counter,
            "peer_refusals_total",
            "Peers that were refused, or refused this broker, each try counted.",
            "reason",
            &refused,
        )?;
        let level = u64::from(*self.0.meta.feature_level().borrow());
        page.single(Kind::Gauge, "feature_level", "What the cluster's brokers write.", level)
    }

    fn log(&self, page: &mut Page) -> Written {
        let log = self.0.meta.log_stats();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.single(
            Kind::Counter,
            "log_syncs_total",
            "Fsyncs of the write-ahead log.",
            read(&log.syncs),
        )?;
        page.single(
            Kind::Counter,
            "log_records_total",
            "Records written to it.",
            read(&log.records),
        )?;
        page.single(Kind::Counter, "log_bytes_total", "Bytes written to it.", read(&log.bytes))?;
        let help = "How long a batch of it took to be written and synced.";
        page.seconds("log_sync_seconds", help, &log.sync.read())
    }

    fn proposals(&self, page: &mut Page) -> Written {
        let stats = self.0.meta.proposal_stats();
        let help = "From a proposal of this broker until it was committed and applied.";
        page.seconds("proposal_seconds", help, &stats.committed.read())?;
        page.family(
            Kind::Counter,
            "proposals_failed_total",
            "Proposals of this broker that were not known to be committed.",
            "reason",
            &stats.failed(),
        )
    }

    /// The sums over all brokers that are heard: any one of them tells of the whole cluster.
    pub(super) fn cluster_totals(&self, page: &mut Page) -> Written {
        let all = self.0.totals.cluster();
        let members = self.0.meta.status().members.len() as u64;
        page.family(
            Kind::Gauge,
            "cluster_nodes",
            "Brokers of the cluster.",
            "state",
            &[("member", members), ("heard", all.nodes)],
        )?;
        let clients = all.sum.clients_connected;
        page.single(Kind::Gauge, "cluster_clients_connected", "Clients of all brokers.", clients)?;
        let away = self.0.meta.sessions().totals().away;
        page.single(
            Kind::Gauge,
            "cluster_sessions",
            "Sessions of all brokers, those whose clients are away included.",
            all.sum.sessions + away.sessions,
        )?;
        page.single(
            Kind::Gauge,
            "cluster_subscriptions",
            "Subscriptions of all brokers.",
            all.sum.subscriptions + away.subscriptions,
        )
    }

    fn durable_sessions(&self, page: &mut Page) -> Written {
        let totals = self.0.meta.sessions().totals();
        page.single(
            Kind::Gauge,
            "durable_sessions",
            "Sessions that the cluster keeps, those of connected clients included.",
            totals.sessions,
        )?;
        page.family(
            Kind::Gauge,
            "durable_queued",
            "What waits in them, or is sent and not acknowledged.",
            "unit",
            &[("messages", totals.messages), ("bytes", totals.bytes)],
        )?;
        page.family(
            Kind::Gauge,
            "durable_delayed",
            "What is kept of $delayed topics, of QoS 1 and 2.",
            "unit",
            &[("messages", totals.delayed_messages), ("bytes", totals.delayed_bytes)],
        )?;
        page.single(
            Kind::Counter,
            "durable_operations_total",
            "Operations on them that were applied here.",
            totals.operations,
        )?;
        page.single(
            Kind::Counter,
            "durable_full_total",
            "Messages that one of them had no room for.",
            totals.full,
        )
    }

    fn policy(&self, page: &mut Page) -> Written {
        let policy = self.0.meta.policy().borrow().policy.clone();
        let enforced = *self.0.hub.enforced().borrow();
        let counts = policy.counts();
        page.family(
            Kind::Gauge,
            "policy_records",
            "Records of the policy.",
            "kind",
            &[
                ("clients", counts.clients as u64),
                ("groups", counts.groups as u64),
                ("roles", counts.roles as u64),
                ("acls", counts.acls as u64),
            ],
        )?;
        let revision = enforced.map(|revision| revision.short()).unwrap_or_default();
        page.family(
            Kind::Gauge,
            "policy_info",
            "The revision that every worker enforces.",
            "revision",
            &[(revision.as_str(), 1)],
        )?;
        let is_behind = u64::from(enforced != Some(policy.revision()));
        page.single(
            Kind::Gauge,
            "policy_behind",
            "1 while a worker enforces an older revision.",
            is_behind,
        )
    }
}
