//! Time: connect timeout, Keep Alive, will delay, session expiry, and the end of the engine.

use super::Engine;
use super::close::WillFate;
use super::timers::TimerKey;
use crate::codec::ReasonCode;
use crate::connection::Stage;
use crate::session::SessionSlot;
use crate::types::{ConnectionId, Millis};

impl Engine {
    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Millis) {
        while let Some((at, key)) = self.timers.pop_due(now) {
            match key {
                TimerKey::Connection(id) => self.connection_timeout(now, id, at),
                TimerKey::Session(slot, serial) => self.session_timeout(now, slot, serial, at),
            }
        }
        self.continue_searches(now);
        self.publish_delayed(now);
        self.propose_lost(now);
        if self.timers.wants_compaction() {
            let (connections, sessions) = (&self.connections, &self.sessions);
            self.timers.compact(|at, key| match key {
                TimerKey::Connection(id) => {
                    connections.get(id).is_some_and(|state| state.timer_at == at)
                }
                TimerKey::Session(slot, serial) => sessions
                    .get(slot)
                    .is_some_and(|session| session.serial == serial && session.timer_at == at),
            });
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next; may be early, is never
    /// late. Ask again after every pass.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Millis> {
        let others = [self.searches.next(), self.delayed.next(), self.next_lost()];
        self.timers.next().into_iter().chain(others.into_iter().flatten()).min()
    }

    pub(super) fn arm_connection(&mut self, id: ConnectionId, at: Millis) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.timers.arm(TimerKey::Connection(id), at, &mut connection.timer_at);
        }
    }

    fn connection_timeout(&mut self, now: Millis, id: ConnectionId, at: Millis) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.timer_at != at {
            return;
        }
        connection.timer_at = Millis::NEVER;
        if !matches!(connection.stage, Stage::Closing | Stage::Open) {
            self.counters.limits.connect_timeout += 1;
        }
        let Some(connection) = self.connections.get(id) else { return };
        match connection.stage {
            Stage::Closing => {}
            Stage::AwaitConnect => self.close(now, id, None, WillFate::Dropped),
            Stage::Authenticating(_)
            | Stage::Claiming(_)
            | Stage::Attaching(_)
            | Stage::Settling(_) => {
                self.refuse_connect(now, id, ReasonCode::ServerUnavailable);
            }
            Stage::Open => self.check_open_connection(now, id),
        }
    }

    /// Ends a wait for quota that is over and a client that is silent for too long.
    fn check_open_connection(&mut self, now: Millis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if connection.quota_at.is_some_and(|at| at <= now) {
            connection.quota_at = None;
            connection.last_received = now;
            self.resume(now, id);
        }
        let Some(connection) = self.connections.get(id).filter(|state| state.is_open()) else {
            return;
        };
        if let Some(at) = connection.quota_at {
            self.arm_connection(id, at);
        }
        let Some(connection) = self.connections.get(id) else { return };
        let patience = u64::from(connection.keep_alive_millis);
        if patience == 0 {
            return;
        }
        let deadline = connection.last_received.plus(patience);
        if deadline > now {
            self.arm_connection(id, deadline);
        } else if connection.is_paused && !self.is_output_full(connection.output.len()) {
            // It is not read, so its silence says nothing.
            self.arm_connection(id, now.plus(patience));
        } else {
            // [MQTT-3.1.2-22]
            self.fail(now, id, ReasonCode::KeepAliveTimeout);
        }
    }

    fn session_timeout(&mut self, now: Millis, slot: SessionSlot, serial: u32, at: Millis) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.serial != serial || session.timer_at != at {
            return;
        }
        session.timer_at = Millis::NEVER;
        if session.connection.is_none() {
            self.check_session(now, slot);
        }
    }

    /// Disconnects every client with 0x8B, or 0x9C where another server is named. Sessions stay, to be taken over.
    pub fn drain(&mut self, now: Millis) {
        self.drain_some(now, usize::MAX);
    }

    /// Disconnects at most so many clients as [`drain`](Self::drain) does, so that a driver can pace their return
    /// elsewhere. Gives how many it were: fewer than `clients_max` means that nobody is left.
    pub fn drain_some(&mut self, now: Millis, clients_max: usize) -> usize {
        let ids = self.connections.not_closing(clients_max);
        for &id in &ids {
            let is_connecting = self.connections.get(id).is_some_and(|connection| {
                !matches!(connection.stage, Stage::Open | Stage::AwaitConnect)
            });
            if is_connecting {
                let reason_code = self.departure(ReasonCode::ServerUnavailable);
                self.refuse_connect(now, id, reason_code);
            } else {
                self.fail(now, id, self.departure(ReasonCode::ServerShuttingDown));
            }
        }
        ids.len()
    }
}
