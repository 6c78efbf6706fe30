//! From numbers to topics and texts. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker_core::engine::{Counters, SysValue};
use broker_core::shard::SessionTotals;

use super::load::{Load, SPANS};
use crate::totals::ClusterTotals;

/// What the cluster is and does at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ClusterReading {
    /// Brokers that are members.
    pub(super) members: u64,
    pub(super) totals: ClusterTotals,
}

/// What the broker has done and holds at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    pub(super) uptime: Duration,
    pub(super) retained_messages: u64,
    pub(super) retained_bytes: u64,
    /// Connections accepted since the start.
    pub(super) sockets: u64,
    /// Of all workers together.
    pub(super) engine: Counters,
    /// Sessions that are not in a worker while their clients are away.
    pub(super) durable: SessionTotals,
    /// `None`: the broker stands alone.
    pub(super) cluster: Option<ClusterReading>,
}

impl Reading {
    fn publishes_received(&self) -> u64 {
        self.engine.publishes_received.iter().sum()
    }

    fn publishes_sent(&self) -> u64 {
        self.engine.publishes_sent.iter().sum()
    }

    fn packets_received(&self) -> u64 {
        self.publishes_received() + self.engine.other_packets_received
    }

    fn packets_sent(&self) -> u64 {
        self.publishes_sent() + self.engine.other_packets_sent
    }

    fn sessions(&self) -> u64 {
        self.engine.sessions + self.durable.away.sessions
    }

    fn disconnected(&self) -> u64 {
        self.sessions().saturating_sub(self.engine.clients_connected)
    }

    /// Messages that wait, and those that are retained.
    fn stored(&self) -> u64 {
        self.engine.queued_messages + self.durable.messages + self.retained_messages
    }

    fn stored_bytes(&self) -> u64 {
        self.engine.queued_bytes + self.durable.bytes + self.retained_bytes
    }

    fn shared_subscriptions(&self) -> u64 {
        self.engine.shared_subscriptions + self.durable.away.shared_subscriptions
    }

    fn subscriptions(&self) -> u64 {
        let all = self.engine.subscriptions + self.durable.away.subscriptions;
        all.saturating_sub(self.shared_subscriptions())
    }

    /// As Mosquitto counts: for want of room, not of rights.
    fn dropped(&self) -> u64 {
        self.engine.dropped.queue_full + self.engine.dropped.slow_consumer
    }
}

type Count = fn(&Reading) -> u64;

/// Topics below `$SYS/broker/` whose value is a number of the reading.
const COUNTS: [(&str, Count); 25] = [
    ("clients/total", Reading::sessions),
    ("clients/connected", |r| r.engine.clients_connected),
    ("clients/active", |r| r.engine.clients_connected),
    ("clients/disconnected", Reading::disconnected),
    ("clients/inactive", Reading::disconnected),
    ("clients/expired", |r| r.engine.sessions_expired + r.durable.expired),
    ("messages/received", Reading::packets_received),
    ("messages/sent", Reading::packets_sent),
    ("messages/stored", Reading::stored),
    ("store/messages/count", Reading::stored),
    ("store/messages/bytes", Reading::stored_bytes),
    ("publish/messages/received", Reading::publishes_received),
    ("publish/messages/sent", Reading::publishes_sent),
    ("publish/messages/dropped", Reading::dropped),
    ("publish/bytes/received", |r| r.engine.payload_bytes_received),
    ("publish/bytes/sent", |r| r.engine.payload_bytes_sent),
    ("bytes/received", |r| r.engine.bytes_received),
    ("bytes/sent", |r| r.engine.bytes_sent),
    ("subscriptions/count", Reading::subscriptions),
    ("shared_subscriptions/count", Reading::shared_subscriptions),
    ("retained messages/count", |r| r.retained_messages),
    ("packet/out/count", |r| r.engine.output_packets),
    ("packet/out/bytes", |r| r.engine.output_bytes),
    ("connections/socket/count", |r| r.sockets),
    ("connections/accepted/count", |r| r.engine.connects_accepted),
];

type ClusterCount = fn(&Reading, &ClusterReading) -> u64;

