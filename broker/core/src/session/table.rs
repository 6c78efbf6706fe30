//! The sessions of an engine, by slot and by Client Identifier. Pure.

use std::collections::HashMap;

use slab::Slab;

use super::{Session, SessionSlot};
use crate::types::ClientId;

/// All sessions of an engine.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    slots: Slab<Session>,
    by_client_id: HashMap<ClientId, SessionSlot>,
    serial: u32,
}

impl Sessions {
    /// A number for the next session.
    pub(crate) const fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// Adds a session; there must be none of its Client Identifier.
    pub(crate) fn insert(&mut self, session: Session) -> SessionSlot {
        let client_id = session.client_id.clone();
        let slot = self.slots.insert(session) as SessionSlot;
        let earlier = self.by_client_id.insert(client_id, slot);
        debug_assert!(earlier.is_none(), "one session per client identifier");
        slot
    }

    pub(crate) fn remove(&mut self, slot: SessionSlot) -> Option<Session> {
        let session = self.slots.try_remove(slot as usize)?;
        self.by_client_id.remove(&session.client_id);
        Some(session)
    }

    pub(crate) fn slot_of(&self, client_id: &str) -> Option<SessionSlot> {
        self.by_client_id.get(client_id).copied()
    }

    pub(crate) fn get(&self, slot: SessionSlot) -> Option<&Session> {
        self.slots.get(slot as usize)
    }

    pub(crate) fn get_mut(&mut self, slot: SessionSlot) -> Option<&mut Session> {
        self.slots.get_mut(slot as usize)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SessionSlot, &Session)> {
        self.slots.iter().map(|(slot, session)| (slot as SessionSlot, session))
    }
}
