//! Retained messages for new Subscriptions, as fast as the client takes them.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use broker_policy::Action;

use super::Engine;
use super::durable::Wait;
use crate::retained::{RetainedMessage, RetainedSearch};
use crate::session::{Delivery, OnDemand, RetainedCursor, SessionSlot};
use crate::types::{Millis, QoS};

/// Topics that a call for one session looks at before it leaves the rest for a later pass.
const SEARCH_TOPICS_MAX: usize = 256;

/// Topics that a pass looks at for all sessions with a search that is not done.
const PASS_TOPICS_MAX: usize = 4096;

/// Bytes of messages that the end of a connection puts into its session's queue at most.
const PARTING_BYTES_MAX: usize = 1024 * 1024;

/// Sessions whose search for retained messages is to go on, each once, in order.
#[derive(Debug, Default)]
pub(super) struct Searches {
    sessions: VecDeque<(SessionSlot, u32)>,
    /// When the first of them was left behind.
    since: Millis,
}

impl Searches {
    /// When they are to go on: at once, in a pass of their own.
    pub(super) fn next(&self) -> Option<Millis> {
        (!self.sessions.is_empty()).then_some(self.since)
    }
}

impl Engine {
    /// Sends retained messages until the client's window or output is full; an acknowledgement
    /// or written output brings the engine back here. A search among many topics goes on in later
    /// passes, so that other clients are served meanwhile.
    pub(super) fn send_retained(&mut self, now: Millis, slot: SessionSlot) {
        if self.sessions.get(slot).is_some_and(|session| !session.is_searching) {
            let mut budget = SEARCH_TOPICS_MAX;
            self.search_retained(now, slot, &mut budget);
        }
    }

    /// Goes on with the searches that were left behind.
    pub(super) fn continue_searches(&mut self, now: Millis) {
        let mut budget = PASS_TOPICS_MAX;
        for _ in 0..self.searches.sessions.len() {
            if budget == 0 {
                break;
            }
            let Some((slot, serial)) = self.searches.sessions.pop_front() else { break };
            if let Some(session) = self.sessions.get_mut(slot)
                && session.serial == serial
            {
                session.is_searching = false;
                self.search_retained(now, slot, &mut budget);
            }
        }
        self.searches.since = now;
    }

    fn search_retained(&mut self, now: Millis, slot: SessionSlot, budget: &mut usize) {
        while let Some(mut cursor) = self.next_cursor(slot) {
            let source = Arc::clone(&self.retained);
            let after = cursor.after.take();
            let search = source.for_each_match(
                cursor.topic.as_deref().unwrap_or(&cursor.filter),
                after.as_deref(),
                now,
                budget,
                &mut |message| match self.offer_retained(now, slot, &cursor, message) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                },
            );
            let Some(session) = self.sessions.get_mut(slot) else { return };
            // Many filters that match nothing are work too.
            *budget = budget.saturating_sub(1);
            if let RetainedSearch::Stopped { after } = search {
                cursor.after = after;
                session.retained_cursors.push_front(cursor);
                if *budget > 0 {
                    return;
                }
            } else if session.retained_cursors.is_empty() {
                session.retained_cursors = OnDemand::default();
            }
            if *budget == 0 {
                self.search_later(now, slot);
                return;
            }
        }
    }

    fn search_later(&mut self, now: Millis, slot: SessionSlot) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if session.retained_cursors.is_empty() || session.is_searching {
            return;
        }
        session.is_searching = true;
        if self.searches.sessions.is_empty() {
            self.searches.since = now;
        }
        self.searches.sessions.push_back((slot, session.serial));
    }

    /// The next cursor, if its session has a connection with room and nothing waits before it.
    fn next_cursor(&mut self, slot: SessionSlot) -> Option<RetainedCursor> {
        let session = self.sessions.get(slot)?;
        if session.retained_cursors.is_empty() || !session.queue.is_empty() {
            return None;
        }
        if !self.has_room(session.connection?) {
            return None;
        }
        self.sessions.get_mut(slot)?.retained_cursors.pop_front()
    }

    /// Sends one retained message; `false` when there is no room for it now.
    fn offer_retained(
        &mut self,
        now: Millis,
        slot: SessionSlot,
        cursor: &RetainedCursor,
        message: &RetainedMessage,
    ) -> bool {
        let Some(session) = self.sessions.get(slot) else { return true };
        let is_durable = session.durable.is_some();
        let Some(connection) = session.connection else { return true };
        let Some(qos) = self.receives_retained(slot, cursor, message) else { return true };
        let Some(window) = self.connections.at(connection).map(|state| state.send_window) else {
            return true;
        };
        if !self.has_room(connection)
            || qos != QoS::AtMostOnce && !self.has_window(slot, window, message.bytes())
        {
            return false;
        }
        if qos != QoS::AtMostOnce && is_durable {
            return self.propose_retained_delivery(slot, message, qos, cursor);
        }
        let delivery = Delivery {
            message: Arc::new(message.clone()),
            qos,
            retain: true,
            subscription_ids: cursor.id.map(|id| [id].into()),
            share: None,
        };
        self.start_delivery(now, slot, connection, delivery);
        true
    }

    /// With which QoS the session receives it; `None` if it may not.
    fn receives_retained(
        &mut self,
        slot: SessionSlot,
        cursor: &RetainedCursor,
        message: &RetainedMessage,
    ) -> Option<QoS> {
        if !self.sessions.get(slot)?.authorizer.allows(Action::Receive, message.topic()) {
            self.counters.dropped.receive_denied += 1;
            return None;
        }
        Some(message.qos().min(cursor.options.qos))
    }

    /// The connection of a durable session ends: what its Subscriptions still wait for is put into
    /// its queue, as nobody looks for it again.
    pub(super) fn queue_rest_of_retained(&mut self, now: Millis, slot: SessionSlot) {
        let source = Arc::clone(&self.retained);
        let (mut budget, mut room) = (PASS_TOPICS_MAX, PARTING_BYTES_MAX);
        while let Some(session) = self.sessions.get_mut(slot)
            && let Some(cursor) = session.retained_cursors.pop_front()
        {
            let topics = cursor.topic.as_deref().unwrap_or(&cursor.filter);
            let after = cursor.after.as_deref();
            let search = source.for_each_match(topics, after, now, &mut budget, &mut |message| {
                let Some(left) = room.checked_sub(message.bytes()) else {
                    return ControlFlow::Break(());
                };
                room = left;
                if let Some(qos @ (QoS::AtLeastOnce | QoS::ExactlyOnce)) =
                    self.receives_retained(slot, &cursor, message)
                {
                    self.queue_retained(slot, message, qos, &cursor, Wait::Nothing);
                }
                ControlFlow::Continue(())
            });
            // Many filters that match nothing are work too.
            budget = budget.saturating_sub(1);
            if budget == 0 || matches!(search, RetainedSearch::Stopped { .. }) {
                return;
            }
        }
    }
}
