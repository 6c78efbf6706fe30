//! Retained messages for new Subscriptions, as fast as the client takes them.

use std::ops::ControlFlow;
use std::sync::Arc;

use broker_policy::Action;

use super::Engine;
use crate::connection::ConnectionSlot;
use crate::retained::RetainedMessage;
use crate::session::{Delivery, RetainedCursor, SessionSlot};
use crate::types::{Millis, QoS};

impl Engine {
    /// Sends retained messages until the client's window or output is full; an acknowledgement
    /// or written output brings the engine back here.
    pub(super) fn send_retained(&mut self, now: Millis, slot: SessionSlot) {
        while let Some(mut cursor) = self.next_cursor(slot) {
            let source = Arc::clone(&self.retained);
            let mut last = None;
            let mut is_full = false;
            let after = cursor.after.take();
            source.for_each_match(&cursor.filter, after.as_deref(), now, &mut |message| {
                if !self.offer_retained(now, slot, &cursor, message) {
                    is_full = true;
                    return ControlFlow::Break(());
                }
                last = Some(message.topic().into());
                ControlFlow::Continue(())
            });
            if is_full {
                cursor.after = last.or(after);
                if let Some(session) = self.sessions.get_mut(slot) {
                    session.retained_cursors.push_front(cursor);
                }
                return;
            }
        }
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
        let Some(connection) = session.connection else { return true };
        if !session.authorizer.allows(Action::Receive, message.topic()) {
            self.counters.dropped.receive_denied += 1;
            return true;
        }
        let qos = message.qos().min(cursor.options.qos);
        if !self.has_room(connection)
            || qos != QoS::AtMostOnce && !self.has_window(slot, connection)
        {
            return false;
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

    fn has_window(&self, slot: SessionSlot, connection: ConnectionSlot) -> bool {
        let (Some(session), Some(connection)) =
            (self.sessions.get(slot), self.connections.at(connection))
        else {
            return false;
        };
        session.in_flight.has_room(connection.send_window)
    }
}
