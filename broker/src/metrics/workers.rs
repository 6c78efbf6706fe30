//! Numbers of the workers and the listeners: traffic, connections, logins.

use super::Metrics;
use super::page::{Kind, Page, Written};
use crate::node::WorkerReading;

impl Metrics {
    pub(super) fn readings(&self) -> Vec<WorkerReading> {
        self.0.workers.iter().map(|worker| worker.counters.read()).collect()
    }

    pub(super) fn traffic(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.family(
            Kind::Counter,
            "bytes_total",
            "Bytes of MQTT packets.",
            "direction",
            &[
                ("received", sum(|r| r.engine.bytes_received)),
                ("sent", sum(|r| r.engine.bytes_sent)),
            ],
        )?;
        page.family(
            Kind::Counter,
            "payload_bytes_total",
            "Bytes of payload in PUBLISH packets.",
            "direction",
            &[
                ("received", sum(|r| r.engine.payload_bytes_received)),
                ("sent", sum(|r| r.engine.payload_bytes_sent)),
            ],
        )?;
        page.family(
            Kind::Counter,
            "other_packets_total",
            "MQTT packets of other types than PUBLISH.",
            "direction",
            &[
                ("received", sum(|r| r.engine.other_packets_received)),
                ("sent", sum(|r| r.engine.other_packets_sent)),
            ],
        )?;
        page.family(
            Kind::Counter,
            "connects_total",
            "CONNECT packets.",
            "outcome",
            &[
                ("accepted", sum(|r| r.engine.connects_accepted)),
                ("refused", sum(|r| r.engine.connects_refused)),
            ],
        )
    }

    pub(super) fn messages(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.family(
            Kind::Counter,
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
                ("delayed_refused", sum(|r| r.engine.dropped.delayed_refused)),
                ("disk_full", sum(|r| r.engine.dropped.disk_full)),
            ],
        )?;
        page.single(
            Kind::Counter,
            "shared_messages_redispatched_total",
            "Messages of Shared Subscriptions given to another member as theirs had left.",
            sum(|r| r.engine.shared_redispatched),
        )?;
        page.family(
            Kind::Gauge,
            "delayed",
            "What is held to be published later.",
            "unit",
            &[
                ("messages", sum(|r| r.engine.delayed_messages)),
                ("bytes", sum(|r| r.engine.delayed_bytes)),
            ],
        )?;
        page.family(
            Kind::Gauge,
            "queued",
            "What waits in sessions.",
            "unit",
            &[
                ("messages", sum(|r| r.engine.queued_messages)),
                ("bytes", sum(|r| r.engine.queued_bytes)),
            ],
        )
    }

    pub(super) fn publishes(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.family(
            Kind::Counter,
            "publishes_received_total",
            "PUBLISH packets received.",
            "qos",
            &[
                ("0", sum(|r| r.engine.publishes_received[0])),
                ("1", sum(|r| r.engine.publishes_received[1])),
                ("2", sum(|r| r.engine.publishes_received[2])),
            ],
        )?;
        page.family(
            Kind::Counter,
            "publishes_sent_total",
            "PUBLISH packets sent.",
            "qos",
            &[
                ("0", sum(|r| r.engine.publishes_sent[0])),
                ("1", sum(|r| r.engine.publishes_sent[1])),
                ("2", sum(|r| r.engine.publishes_sent[2])),
            ],
        )
    }

    pub(super) fn workers(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let names: Vec<String> = self.0.workers.iter().map(|w| w.id.to_string()).collect();
        let each = |get: fn(&WorkerReading) -> u64| -> Vec<(&str, u64)> {
            names.iter().map(String::as_str).zip(readings.iter().map(get)).collect()
        };
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        page.family(
            Kind::Gauge,
            "connections",
            "Open Network Connections.",
            "worker",
            &each(|r| r.sockets),
        )?;
        page.family(Kind::Gauge, "sessions", "Sessions.", "worker", &each(|r| r.engine.sessions))?;
        page.single(
            Kind::Gauge,
            "clients_connected",
            "Sessions whose clients are connected.",
            sum(|r| r.engine.clients_connected),
        )?;
        page.single(
            Kind::Counter,
            "sessions_expired_total",
            "Sessions that ended as their expiry interval had passed.",
            sum(|r| r.engine.sessions_expired),
        )?;
        page.family(
            Kind::Gauge,
            "subscriptions",
            "Subscriptions.",
            "worker",
            &each(|r| r.engine.subscriptions),
        )?;
        page.family(
            Kind::Counter,
            "tls_handshakes_total",
            "TLS handshakes of clients.",
            "outcome",
            &[
                ("succeeded", sum(|r| r.tls_handshakes)),
                ("resumed", sum(|r| r.tls_resumptions)),
                ("failed", sum(|r| r.tls_handshakes_failed)),
            ],
        )?;
        page.family(
            Kind::Counter,
            "authentications_total",
            "Clients by what came of their login.",
            "outcome",
            &[
                ("verified", sum(|r| r.passwords_verified)),
                ("remembered", sum(|r| r.passwords_remembered)),
                ("exchanged", sum(|r| r.exchanges_verified)),
                ("refused", sum(|r| r.authentications_refused)),
                ("shed", sum(|r| r.authentications_shed)),
            ],
        )?;
        let waiting = each(|r| r.forwards_waiting);
        page.family(
            Kind::Gauge,
            "forwards_waiting",
            "Batches that wait for a queue.",
            "worker",
            &waiting,
        )
    }

    pub(super) fn listeners(&self, page: &mut Page) -> Written {
        let readings: Vec<_> = self
            .0
            .listeners
            .iter()
            .map(|(name, counters)| (name.as_str(), counters.read()))
            .collect();
        let open: Vec<_> = readings.iter().map(|(name, r)| (*name, r.connections)).collect();
        let accepted: Vec<_> = readings.iter().map(|(name, r)| (*name, r.accepted)).collect();
        let refused: Vec<_> = readings.iter().map(|(name, r)| (*name, r.refused)).collect();
        page.family(
            Kind::Gauge,
            "listener_connections",
            "Open connections by listener.",
            "listener",
            &open,
        )?;
        page.family(
            Kind::Counter,
            "listener_accepted_total",
            "Connections accepted.",
            "listener",
            &accepted,
        )?;
        page.family(
            Kind::Counter,
            "listener_refused_total",
            "Connections refused or closed at once.",
            "listener",
            &refused,
        )?;
        let paused: Vec<_> = readings.iter().map(|(name, r)| (*name, r.paused)).collect();
        let help = "Times that accepting waited for the connection rate.";
        page.family(Kind::Counter, "listener_paused_total", help, "listener", &paused)
    }
}
