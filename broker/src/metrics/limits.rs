//! Numbers of limits and of the memory budget.

use super::Metrics;
use super::page::{Kind, Page, Written};
use crate::node::WorkerReading;

impl Metrics {
    pub(super) fn limits(&self, page: &mut Page) -> Written {
        let readings = self.readings();
        let sum = |get: fn(&WorkerReading) -> u64| readings.iter().map(get).sum::<u64>();
        let admission = self.0.admission.read();
        page.family(
            Kind::Counter,
            "limits_applied_total",
            "Times that a limit refused something or granted less than was asked for.",
            "limit",
            &[
                ("connections", admission.connections),
                ("connections_per_listener", admission.per_listener),
                ("connections_per_address", admission.per_address),
                ("connections_per_user", admission.per_user),
                ("memory", admission.memory),
                ("packet_bytes", sum(|r| r.engine.limits.packet_bytes)),
                ("receive_maximum", sum(|r| r.engine.limits.receive_maximum)),
                ("topic_levels", sum(|r| r.engine.limits.topic_levels)),
                ("subscriptions", sum(|r| r.engine.limits.subscriptions)),
                ("retained", sum(|r| r.engine.limits.retained)),
                ("session_expiry", sum(|r| r.engine.limits.session_expiry)),
                ("keep_alive", sum(|r| r.engine.limits.keep_alive)),
            ],
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
        page.single(Kind::Gauge, "open_files_max", help, memory.open_files)
    }
}
