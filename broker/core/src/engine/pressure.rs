//! Memory is scarce: the heaviest publishers are not read until it is no longer.

use super::Engine;
use crate::codec::packet::Packet;
use crate::types::{ConnectionId, Millis};

/// How scarce memory is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// It is not.
    #[default]
    None,
    /// The heaviest publishers wait.
    Slow,
    /// They wait, and nobody new comes in.
    Refuse,
}

/// Who publishes while memory is scarce.
#[derive(Debug, Default)]
pub(super) struct PressureState {
    level: Pressure,
    /// Who has published in this interval.
    publishers: Vec<ConnectionId>,
    /// Who waits.
    pressed: Vec<ConnectionId>,
}

impl Engine {
    /// Memory is so scarce now. The driver says so at each change, and again at the end of each
    /// interval while it is scarce: then whoever has published as much as the average of all who
    /// have, or more, is not read until it is not scarce any more. It may say so when memory is not
    /// scarce, too: each time [`Counters::buffered_bytes`](super::Counters) is brought up to date.
    pub fn set_pressure(&mut self, now: Millis, pressure: Pressure) {
        self.pressure.level = pressure;
        self.counters.buffered_bytes = self.connections.buffered_bytes();
        if pressure == Pressure::None {
            self.release_pressed(now);
        } else {
            self.press_heaviest();
        }
    }

    /// A PUBLISH while memory is scarce: counts for its sender.
    #[inline]
    pub(super) fn press(&mut self, id: ConnectionId, packet: &Packet<'_>, bytes: usize) {
        if self.pressure.level != Pressure::None && matches!(packet, Packet::Publish(_)) {
            self.count_publisher(id, bytes);
        }
    }

    fn count_publisher(&mut self, id: ConnectionId, bytes: usize) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.pressed_bytes == 0 {
            self.pressure.publishers.push(id);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        connection.pressed_bytes = connection.pressed_bytes.saturating_add(bytes);
    }

    fn press_heaviest(&mut self) {
        let publishers = std::mem::take(&mut self.pressure.publishers);
        let bytes =
            |id: &ConnectionId| self.connections.get(*id).map_or(0, |c| c.pressed_bytes.into());
        let total: u64 = publishers.iter().map(bytes).sum();
        let average = total / publishers.len().max(1) as u64;
        for id in publishers {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            let published = std::mem::take(&mut connection.pressed_bytes);
            if u64::from(published) >= average && !connection.is_closing() {
                connection.is_pressed = true;
                self.pressure.pressed.push(id);
                self.counters.pressure_pauses += 1;
            }
        }
    }

    fn release_pressed(&mut self, now: Millis) {
        for id in std::mem::take(&mut self.pressure.publishers) {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.pressed_bytes = 0;
            }
        }
        for id in std::mem::take(&mut self.pressure.pressed) {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.is_pressed = false;
                // It was not read, so its silence says nothing.
                connection.last_received = now;
            }
            self.resume(now, id);
        }
    }
}
