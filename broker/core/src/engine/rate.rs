//! How fast clients may publish: each client by its user's quotas and its listener's, and all of a
//! listener together. What is beyond waits in the client; nothing is dropped.

use broker_policy::Quotas;

use super::Engine;
use crate::codec::packet::Packet;
use crate::connection::{Connection, RateLimit, least};
use crate::session::SessionSlot;
use crate::types::{ConnectionId, Millis};

/// How fast the clients of a listener may publish; without numbers, as they like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerRates {
    /// Each client, if its user's quotas don't ask for less.
    pub client: Quotas,
    /// All clients of the listener together, as far as they are this engine's.
    pub all: Quotas,
}

impl Engine {
    /// A PUBLISH uses the quotas that bind the client; once one is used up, what follows waits.
    pub(super) fn charge_quota(
        &mut self,
        now: Millis,
        id: ConnectionId,
        packet: &Packet<'_>,
        bytes: usize,
    ) {
        if !matches!(packet, Packet::Publish(_)) {
            self.counters.other_packets_received += 1;
            return;
        }
        let Some(connection) = self.connections.get_mut(id) else { return };
        let own = connection.rate_limit.as_mut().map_or(now, |limit| limit.charge(now, bytes));
        let listener = self.listener_limits.get_mut(usize::from(connection.listener));
        let all = listener.and_then(Option::as_mut).map_or(now, |limit| limit.charge(now, bytes));
        let at = own.max(all);
        if at > now {
            connection.quota_at = Some(at);
            self.counters.quota_pauses += 1;
            self.arm_connection(id, at);
        }
    }

    /// Gives the session's connection the quotas of its user and of its listener. (Each connection
    /// of a user has them for itself.)
    pub(super) fn set_rate_limit(&mut self, slot: SessionSlot) {
        let Some(session) = self.sessions.get(slot) else { return };
        let Some(connection) = session.connection.and_then(|slot| self.connections.at_mut(slot))
        else {
            return;
        };
        let client = session.identity.username.as_deref().and_then(|name| self.policy.client(name));
        let rates = self.config.listener_rates.get(usize::from(connection.listener));
        connection.rate_limit = match (client, rates) {
            (None, None) => None,
            (Some(client), None) => RateLimit::new(&client.quotas),
            (None, Some(rates)) => RateLimit::new(&rates.client),
            (Some(client), Some(rates)) => RateLimit::new(&least(&client.quotas, &rates.client)),
        };
    }

    /// Largest packet that is taken from a client, in bytes: the broker's own limit, or what its
    /// quota of bytes lets through in bearable time.
    pub(super) fn packet_bytes_max(&self, connection: &Connection) -> u32 {
        let by_quota =
            connection.rate_limit.as_ref().map_or(u32::MAX, |limit| limit.packet_bytes_max());
        self.config.packet_bytes_max.min(by_quota)
    }
}

/// The meters of listeners whose clients together have quotas.
pub(super) fn listener_limits(rates: &[ListenerRates]) -> Vec<Option<Box<RateLimit>>> {
    let limits: Vec<_> = rates.iter().map(|rates| RateLimit::new(&rates.all)).collect();
    match limits.iter().all(Option::is_none) {
        true => Vec::new(),
        false => limits,
    }
}
