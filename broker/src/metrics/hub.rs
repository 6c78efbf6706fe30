//! Numbers of the hub: claims, interest, forwarding between brokers.

use super::Metrics;
use super::page::{Kind, Page, Written};

impl Metrics {
    pub(super) fn hub(&self, page: &mut Page) -> Written {
        self.draining(page)?;
        let hub = self.0.hub.read();
        page.family(
            Kind::Gauge,
            "claims",
            "Client Identifiers.",
            "state",
            &[("known", hub.claims_known), ("arbitrated", hub.claims_arbitrated)],
        )?;
        page.family(
            Kind::Counter,
            "claims_refused_total",
            "Connections refused by the arbiter.",
            "reason",
            &[("unavailable", hub.claims_unavailable), ("superseded", hub.claims_superseded)],
        )?;
        page.family(
            Kind::Gauge,
            "interest_filters",
            "Topic Filters known.",
            "of",
            &[("own", hub.local_filters), ("peers", hub.peer_filters)],
        )?;
        let given_up = hub.interest_given_up;
        page.single(
            Kind::Counter,
            "interest_given_up_total",
            "Times a silent peer was given up.",
            given_up,
        )?;
        page.single(
            Kind::Counter,
            "handover_messages_dropped_total",
            "Messages that sessions were too large to take along.",
            hub.dropped_in_handover,
        )?;
        let malformed = hub.malformed_frames;
        page.single(
            Kind::Counter,
            "peer_frames_malformed_total",
            "Frames of peers not read.",
            malformed,
        )?;
        let waiting = hub.messages_waiting;
        page.single(Kind::Gauge, "hub_messages_waiting", "Messages waiting for workers.", waiting)?;
        page.family(
            Kind::Counter,
            "forward_bytes_total",
            "Bytes of messages between brokers.",
            "direction",
            &[("sent", hub.forwarded_bytes), ("received", hub.received_bytes)],
        )?;
        page.family(
            Kind::Counter,
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

    fn draining(&self, page: &mut Page) -> Written {
        let is_draining = u64::from(self.0.hub.drain().borrow().is_some());
        let help = "1 while this broker moves its clients away.";
        page.single(Kind::Gauge, "draining", help, is_draining)
    }
}
