//! Members of groups that come and go: what waits for one that has left goes to another one.
//!
//! What was sent with QoS 1 and not acknowledged goes too once the session ends; what was sent with
//! QoS 2 goes to nobody else. Spec: MQTT 5.0 section 4.8.2 [MQTT-4.8.2-4] [MQTT-4.8.2-5].

use std::sync::Arc;

use super::outgoing::Outgoing;
use super::{DropReason, Engine};
use crate::session::{Delivery, SessionSlot};
use crate::topic::is_shared;
use crate::types::Millis;

impl Engine {
    /// The session's client has come or gone: it counts as a member of its groups accordingly.
    pub(super) fn set_member_connected(&mut self, slot: SessionSlot, is_connected: bool) {
        let Some(session) = self.sessions.get(slot) else { return };
        for subscription in session.subscriptions.iter() {
            if is_shared(&subscription.filter) {
                self.router.set_connected(&subscription.filter, slot, is_connected);
            }
        }
    }

    /// The session's client has gone: what was not sent to it goes to members that are connected.
    pub(super) fn share_queued(&mut self, now: Millis, slot: SessionSlot) {
        let Some(session) = self.sessions.get(slot) else { return };
        if session.queue.is_empty() {
            return;
        }
        let filters = session.subscriptions.iter().map(|subscription| &subscription.filter);
        let others: Vec<Arc<str>> = filters
            .filter(|filter| is_shared(filter) && self.router.has_connected(filter))
            .cloned()
            .collect();
        if !others.is_empty() {
            let left = self.take_queued(slot, |share| others.iter().any(|key| **key == *share));
            self.redispatch(now, left);
        }
    }

    /// Takes what waits in a session for it as a member of the groups that are meant.
    pub(super) fn take_queued(
        &mut self,
        slot: SessionSlot,
        is_meant: impl Fn(&str) -> bool,
    ) -> Vec<Delivery> {
        let Some(session) = self.sessions.get_mut(slot) else { return Vec::new() };
        let taken = session.queue.take(|delivery| delivery.share.as_deref().is_some_and(&is_meant));
        self.counters.queued_messages -= taken.len() as u64;
        let bytes = taken.iter().map(|delivery| delivery.message.bytes() as u64).sum::<u64>();
        self.counters.queued_bytes -= bytes;
        taken
    }

    /// Gives messages to other members of their groups, in order.
    pub(super) fn redispatch(&mut self, now: Millis, left: Vec<Delivery>) {
        for Delivery { message, share, .. } in left {
            let (Some(publish), Some(key)) = (message.publish(), share) else { continue };
            if message.expires_at() <= now {
                self.counters.dropped.count(DropReason::Expired);
                continue;
            }
            let mut route = self.router.take_route(publish.topic, &self.sessions);
            self.refresh_durable(&mut route, publish.qos);
            let group = route.groups.iter().find(|group| group.key == key);
            let mut outgoing = Outgoing::again(&publish, &message);
            let is_taken = match group {
                Some(group) => self.share_again(now, &mut outgoing, group, &route),
                None => self.share_left(now, &mut outgoing, &key, &route),
            };
            if is_taken {
                self.counters.shared_redispatched += 1;
            } else {
                self.counters.dropped.count(DropReason::NoSharedMember);
            }
            self.propose_left(&message);
            self.router.put_route(route);
        }
    }
}
