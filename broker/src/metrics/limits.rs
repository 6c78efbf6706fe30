//! Numbers of limits and of the memory budget.

use broker_core::engine::Limits;

use super::Metrics;
use super::page::{Kind, Page, Written};
use crate::node::{AdmissionReading, WorkerReading};

impl Metrics {
    pub(super) fn limits(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        let mut limits =
            readings.iter().fold(Limits::default(), |sum, one| sum + one.engine.limits);
        // The same time, where it was over before there was a connection for the engine.
        limits.connect_timeout += sum(|r| r.handshakes_timed_out);
        page.family(
            Kind::Counter,
            "limits_applied_total",
            "Times that a limit refused something or granted less than was asked for.",
            "limit",
            &applied(&self.0.admission.read(), &limits, sum(|r| r.origins_refused)),
        )?;
        page.family(
            Kind::Counter,
            "publishers_held_back_total",
            "Times that a client was not read for a while.",
            "reason",
            &[
                ("quota", sum(|r| r.engine.quota_pauses)),
                ("memory", sum(|r| r.engine.pressure_pauses)),
            ],
        )
    }

    pub(super) fn memory(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        let memory = self.0.memory.read();
        let retained = self.0.meta.retained().totals();
        let durable = self.0.meta.sessions().totals();
        let durable = self.0.meta.messages().stats().memory_bytes(durable.messages, durable.bytes);
        page.family(
            Kind::Gauge,
            "memory_bytes",
            "Memory of the process.",
            "of",
            &[
                ("budget", memory.budget),
                ("resident", memory.resident),
                ("queued", sum(|r| r.engine.queued_bytes)),
                ("in_flight", sum(|r| r.engine.in_flight_bytes)),
                ("buffered", sum(|r| r.engine.buffered_bytes)),
                ("retained", retained.bytes),
                ("durable", durable),
            ],
        )?;
        page.single(
            Kind::Gauge,
            "retained_messages",
            "Retained messages of the cluster.",
            retained.messages,
        )?;
        let help =
            "How scarce memory is: 0 not, 1 the heaviest publishers wait, 2 nobody comes in.";
        page.single(Kind::Gauge, "memory_pressure", help, memory.pressure)?;
        let help = "Times that the scarcity of memory has changed.";
        page.single(Kind::Counter, "memory_pressure_changes_total", help, memory.changes)?;
        let help = "Files and sockets that the process may have open; 0 without limit.";
        page.single(Kind::Gauge, "open_files_max", help, memory.open_files)?;
        let help = "Folders in the data directory with what was damaged and set aside.";
        page.single(Kind::Gauge, "damaged_set_aside", help, memory.damaged_set_aside)
    }
}

/// How often each limit was applied, by its label.
const fn applied(
    admission: &AdmissionReading,
    limits: &Limits,
    origins: u64,
) -> [(&'static str, u64); 18] {
    [
        ("connections", admission.connections),
        ("connections_per_listener", admission.per_listener),
        ("connections_per_address", admission.per_address),
        ("connections_per_user", admission.per_user),
        ("memory", admission.memory),
        ("packet_bytes", limits.packet_bytes),
        ("receive_maximum", limits.receive_maximum),
        ("topic_levels", limits.topic_levels),
        ("subscriptions", limits.subscriptions),
        ("retained", limits.retained),
        ("session_expiry", limits.session_expiry),
        ("keep_alive", limits.keep_alive),
        ("topic_alias", limits.topic_alias),
        ("connect_timeout", limits.connect_timeout),
        ("durable_sessions", limits.durable_sessions),
        ("message_expiry", limits.message_expiry),
        ("retained_expiry", limits.retained_expiry),
        ("websocket_origin", origins),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_told_by_the_name_of_its_own() {
        let mut expected = Vec::new();
        let (mut admission, mut limits) = (AdmissionReading::default(), Limits::default());
        let mut number = 0;
        let mut set = |field: &mut u64, name: &'static str| {
            number += 1;
            *field = number;
            expected.push((name, number));
        };
        set(&mut admission.connections, "connections");
        set(&mut admission.per_listener, "connections_per_listener");
        set(&mut admission.per_address, "connections_per_address");
        set(&mut admission.per_user, "connections_per_user");
        set(&mut admission.memory, "memory");
        set(&mut limits.packet_bytes, "packet_bytes");
        set(&mut limits.receive_maximum, "receive_maximum");
        set(&mut limits.topic_levels, "topic_levels");
        set(&mut limits.subscriptions, "subscriptions");
        set(&mut limits.retained, "retained");
        set(&mut limits.session_expiry, "session_expiry");
        set(&mut limits.keep_alive, "keep_alive");
        set(&mut limits.topic_alias, "topic_alias");
        set(&mut limits.connect_timeout, "connect_timeout");
        set(&mut limits.durable_sessions, "durable_sessions");
        set(&mut limits.message_expiry, "message_expiry");
        set(&mut limits.retained_expiry, "retained_expiry");
        let mut origins = 0;
        set(&mut origins, "websocket_origin");
        assert_eq!(applied(&admission, &limits, origins).to_vec(), expected);
        let twice = applied(&admission, &(limits + limits), origins);
        assert!(twice[5..17].iter().zip(&expected[5..]).all(|(sum, one)| sum.1 == one.1 * 2));
    }
}
