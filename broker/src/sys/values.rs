//! From numbers to topics and texts. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker_core::engine::{Counters, SysValue};

use super::load::{Load, SPANS};

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

    /// As Mosquitto counts: for want of room, not of rights.
    fn dropped(&self) -> u64 {
        self.engine.dropped.queue_full + self.engine.dropped.slow_consumer
    }
}

type Count = fn(&Reading) -> u64;

/// Topics below `$SYS/broker/` whose value is a number of the reading.
const COUNTS: [(&str, Count); 23] = [
    ("clients/total", |r| r.engine.sessions),
    ("clients/connected", |r| r.engine.clients_connected),
    ("clients/active", |r| r.engine.clients_connected),
    ("clients/disconnected", |r| r.engine.sessions.saturating_sub(r.engine.clients_connected)),
    ("clients/inactive", |r| r.engine.sessions.saturating_sub(r.engine.clients_connected)),
    ("clients/expired", |r| r.engine.sessions_expired),
    ("messages/received", Reading::packets_received),
    ("messages/sent", Reading::packets_sent),
    ("messages/stored", |r| r.engine.queued_messages + r.retained_messages),
    ("store/messages/count", |r| r.engine.queued_messages + r.retained_messages),
    ("store/messages/bytes", |r| r.engine.queued_bytes + r.retained_bytes),
    ("publish/messages/received", Reading::publishes_received),
    ("publish/messages/sent", Reading::publishes_sent),
    ("publish/messages/dropped", Reading::dropped),
    ("publish/bytes/received", |r| r.engine.payload_bytes_received),
    ("publish/bytes/sent", |r| r.engine.payload_bytes_sent),
    ("bytes/received", |r| r.engine.bytes_received),
    ("bytes/sent", |r| r.engine.bytes_sent),
    ("subscriptions/count", |r| r.engine.subscriptions - r.engine.shared_subscriptions),
    ("shared_subscriptions/count", |r| r.engine.shared_subscriptions),
    ("retained messages/count", |r| r.retained_messages),
    ("connections/socket/count", |r| r.sockets),
    ("connections/accepted/count", |r| r.engine.connects_accepted),
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
    ("connections", |r| r.engine.connects_accepted),
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
        self.clients_maximum = self.clients_maximum.max(reading.engine.sessions);
        let mut changed = Vec::new();
        self.tell("version", format!("dunlin version {}", self.version), &mut changed);
        self.tell("uptime", format!("{} seconds", reading.uptime.as_secs()), &mut changed);
        self.tell("sys_interval", format!("{} seconds", self.interval.as_secs()), &mut changed);
        self.tell("clients/maximum", self.clients_maximum.to_string(), &mut changed);
        for (name, count) in COUNTS {
            self.tell(name, count(reading).to_string(), &mut changed);
        }
        for (at, (name, count)) in LOADS.into_iter().enumerate() {
            self.loads[at].update(count(reading), passed);
            for ((span, _), average) in SPANS.into_iter().zip(self.loads[at].averages()) {
                let name = format!("load/{name}/{span}");
                self.tell(&name, format!("{average:.2}"), &mut changed);
            }
        }
        changed
    }

    fn tell(&mut self, name: &str, text: String, changed: &mut Vec<SysValue>) {
        let topic: Arc<str> = format!("$SYS/broker/{name}").into();
        if self.told.get(&topic) != Some(&text) {
            self.told.insert(Arc::clone(&topic), text.clone());
            changed.push(SysValue { topic, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

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
