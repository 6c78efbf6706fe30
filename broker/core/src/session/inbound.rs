//! QoS 2 messages received and not released: what makes "exactly once" of a repetition. Pure.
//!
//! Spec: MQTT 5.0 section 4.3.3.

use std::collections::VecDeque;

use super::on_demand::Unwritten;
use crate::types::PacketId;

/// Packet Identifiers between PUBREC and PUBCOMP, in the order of arrival.
///
/// Bounded by the Receive Maximum told to the client; in 3.1.1 by there being 65,535 identifiers.
#[derive(Debug, Default)]
pub(crate) struct InboundQoS2 {
    ids: VecDeque<PacketId>,
}

impl Unwritten for InboundQoS2 {
    const UNWRITTEN: &'static Self = &Self { ids: VecDeque::new() };
}

impl InboundQoS2 {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn contains(&self, id: PacketId) -> bool {
        self.ids.contains(&id)
    }

    /// Adds an identifier that is not contained.
    pub(crate) fn insert(&mut self, id: PacketId) {
        self.ids.push_back(id);
    }

    /// Takes the identifier out; `false` when it was not there. Clients release in order, so the
    /// first is looked at first.
    pub(crate) fn remove(&mut self, id: PacketId) -> bool {
        if self.ids.front() == Some(&id) {
            self.ids.pop_front();
            return true;
        }
        match self.ids.iter().position(|&other| other == id) {
            Some(at) => self.ids.remove(at).is_some(),
            None => false,
        }
    }

    pub(crate) fn to_state(&self) -> Vec<PacketId> {
        self.ids.iter().copied().collect()
    }

    pub(crate) fn from_state(ids: Vec<PacketId>) -> Self {
        Self { ids: ids.into() }
    }
}