/// Topics below `$SYS/cluster/`. What the replicated state holds is the same everywhere and counts
/// once.
const CLUSTER_COUNTS: [(&str, ClusterCount); 16] = [
    ("nodes/total", |_, c| c.members),
    ("nodes/reachable", |_, c| c.totals.nodes),
    ("clients/connected", |_, c| c.totals.sum.clients_connected),
    ("clients/total", |r, c| c.totals.sum.sessions + r.durable.away.sessions),
    ("subscriptions/count", |r, c| {
        let away = r.durable.away;
        let all = c.totals.sum.subscriptions + away.subscriptions;
        all.saturating_sub(c.totals.sum.shared_subscriptions + away.shared_subscriptions)
    }),
    ("shared_subscriptions/count", |r, c| {
        c.totals.sum.shared_subscriptions + r.durable.away.shared_subscriptions
    }),
    ("store/messages/count", |r, c| {
        c.totals.sum.queued_messages + r.durable.messages + r.retained_messages
    }),
    ("store/messages/bytes", |r, c| c.totals.sum.queued_bytes + r.durable.bytes + r.retained_bytes),
    ("retained messages/count", |r, _| r.retained_messages),
    ("publish/messages/received", |_, c| c.totals.sum.publishes_received),
    ("publish/messages/sent", |_, c| c.totals.sum.publishes_sent),
    ("publish/messages/dropped", |_, c| c.totals.sum.dropped),
    ("publish/bytes/received", |_, c| c.totals.sum.payload_bytes_received),
    ("publish/bytes/sent", |_, c| c.totals.sum.payload_bytes_sent),
    ("bytes/received", |_, c| c.totals.sum.bytes_received),
    ("bytes/sent", |_, c| c.totals.sum.bytes_sent),
];

/// Topics below `$SYS/broker/load/` that average one number each.
const LOADS: [(&str, Count); 9] = [
    ("messages/received", Reading::packets_received),
    ("messages/sent", Reading::packets_sent),
    ("publish/received", Reading::publishes_received),
    ("publish/sent", Reading::publishes_sent),
    ("publish/dropped", Reading::dropped),
    ("bytes/received", |r| r.engine.bytes_received),
    ("bytes/sent", |r| r.engine.bytes_sent),
    ("sockets", |r| r.sockets),
    ("connections", |r| r.engine.connects_received),
];

/// The values as they were told last.
#[derive(Debug)]
pub(super) struct Values {
    version: &'static str,
    interval: Duration,
    clients_maximum: u64,
    loads: [Load; LOADS.len()],
    told: HashMap<Arc<str>, String>,
}

impl Values {
    pub(super) fn new(version: &'static str, interval: Duration) -> Self {
        Self {
            version,
            interval,
            clients_maximum: 0,
            loads: Default::default(),
            told: HashMap::new(),
        }
    }

    /// Takes in what is so after so much time; gives what is to be told: what has changed.
    pub(super) fn update(&mut self, reading: &Reading, passed: Duration) -> Vec<SysValue> {
        self.clients_maximum = self.clients_maximum.max(reading.sessions());
        let mut changed = Vec::new();
        self.tell("broker/version", format!("dunlin version {}", self.version), &mut changed);
        self.tell("broker/uptime", format!("{} seconds", reading.uptime.as_secs()), &mut changed);
        self.tell(
            "broker/sys_interval",
            format!("{} seconds", self.interval.as_secs()),
            &mut changed,
        );
        self.tell("broker/clients/maximum", self.clients_maximum.to_string(), &mut changed);
        for (name, count) in COUNTS {
            self.tell(&format!("broker/{name}"), count(reading).to_string(), &mut changed);
        }
        for (name, count) in CLUSTER_COUNTS {
            if let Some(cluster) = &reading.cluster {
                let text = count(reading, cluster).to_string();
                self.tell(&format!("cluster/{name}"), text, &mut changed);
            }
        }
        for (at, (name, count)) in LOADS.into_iter().enumerate() {
            self.loads[at].update(count(reading), passed);
            for ((span, _), average) in SPANS.into_iter().zip(self.loads[at].averages()) {
                let name = format!("broker/load/{name}/{span}");
                self.tell(&name, format!("{average:.2}"), &mut changed);
            }
        }
        changed
    }

