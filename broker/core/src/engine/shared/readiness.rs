//! What a member of a group can do with a message now.

use super::super::deliver::queue_limits;
use super::super::{Engine, SharedSubscriptionStrategy as Strategy};
use super::Draw;
use crate::router::{Presence, Target};
use crate::types::QoS;

/// Members that are looked at for one that takes a message at once.
const LOOKS_MAX: usize = 32;

/// What a member can do with a message, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Readiness {
    /// Nothing: it would be dropped.
    None,
    /// Keep it until its client is there.
    Keeps,
    /// Keep it until its client has room.
    Waits,
    /// Take it at once.
    Takes,
}

impl Engine {
    /// The readiness that the strategy wants: a place that is meant is waited for.
    pub(super) const fn wanted_readiness(&self) -> Readiness {
        match self.config.shared_subscription_strategy {
            Strategy::RoundRobin | Strategy::Random | Strategy::LocalFirst => Readiness::Takes,
            Strategy::Sticky | Strategy::HashClient | Strategy::HashTopic => Readiness::Waits,
        }
    }

    /// The first member here from `offset` on that is as ready as is wanted, else the readiest.
    pub(super) fn ready<'a>(
        &self,
        draw: Draw<'a>,
        offset: u32,
        presence: Presence,
    ) -> Option<(Readiness, &'a Target)> {
        let members = draw.group.here(presence);
        let wanted = match presence {
            Presence::Connected | Presence::Live => self.wanted_readiness(),
            Presence::Offline => Readiness::Keeps,
        };
        let mut best: Option<(Readiness, &Target)> = None;
        for step in 0..members.len().min(LOOKS_MAX) {
            let target = &members[(offset as usize + step) % members.len()];
            let readiness = self.readiness(target, draw.qos);
            if best.is_none_or(|(known, _)| readiness > known) {
                best = Some((readiness, target));
            }
            if readiness >= wanted {
                break;
            }
        }
        best
    }

    fn readiness(&self, target: &Target, qos: QoS) -> Readiness {
        let Some(session) = self.sessions.get(target.session) else { return Readiness::None };
        let is_droppable = qos.min(target.qos) == QoS::AtMostOnce;
        let keeps = !is_droppable && !session.queue.is_full(queue_limits(&self.config));
        let connection = session.connection.and_then(|slot| self.connections.at(slot));
        let Some(connection) = connection.filter(|connection| connection.is_open()) else {
            return if keeps { Readiness::Keeps } else { Readiness::None };
        };
        let is_behind = connection.output.len() > self.config.output_bytes_soft_max;
        let has_window =
            session.queue.is_empty() && session.in_flight.has_room(connection.send_window);
        match (is_behind, is_droppable) {
            (false, _) if is_droppable || has_window => Readiness::Takes,
            _ if keeps => Readiness::Waits,
            _ => Readiness::None,
        }
    }
}
