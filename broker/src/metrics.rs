//! `/metrics`: read at each scrape from what the threads publish anyway, so that a scrape costs and
//! nothing else does.
//!
//! Names begin with `mqtt_broker_`; units are base units. Labels are bounded: never a client, a user
//! or a topic.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::cluster::Links;
use crate::cluster::meta::{MetaGroup, MetaRole};
use crate::hub::Hub;
use crate::node::{ListenerCounters, WorkerHandle, WorkerReading};
use crate::tls::TlsStore;

/// Where the numbers come from.
pub struct MetricsParts {
    /// Consensus.
    pub meta: MetaGroup,
    /// The other brokers.
    pub links: Links,
    /// The hub.
    pub hub: Hub,
    /// The workers.
    pub workers: Arc<[WorkerHandle]>,
    /// The listeners by name.
    pub listeners: Vec<(String, Arc<ListenerCounters>)>,
    /// Certificates in use.
    pub tls: Arc<TlsStore>,
    /// Version of the binary.
    pub version: &'static str,
}

/// The broker's numbers.
pub struct Metrics(MetricsParts);

impl Metrics {
    /// Numbers of these parts.
    #[must_use]
    pub const fn new(parts: MetricsParts) -> Self {
        Self(parts)
    }

    /// All of them in Prometheus' text format; a comment that says why where that can't be.
    #[must_use]
    pub fn text(&self) -> String {
        let written = self
            .write()
            .and_then(|registry| TextEncoder::new().encode_to_string(&registry.gather()));
        written.unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn write(&self) -> Result<Registry, prometheus::Error> {
        let mut page = Page { registry: Registry::new() };
        self.build(&mut page)?;
        self.traffic(&mut page)?;
        self.workers(&mut page)?;
        self.listeners(&mut page)?;
        self.cluster(&mut page)?;
        self.hub(&mut page)?;
        self.certificates(&mut page)?;
        Ok(page.registry)
    }

    fn build(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let version = self.0.version;
        page.gauge("build_info", "The running binary.", "version", &[(version, 1)])
    }

    fn readings(&self) -> Vec<WorkerReading> {
        self.0.workers.iter().map(|worker| worker.counters.read()).collect()
    }

    fn traffic(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.counter(
            "bytes_total",
            "Bytes of MQTT packets.",
            "direction",
            &[
                ("received", sum(|r| r.engine.bytes_received)),
                ("sent", sum(|r| r.engine.bytes_sent)),
            ],
        )?;
        page.counter(
            "publishes_received_total",
            "PUBLISH packets received.",
            "qos",
            &[
                ("0", sum(|r| r.engine.publishes_received[0])),
                ("1", sum(|r| r.engine.publishes_received[1])),
                ("2", sum(|r| r.engine.publishes_received[2])),
            ],
        )?;
        page.counter(
            "publishes_sent_total",
            "PUBLISH packets sent.",
            "qos",
            &[
                ("0", sum(|r| r.engine.publishes_sent[0])),
                ("1", sum(|r| r.engine.publishes_sent[1])),
                ("2", sum(|r| r.engine.publishes_sent[2])),
            ],
        )?;
        page.counter(
            "messages_dropped_total",
            "Messages not accepted or delivered.",
            "reason",
            &[
                ("publish_denied", sum(|r| r.engine.dropped.publish_denied)),
                ("receive_denied", sum(|r| r.engine.dropped.receive_denied)),
                ("queue_full", sum(|r| r.engine.dropped.queue_full)),
                ("slow_consumer", sum(|r| r.engine.dropped.slow_consumer)),
                ("expired", sum(|r| r.engine.dropped.expired)),
                ("too_large", sum(|r| r.engine.dropped.too_large)),
                ("forward_malformed", sum(|r| r.engine.dropped.forward_malformed)),
                ("no_shared_member", sum(|r| r.engine.dropped.no_shared_member)),
            ],
        )?;
        page.total(
            "shared_messages_redispatched_total",
            "Messages of Shared Subscriptions given to another member as theirs had left.",
            sum(|r| r.engine.shared_redispatched),
        )?;
        page.counter(
            "connects_total",
            "CONNECT packets.",
            "outcome",
            &[
                ("accepted", sum(|r| r.engine.connects_accepted)),
                ("refused", sum(|r| r.engine.connects_refused)),
            ],
        )?;
        page.gauge(
            "queued",
            "What waits in sessions.",
            "unit",
            &[
                ("messages", sum(|r| r.engine.queued_messages)),
                ("bytes", sum(|r| r.engine.queued_bytes)),
            ],
        )
    }

    fn workers(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let readings = self.readings();
        let names: Vec<String> = self.0.workers.iter().map(|w| w.id.to_string()).collect();
        let each = |get: fn(&WorkerReading) -> u64| -> Vec<(&str, u64)> {
            names.iter().map(String::as_str).zip(readings.iter().map(get)).collect()
        };
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.gauge("connections", "Open Network Connections.", "worker", &each(|r| r.sockets))?;
        page.gauge("sessions", "Sessions.", "worker", &each(|r| r.engine.sessions))?;
        page.gauge("subscriptions", "Subscriptions.", "worker", &each(|r| r.engine.subscriptions))?;
        page.counter(
            "tls_handshakes_total",
            "TLS handshakes of clients.",
            "outcome",
            &[
                ("succeeded", sum(|r| r.tls_handshakes)),
                ("resumed", sum(|r| r.tls_resumptions)),
                ("failed", sum(|r| r.tls_handshakes_failed)),
            ],
        )?;
        page.counter(
            "authentications_total",
            "Clients by what came of their login.",
            "outcome",
            &[
                ("verified", sum(|r| r.passwords_verified)),
                ("remembered", sum(|r| r.passwords_remembered)),
                ("refused", sum(|r| r.authentications_refused)),
                ("shed", sum(|r| r.authentications_shed)),
            ],
        )?;
        let waiting = each(|r| r.forwards_waiting);
        page.gauge("forwards_waiting", "Batches that wait for a queue.", "worker", &waiting)
    }

    fn listeners(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let readings: Vec<_> = self
            .0
            .listeners
            .iter()
            .map(|(name, counters)| (name.as_str(), counters.read()))
            .collect();
        let open: Vec<_> = readings.iter().map(|(name, r)| (*name, r.connections)).collect();
        let accepted: Vec<_> = readings.iter().map(|(name, r)| (*name, r.accepted)).collect();
        let refused: Vec<_> = readings.iter().map(|(name, r)| (*name, r.refused)).collect();
        page.gauge("listener_connections", "Open connections by listener.", "listener", &open)?;
        page.counter("listener_accepted_total", "Connections accepted.", "listener", &accepted)?;
        page.counter("listener_refused_total", "Connections closed at once.", "listener", &refused)
    }

    fn cluster(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let meta = self.0.meta.status();
        let links = self.0.links.status();
        let is = |role: MetaRole| u64::from(meta.role == role);
        page.gauge(
            "raft_role",
            "1 for this node's part in the meta group.",
            "role",
            &[
                ("leader", is(MetaRole::Leader)),
                ("follower", is(MetaRole::Follower)),
                ("learner", is(MetaRole::Learner)),
            ],
        )?;
        page.number("raft_term", "Current term of the meta group.", meta.term)?;
        let index = |index: Option<u64>| index.unwrap_or(0);
        let last = index(meta.last_log_index);
        page.number("raft_last_log_index", "Last entry of the meta group's log here.", last)?;
        let applied = index(meta.last_applied_index);
        page.number("raft_applied_index", "Last entry applied here.", applied)?;
        let has_leader = u64::from(meta.leader.is_some());
        page.number("raft_has_leader", "1 while a leader is known.", has_leader)?;
        page.gauge(
            "peer_links",
            "Links to other brokers.",
            "direction",
            &[("dialled", links.live.len() as u64), ("accepted", links.accepted.len() as u64)],
        )?;
        let dropped = links.frames_dropped;
        page.total("peer_frames_dropped_total", "Frames dropped for a slow peer.", dropped)?;
        let overloaded = links.links_overloaded;
        page.total("peer_links_overloaded_total", "Links closed to a slow peer.", overloaded)?;
        let log = self.0.meta.log_stats();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        page.total("log_syncs_total", "Fsyncs of the write-ahead log.", read(&log.syncs))?;
        page.total("log_records_total", "Records written to it.", read(&log.records))?;
        page.total("log_bytes_total", "Bytes written to it.", read(&log.bytes))?;
        self.policy(page)
    }

    fn policy(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let policy = self.0.meta.policy().borrow().policy.clone();
        let enforced = *self.0.hub.enforced().borrow();
        let counts = policy.counts();
        page.gauge(
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
        page.gauge(
            "policy_info",
            "The revision that every worker enforces.",
            "revision",
            &[(revision.as_str(), 1)],
        )?;
        let is_behind = u64::from(enforced != Some(policy.revision()));
        page.number("policy_behind", "1 while a worker enforces an older revision.", is_behind)
    }

    fn hub(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let hub = self.0.hub.read();
        page.gauge(
            "claims",
            "Client Identifiers.",
            "state",
            &[("known", hub.claims_known), ("arbitrated", hub.claims_arbitrated)],
        )?;
        page.counter(
            "claims_refused_total",
            "Connections refused by the arbiter.",
            "reason",
            &[("unavailable", hub.claims_unavailable), ("superseded", hub.claims_superseded)],
        )?;
        page.gauge(
            "interest_filters",
            "Topic Filters known.",
            "of",
            &[("own", hub.local_filters), ("peers", hub.peer_filters)],
        )?;
        let given_up = hub.interest_given_up;
        page.total("interest_given_up_total", "Times a silent peer was given up.", given_up)?;
        let malformed = hub.malformed_frames;
        page.total("peer_frames_malformed_total", "Frames of peers not read.", malformed)?;
        let waiting = hub.messages_waiting;
        page.number("hub_messages_waiting", "Messages waiting for workers.", waiting)?;
        page.counter(
            "forward_bytes_total",
            "Bytes of messages between brokers.",
            "direction",
            &[("sent", hub.forwarded_bytes), ("received", hub.received_bytes)],
        )?;
        page.counter(
            "forward_batches_dropped_total",
            "Batches between brokers lost.",
            "reason",
            &[
                ("no_link", hub.dropped_no_link),
                ("slow_peer", hub.dropped_slow_peer),
                ("slow_worker", hub.dropped_slow_worker),
            ],
        )
    }

    fn certificates(&self, page: &mut Page) -> Result<(), prometheus::Error> {
        let status = self.0.tls.status();
        let end = |served: Option<&broker_admin_api::ServedCertificate>| {
            served.and_then(|served| u64::try_from(served.not_after).ok()).unwrap_or(0)
        };
        page.gauge(
            "certificate_not_after_seconds",
            "End of validity, Unix time.",
            "certificate",
            &[("server", end(status.server.as_ref())), ("peer", end(status.peer.as_ref()))],
        )?;
        let failed = u64::from(status.last_reload_error.is_some());
        page.number("tls_reload_failed", "1 while the newest files are not in force.", failed)
    }
}

/// What one scrape writes.
struct Page {
    registry: Registry,
}

impl Page {
    fn number(&mut self, name: &str, help: &str, value: u64) -> Result<(), prometheus::Error> {
        let gauge = IntGauge::new(format!("mqtt_broker_{name}"), help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.registry.register(Box::new(gauge))
    }

    fn total(&mut self, name: &str, help: &str, value: u64) -> Result<(), prometheus::Error> {
        let counter = IntCounter::new(format!("mqtt_broker_{name}"), help)?;
        counter.inc_by(value);
        self.registry.register(Box::new(counter))
    }

    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> Result<(), prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(format!("mqtt_broker_{name}"), help), &[label])?;
        for (value, number) in values {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            family.get_metric_with(&HashMap::from([(label, *value)]))?.set(number);
        }
        self.registry.register(Box::new(family))
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> Result<(), prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(format!("mqtt_broker_{name}"), help), &[label])?;
        for (value, number) in values {
            family.get_metric_with(&HashMap::from([(label, *value)]))?.inc_by(*number);
        }
        self.registry.register(Box::new(family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_help_types_and_labels() {
        let mut page = Page { registry: Registry::new() };
        page.gauge("connections", "Open.", "worker", &[("0", 3), ("1", 4)]).unwrap();
        page.counter("bytes_total", "Bytes.", "direction", &[("sent", 9)]).unwrap();
        let text = TextEncoder::new().encode_to_string(&page.registry.gather()).unwrap();
        assert!(text.contains("# TYPE mqtt_broker_connections gauge"), "{text}");
        assert!(text.contains("mqtt_broker_connections{worker=\"1\"} 4"), "{text}");
        assert!(text.contains("mqtt_broker_bytes_total{direction=\"sent\"} 9"), "{text}");
    }
}