    fn tell(&mut self, name: &str, text: String, changed: &mut Vec<SysValue>) {
        let topic: Arc<str> = format!("$SYS/{name}").into();
        if self.told.get(&topic) != Some(&text) {
            self.told.insert(Arc::clone(&topic), text.clone());
            changed.push(SysValue { topic, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_core::shard::AwayTotals;

    use super::*;
    use crate::totals::NodeTotals;

    const INTERVAL: Duration = Duration::from_secs(10);

    #[test]
    fn sessions_whose_clients_are_away_count_though_no_worker_has_them() {
        let engine = Counters {
            sessions: 3,
            clients_connected: 2,
            sessions_expired: 1,
            subscriptions: 5,
            shared_subscriptions: 1,
            queued_messages: 4,
            queued_bytes: 40,
            output_packets: 6,
            output_bytes: 60,
            ..Counters::default()
        };
        let away = AwayTotals { sessions: 10, subscriptions: 70, shared_subscriptions: 30 };
        let durable = SessionTotals {
            sessions: 11,
            messages: 100,
            bytes: 1_000,
            expired: 20,
            away,
            ..SessionTotals::default()
        };
        let reading = Reading {
            engine,
            durable,
            retained_messages: 1_000,
            retained_bytes: 10_000,
            ..Reading::default()
        };
        let told = Values::new("1", INTERVAL).update(&reading, Duration::ZERO);
        for (name, expected) in [
            ("clients/total", "13"),
            ("clients/maximum", "13"),
            ("clients/connected", "2"),
            ("clients/disconnected", "11"),
            ("clients/inactive", "11"),
            ("clients/expired", "21"),
            ("subscriptions/count", "44"),
            ("shared_subscriptions/count", "31"),
            ("messages/stored", "1104"),
            ("store/messages/count", "1104"),
            ("store/messages/bytes", "11040"),
            ("packet/out/count", "6"),
            ("packet/out/bytes", "60"),
        ] {
            assert_eq!(text(&told, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn the_load_of_connections_is_that_of_connects_accepted_or_not() {
        let mut values = Values::new("1", INTERVAL);
        values.update(&Reading::default(), Duration::ZERO);
        let engine = Counters { connects_received: 60, ..Counters::default() };
        let told = values.update(&Reading { engine, ..Reading::default() }, INTERVAL);
        assert_eq!(text(&told, "load/connections/1min"), Some("55.27"));
    }

    #[test]
    fn a_member_tells_of_the_whole_cluster_and_a_broker_alone_does_not() {
        let told = Values::new("1", INTERVAL).update(&Reading::default(), Duration::ZERO);
        assert!(!told.iter().any(|value| value.topic.starts_with("$SYS/cluster/")));
        let sum = NodeTotals {
            clients_connected: 30,
            sessions: 40,
            subscriptions: 50,
            shared_subscriptions: 8,
            queued_messages: 5,
            queued_bytes: 60,
            publishes_received: 70,
            ..NodeTotals::default()
        };
        let cluster = ClusterReading { members: 3, totals: ClusterTotals { nodes: 2, sum } };
        let away = AwayTotals { sessions: 10, subscriptions: 7, shared_subscriptions: 3 };
        let durable =
            SessionTotals { messages: 100, bytes: 1_000, away, ..SessionTotals::default() };
        let reading = Reading {
            cluster: Some(cluster),
            durable,
            retained_messages: 1,
            retained_bytes: 2,
            ..Reading::default()
        };
        let told = Values::new("1", INTERVAL).update(&reading, Duration::ZERO);
        for (name, expected) in [
            ("nodes/total", "3"),
            ("nodes/reachable", "2"),
            ("clients/connected", "30"),
            ("clients/total", "50"),
            ("subscriptions/count", "46"),
            ("shared_subscriptions/count", "11"),
            ("store/messages/count", "106"),
            ("store/messages/bytes", "1062"),
            ("publish/messages/received", "70"),
        ] {
            let topic = format!("$SYS/cluster/{name}");
            let value = told.iter().find(|value| *value.topic == *topic);
            assert_eq!(value.map(|value| value.text.as_str()), Some(expected), "{name}");
        }
    }

    fn text<'a>(values: &'a [SysValue], name: &str) -> Option<&'a str> {
        let topic = format!("$SYS/broker/{name}");
        values.iter().find(|value| *value.topic == *topic).map(|value| value.text.as_str())
    }

    #[test]
    fn everything_is_told_once_and_then_what_has_changed() {
        let mut values = Values::new("1.2.3", INTERVAL);
        let engine = Counters {
            sessions: 5,
            clients_connected: 3,
            subscriptions: 9,
            shared_subscriptions: 2,
            publishes_received: [1, 2, 3],
            other_packets_received: 10,
            queued_messages: 4,
            ..Counters::default()
        };
        let reading = Reading { engine, retained_messages: 7, ..Reading::default() };
        let first = values.update(&reading, Duration::ZERO);
        for (name, expected) in [
            ("version", "dunlin version 1.2.3"),
            ("uptime", "0 seconds"),
            ("clients/total", "5"),
            ("clients/maximum", "5"),
            ("clients/connected", "3"),
            ("clients/inactive", "2"),
            ("subscriptions/count", "7"),
            ("shared_subscriptions/count", "2"),
            ("publish/messages/received", "6"),
            ("messages/received", "16"),
            ("messages/stored", "11"),
            ("retained messages/count", "7"),
            ("load/publish/received/1min", "0.00"),
        ] {
            assert_eq!(text(&first, name), Some(expected), "{name}");
        }
        assert!(values.update(&reading, INTERVAL).is_empty());
        let engine = Counters { sessions: 4, clients_connected: 2, ..engine };
        let later = Reading { uptime: INTERVAL, engine, ..reading };
        let told = values.update(&later, INTERVAL);
        let names: Vec<&str> =
            told.iter().map(|value| &value.topic["$SYS/broker/".len()..]).collect();
        // As many as before are disconnected, and the maximum stays.
        assert_eq!(names, ["uptime", "clients/total", "clients/connected", "clients/active"]);
    }
}
