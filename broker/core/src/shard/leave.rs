//! Ends: of connections, of Subscriptions, of sessions; and what they leave to others.

use std::sync::Arc;

use super::applied::Ready;
use super::apply::Applying;
use super::batch::OperationOutcome;
use super::index::Group;
use super::operation::{GroupForm, Pick, SessionRef};
use super::publish::DueWill;
use super::record::{Entry, Progress, Record};
use super::sessions::Incoming;
use super::store::{is_indexed, is_membership};
use super::{Holder, SHARDS, SessionKey, shard_of};
use crate::topic::is_shared;
use crate::types::{ClientId, Millis, NodeId, QoS};

impl Applying<'_> {
    /// The session's connection is gone. Without `sent_to` anything may have been sent to it.
    /// `live` are those of its groups that have members that are connected outside the state.
    pub(super) fn part(
        &mut self,
        client_id: &str,
        sent_to: Option<u64>,
        (is_will_dropped, expiry_seconds): (bool, Option<u32>),
        live: &[&str],
    ) {
        let now = self.now;
        let (mut is_over, mut will, mut holder) = (false, None, None);
        let control = &mut self.control;
        self.store.shard(client_id).change(client_id, |record| {
            note_sent(record, sent_to);
            holder = record.holder.take();
            if holder.is_some() {
                control.goes_away(record);
            }
            record.expiry_seconds = expiry_seconds.unwrap_or(record.expiry_seconds);
            if is_will_dropped {
                record.will = None;
            }
            is_over = record.expiry_seconds == 0;
            record.expires_at = match record.expiry_seconds {
                u32::MAX => Millis::NEVER,
                seconds => now.plus_seconds(seconds),
            };
            // The will leaves after its delay or with the session. [MQTT-3.1.3-9]
            record.will_at = match &record.will {
                Some(will) => now.plus_seconds(will.delay_seconds).min(record.expires_at),
                None => Millis::NEVER,
            };
            if record.will_at <= now {
                record.will_at = Millis::NEVER;
                will = take_will(record);
            }
        });
        self.control.let_go(holder);
        if let Some(will) = will {
            self.publish_will(will);
        }
        if is_over {
            self.end_session(client_id);
            return;
        }
        self.set_member_node(client_id, None);
        self.hand_on_unacknowledged(client_id, live);
    }

    /// Another connection has the session now. The earlier one's will is published unless it has a
    /// delay, which the session's going on ends. [MQTT-3.1.3-9]
    pub(super) fn take_over(&mut self, client_id: &str) {
        let (mut will, mut holder) = (None, None);
        let control = &mut self.control;
        self.store.shard(client_id).change(client_id, |record| {
            holder = record.holder.take();
            if holder.is_some() {
                control.goes_away(record);
            }
            let was_connected = holder.is_some();
            if was_connected {
                note_sent(record, None);
            }
            record.will_at = Millis::NEVER;
            let due = take_will(record);
            will = due.filter(|due| was_connected && due.will.delay_seconds == 0);
        });
        self.control.let_go(holder);
        self.tell_former(client_id, holder);
        if let Some(will) = will {
            self.publish_will(will);
        }
    }

    /// A worker that has lost a session is told to look, and closes the connection.
    fn tell_former(&mut self, client_id: &str, holder: Option<Holder>) {
        if let Some(holder) = holder {
            self.applied.ready.push(Ready { holder, client_id: ClientId::new(client_id) });
        }
    }

    /// The session is over: its will is published, its groups get what they can.
    pub(super) fn end_session(&mut self, client_id: &str) {
        let Some(record) = self.store.remove(&mut self.control, client_id) else { return };
        self.tell_former(client_id, record.holder);
        let mut record = Arc::unwrap_or_clone(record);
        if let Some(will) = take_will(&mut record) {
            self.publish_will(will);
        }
        if record.holder.is_some() {
            note_sent(&mut record, None);
        }
        let left = unacknowledged(&record, |_| true);
        let groups: Vec<Arc<str>> = left.iter().filter_map(|(_, e)| e.share().cloned()).collect();
        let groups: Vec<&str> = groups.iter().map(|key| &**key).collect();
        // There may be members outside the state; where there are none, messages come back for
        // those in it whose clients are away.
        self.hand_on(&record.client_id, left, &groups);
    }

    /// Sessions whose connections went with a process.
    pub(super) fn process_gone(&mut self, is_gone: impl Fn(&Holder) -> bool) {
        for number in 0..SHARDS {
            let gone: Vec<(SessionKey, Option<Holder>)> = {
                let shard = self.store.shard_at(number);
                let gone = shard.iter().filter(|r| r.holder.as_ref().is_some_and(&is_gone));
                gone.map(|record| (record.client_id.clone(), record.holder)).collect()
            };
            for (key, holder) in gone {
                // It may live after all, and only be out of reach.
                self.tell_former(key.as_str(), holder);
                self.part(key.as_str(), None, (false, None), &[]);
            }
        }
    }

    /// `leaving` says what was sent to the client, and which groups have members that are connected
    /// outside the state; without, anything may have been sent.
    pub(super) fn unsubscribe(
        &mut self,
        session: SessionRef<'_>,
        filters: &[&str],
        leaving: Option<(u64, &[&str])>,
    ) -> OperationOutcome {
        if !self.is_current(session) {
            return OperationOutcome::Stale;
        }
        let number = shard_of(session.client_id);
        let mut has_changed = false;
        for filter in filters {
            let mut shard = self.store.shard_at(number);
            let Some(record) = shard.get_mut(session.client_id) else { continue };
            let place = record.subscriptions.position(filter);
            let Some(place) = place else { continue };
            let subscription = record.subscriptions.swap_remove(place);
            let key = record.client_id.clone();
            let mut index = self.store.write_index();
            if is_indexed(&subscription) {
                shard.let_go(session.client_id, filter);
                has_changed |= index.remove(filter, number);
            } else if is_membership(&subscription) {
                index.leave(filter, &key);
                has_changed = true;
            }
            drop((shard, index));
            if is_membership(&subscription) {
                // What is sent already stays. [MQTT-3.10.4-3]
                if let Some((sent_to, live)) = leaving {
                    self.hand_on_unsent(&key, filter, sent_to, live);
                }
            }
        }
        if has_changed {
            self.store.index_changed();
        }
        OperationOutcome::Done
    }

    /// The session's client has come or gone: it counts as a member of its groups accordingly.
    pub(super) fn set_member_node(&self, client_id: &str, node: Option<NodeId>) {
        let (key, filters) = self.shared_filters(client_id);
        if let Some(key) = key
            && !filters.is_empty()
        {
            let mut index = self.store.write_index();
            filters.iter().for_each(|filter| index.set_node(filter, &key, node));
            drop(index);
            self.store.index_changed();
        }
    }

    fn shared_filters(&self, client_id: &str) -> (Option<SessionKey>, Vec<Arc<str>>) {
        let shard = self.store.shard(client_id);
        let Some(record) = shard.get(client_id) else { return (None, Vec::new()) };
        let shared = record.subscriptions.iter().filter(|s| is_shared(&s.filter));
        (Some(record.client_id.clone()), shared.map(|s| Arc::clone(&s.filter)).collect())
    }

    /// The session's client has gone: what it has not acknowledged goes to members that are
    /// connected. What was sent with QoS 2 stays: it is to be completed with this client.
    /// [MQTT-4.8.2-4]
    fn hand_on_unacknowledged(&mut self, client_id: &str, live: &[&str]) {
        let (key, filters) = self.shared_filters(client_id);
        let Some(key) = key else { return };
        let others: Vec<Arc<str>> = {
            let index = self.store.read_index();
            let has_others = |filter: &Arc<str>| {
                let group = index.groups.get(filter);
                live.contains(&&**filter) || group.is_some_and(Group::has_connected)
            };
            filters.into_iter().filter(has_others).collect()
        };
        if others.is_empty() {
            return;
        }
        let is_meant = |share: &str| others.iter().any(|other| **other == *share);
        let left = match self.store.shard(client_id).get(client_id) {
            Some(record) => unacknowledged(record, is_meant),
            None => return,
        };
        let given = self.hand_on(&key, left, live);
        self.finish_all(client_id, &given);
    }

    /// The session's client, which is connected, has left a group: what it was not sent of it goes
    /// to others. What nobody takes stays.
    fn hand_on_unsent(&mut self, key: &SessionKey, filter: &str, sent_to: u64, live: &[&str]) {
        let left = match self.store.shard(key.as_str()).get(key.as_str()) {
            Some(record) => {
                let mut left = unacknowledged(record, |share| share == filter);
                left.retain(|(seq, _)| *seq > sent_to);
                left
            }
            None => return,
        };
        let given = self.hand_on(key, left, live);
        self.finish_all(key.as_str(), &given);
    }

    /// Messages that others have now.
    fn finish_all(&mut self, client_id: &str, seqs: &[u64]) {
        let mut shard = self.store.shard(client_id);
        let Some(record) = shard.get_mut(client_id) else { return };
        let before = (record.messages, record.bytes);
        for seq in seqs {
            record.finish(*seq);
        }
        record.trim();
        self.control.count(before, (record.messages, record.bytes));
    }

    /// Gives messages of groups to other members, in order; tells which are given. Those in `live`
    /// may have members that are connected outside the state.
    fn hand_on(&mut self, from: &SessionKey, left: Vec<(u64, Entry)>, live: &[&str]) -> Vec<u64> {
        let (limits, log_index) = (self.limits, self.context.log_index);
        let mut given = Vec::new();
        for (seq, entry) in left {
            let share = entry.share().cloned();
            let (Some(message), Some(key)) = (entry.message, share) else { continue };
            if message.expires_at() <= self.now {
                self.applied.drops.expired += 1;
                given.push(seq);
                continue;
            }
            let incoming = Incoming::addressed(&message, &limits, log_index, self.now);
            let has_live = live.contains(&&*key);
            let form = GroupForm { key: &key, pick: Pick::Next, has_live };
            if self.share(incoming, form, Some(from)).sessions > 0 {
                given.push(seq);
            }
        }
        given
    }
}

/// What a session has as a member of the groups that are meant and another one may get: what was
/// sent with QoS 2 goes to nobody else. [MQTT-4.8.2-5]
fn unacknowledged(record: &Record, is_meant: impl Fn(&str) -> bool) -> Vec<(u64, Entry)> {
    let places = (record.first_seq..).zip(&record.queue);
    let meant = places.filter(|(seq, entry)| {
        entry.progress == Progress::Waiting
            && (entry.qos == QoS::AtLeastOnce || *seq > record.sent_to)
            && entry.share().is_some_and(|share| is_meant(share))
    });
    meant.map(|(seq, entry)| (seq, entry.clone())).collect()
}

/// Notes how far the client may have been sent its messages.
fn note_sent(record: &mut Record, sent_to: Option<u64>) {
    let last = record.next_seq().saturating_sub(1);
    record.sent_to = record.sent_to.max(sent_to.unwrap_or(last)).min(last);
}

pub(super) fn take_will(record: &mut Record) -> Option<DueWill> {
    let will = record.will.take()?;
    Some(DueWill { client_id: record.client_id.clone(), username: record.username.clone(), will })
}
