//! Applies batches of operations. Deterministic: the outcome depends on the state and the batch.

use std::sync::{Arc, MutexGuard};

use broker_policy::realm::is_same_user;

use super::applied::{Applied, ApplyContext};
use super::batch::{BatchOrigin, OperationOutcome, SessionBatch, SessionLimits};
use super::control::{Control, Proposer};
use super::form::WillForm;
use super::index::Member;
use super::operation::{GroupForm, Operation, Pick, SessionRef};
use super::record::{Record, StoredWill};
use super::store::{SessionStore, is_indexed, is_membership};
use super::{ALL_SHARDS, Holder, SessionKey, shard_of};
use crate::session::SubscriptionState;
use crate::types::{ClientId, Millis};

/// Proposers that are remembered; the one that started first is forgotten beyond that.
const PROPOSERS_MAX: usize = 1024;

impl SessionStore {
    /// Applies a batch; the second time it changes nothing and answers the same.
    pub fn apply<'a>(&'a self, batch: &SessionBatch, context: ApplyContext<'a>) -> Applied {
        let mut applying = Applying::new(self, batch.origin, batch.now, batch.limits, context);
        if let Some(outcomes) = applying.begin(&batch.operations) {
            return Applied { outcomes, ..applying.applied };
        }
        let mut rest = &batch.operations[..];
        while !rest.is_empty() {
            let outcome = match postcard::take_from_bytes::<Operation<'_>>(rest) {
                Ok((operation, tail)) => {
                    rest = tail;
                    applying.carry_out(operation)
                }
                Err(_) => {
                    rest = &[];
                    OperationOutcome::Malformed
                }
            };
            applying.applied.outcomes.push(outcome);
        }
        applying.end()
    }

    /// Ends the sessions of users who may not act any more; their wills are dropped.
    pub fn end_sessions_of(&self, is_gone: impl Fn(Option<&str>, &str) -> bool) {
        for number in 0..super::SHARDS {
            let gone: Vec<SessionKey> = {
                let shard = self.shard_at(number);
                let is_gone =
                    |r: &&Arc<Record>| is_gone(r.username.as_deref(), r.client_id.as_str());
                let gone = shard.iter().filter(is_gone);
                gone.map(|record| record.client_id.clone()).collect()
            };
            for key in gone {
                let mut control = self.control();
                self.remove(&mut control, key.as_str());
                self.publish_totals(&control);
            }
        }
    }
}

/// A batch that is being applied.
pub(super) struct Applying<'a> {
    pub(super) store: &'a SessionStore,
    pub(super) control: MutexGuard<'a, Control>,
    pub(super) origin: BatchOrigin,
    pub(super) now: Millis,
    pub(super) limits: SessionLimits,
    pub(super) context: ApplyContext<'a>,
    pub(super) applied: Applied,
}

impl<'a> Applying<'a> {
    fn new(
        store: &'a SessionStore,
        origin: BatchOrigin,
        now: Millis,
        limits: SessionLimits,
        context: ApplyContext<'a>,
    ) -> Self {
        let control = store.control();
        Self { store, control, origin, now, limits, context, applied: Applied::default() }
    }

    /// Looks who proposes. Gives the outcomes if the batch is not to be applied.
    fn begin(&mut self, operations: &[u8]) -> Option<Vec<OperationOutcome>> {
        let BatchOrigin { node, start, seq, settled } = self.origin;
        let known = self.control.proposers.get(&node).map(|proposer| proposer.start);
        if known.is_some_and(|known| known > start) {
            return Some(all_stale(operations));
        }
        if known.is_some_and(|known| known < start) {
            self.process_gone(|holder| holder.node == node && holder.start < start);
        }
        if known != Some(start) {
            self.control.proposers.insert(node, Proposer { start, ..Proposer::default() });
            self.forget_proposers();
        }
        let proposer = self.control.proposers.entry(node).or_default();
        proposer.outcomes.retain(|batch, _| *batch >= settled);
        if seq <= proposer.last && proposer.last != 0 {
            let outcomes = proposer.outcomes.get(&seq).cloned();
            return Some(outcomes.unwrap_or_else(|| all_stale(operations)));
        }
        proposer.last = seq;
        None
    }

    fn forget_proposers(&mut self) {
        if self.control.proposers.len() > PROPOSERS_MAX {
            let proposers = self.control.proposers.iter();
            let first = proposers.min_by_key(|(node, p)| (p.start, **node)).map(|(node, _)| *node);
            first.map(|node| self.control.proposers.remove(&node));
        }
    }

    fn end(mut self) -> Applied {
        let outcomes = self.applied.outcomes.clone();
        self.control.totals.operations += outcomes.len() as u64;
        self.store.publish_totals(&self.control);
        if let Some(proposer) = self.control.proposers.get_mut(&self.origin.node) {
            proposer.outcomes.insert(self.origin.seq, outcomes);
        }
        self.applied
    }

    fn carry_out(&mut self, operation: Operation<'_>) -> OperationOutcome {
        match operation {
            Operation::Attach {
                client_id,
                username,
                worker,
                clean_start,
                expiry_seconds,
                will,
                subscriptions,
            } => {
                let asked = Asked { username, worker, clean_start, expiry_seconds, subscriptions };
                self.attach(client_id, asked, will)
            }
            Operation::Detach { session, sent_to, is_will_dropped, expiry_seconds } => {
                self.detach(session, sent_to, (is_will_dropped, expiry_seconds), &[])
            }
            Operation::DetachMember { session, sent_to, is_will_dropped, expiry_seconds, live } => {
                self.detach(session, sent_to, (is_will_dropped, expiry_seconds), &live)
            }
            Operation::Discard { client_id } => {
                self.end_session(client_id);
                OperationOutcome::Done
            }
            Operation::Subscribe { session, subscriptions } => {
                self.subscribe(session, subscriptions)
            }
            Operation::Unsubscribe { session, filters } => {
                self.unsubscribe(session, &filters, None)
            }
            Operation::Leave { session, filters, sent_to, live } => {
                self.unsubscribe(session, &filters, Some((sent_to, &live)))
            }
            Operation::Publish { publisher, shards, groups, is_retained, message } => {
                let groups = groups.into_iter().map(next_of).collect();
                self.publish(publisher, (shards, groups), None, is_retained, message)
            }
            Operation::PublishShared { publisher, shards, groups, is_retained, message } => {
                self.publish(publisher, (shards, groups), None, is_retained, message)
            }
            Operation::PublishAnywhere { publisher, served, groups, is_retained, message } => {
                let audience = (ALL_SHARDS, groups);
                self.publish(publisher, audience, Some(&served), is_retained, message)
            }
            Operation::Acknowledge { session, seqs } => self.with_current(session, |record| {
                seqs.iter().for_each(|seq| {
                    record.finish(*seq);
                })
            }),
            Operation::Receive { session, seqs } => self.with_current(session, |record| {
                seqs.iter().for_each(|seq| {
                    record.receive(*seq);
                })
            }),
            Operation::Release { session, packet_ids } => self.with_current(session, |record| {
                packet_ids.iter().for_each(|id| {
                    record.inbound.remove(id);
                })
            }),
            Operation::Deliver { session, qos, retain, subscription_id, message } => {
                self.deliver(session, (qos, retain), subscription_id, message)
            }
            Operation::Delay(form) => self.delay(form),
            Operation::Expire { sessions_max } => self.expire(sessions_max),
            Operation::NodeGone { node, start } => {
                self.process_gone(|holder| holder.node == node && holder.start <= start);
                OperationOutcome::Done
            }
        }
    }

    /// The connection is gone; `live` are the session's groups that others go on with.
    fn detach(
        &mut self,
        session: SessionRef<'_>,
        sent_to: u64,
        end: (bool, Option<u32>),
        live: &[&str],
    ) -> OperationOutcome {
        if !self.is_current(session) {
            return OperationOutcome::Stale;
        }
        self.part(session.client_id, Some(sent_to), end, live);
        OperationOutcome::Done
    }

    /// Whether the session is still this connection's.
    pub(super) fn is_current(&self, session: SessionRef<'_>) -> bool {
        let shard = self.store.shard(session.client_id);
        shard.get(session.client_id).is_some_and(|record| is_held(record, session))
    }

    /// Changes the queue or the inbound messages of a session.
    pub(super) fn with_current(
        &mut self,
        session: SessionRef<'_>,
        change: impl FnOnce(&mut Record),
    ) -> OperationOutcome {
        let mut shard = self.store.shard(session.client_id);
        let is_current = shard.get(session.client_id).is_some_and(|r| is_held(r, session));
        let record = if is_current { shard.get_mut(session.client_id) } else { None };
        let Some(record) = record else { return OperationOutcome::Stale };
        let before = (record.messages, record.bytes);
        change(record);
        record.trim();
        self.control.count(before, (record.messages, record.bytes));
        OperationOutcome::Done
    }

    fn attach(
        &mut self,
        client_id: &str,
        asked: Asked<'_>,
        will: Option<WillForm<'_>>,
    ) -> OperationOutcome {
        let goes_on = {
            let shard = self.store.shard(client_id);
            // One whose time is over is over, though nobody has looked yet. [MQTT-4.1.0-2]
            let found = shard.get(client_id).filter(|record| self.now < record.expires_at);
            found.is_some_and(|record| {
                !asked.clean_start && is_same_user(record.username.as_deref(), asked.username)
            })
        };
        if !goes_on {
            self.end_session(client_id);
            if self.control.totals.sessions >= self.limits.sessions_max {
                return OperationOutcome::Full;
            }
            let record = Record::new(ClientId::new(client_id));
            self.store.insert(&mut self.control, Arc::new(record));
        } else {
            self.take_over(client_id);
        }
        self.control.attachments += 1;
        let attachment = self.control.attachments;
        let BatchOrigin { node, start, .. } = self.origin;
        let holder = Holder { node, start, worker: asked.worker };
        self.control.hold(Some(holder));
        let control = &mut self.control;
        self.store.shard(client_id).change(client_id, |record| {
            control.comes_back(record);
            record.attachment = attachment;
            record.holder = Some(holder);
            record.username = asked.username.map(Arc::from);
            record.expiry_seconds = asked.expiry_seconds;
            (record.expires_at, record.will_at) = (Millis::NEVER, Millis::NEVER);
            record.will = will.map(|will| StoredWill {
                message: Arc::new(will.message.message()),
                message_expiry_seconds: will.message_expiry_seconds,
                delay_seconds: will.delay_seconds,
            });
        });
        self.set_member_node(client_id, Some(node));
        self.give(SessionRef { client_id, attachment }, asked.subscriptions);
        OperationOutcome::Attached { attachment, session_present: goes_on }
    }

    /// Adds Subscriptions that the session does not have.
    fn give(&mut self, session: SessionRef<'_>, mut subscriptions: Vec<SubscriptionState>) {
        {
            let shard = self.store.shard(session.client_id);
            let Some(record) = shard.get(session.client_id) else { return };
            let has = |filter: &str| record.subscriptions.position(filter).is_some();
            subscriptions.retain(|subscription| !has(&subscription.filter));
        }
        if !subscriptions.is_empty() {
            self.subscribe(session, subscriptions);
        }
    }

    fn subscribe(
        &mut self,
        session: SessionRef<'_>,
        subscriptions: Vec<SubscriptionState>,
    ) -> OperationOutcome {
        if !self.is_current(session) {
            return OperationOutcome::Stale;
        }
        let number = shard_of(session.client_id);
        let mut has_changed = false;
        for subscription in subscriptions {
            let mut shard = self.store.shard_at(number);
            let Some(record) = shard.get_mut(session.client_id) else { continue };
            let key = record.client_id.clone();
            let same = record.subscriptions.position(&subscription.filter);
            let earlier = match same {
                Some(at) => Some(record.subscriptions.replace(at, subscription.clone())),
                None => {
                    record.subscriptions.push(subscription.clone());
                    None
                }
            };
            let node = record.holder.map(|holder| holder.node);
            let SubscriptionState { filter, options, id } = &subscription;
            let mut index = self.store.write_index();
            if earlier.as_ref().is_some_and(is_indexed) {
                shard.let_go(session.client_id, filter);
                has_changed |= index.remove(filter, number);
            }
            if earlier.as_ref().is_some_and(is_membership) && !is_membership(&subscription) {
                index.leave(filter, &key);
                has_changed = true;
            }
            if is_indexed(&subscription) {
                shard.hold(session.client_id, filter, *options, *id);
                has_changed |= index.add(filter, number);
            } else if is_membership(&subscription) {
                index.join(filter, &key, Member { options: *options, id: *id, node });
                has_changed = true;
            }
        }
        if has_changed {
            self.store.index_changed();
        }
        OperationOutcome::Done
    }
}

/// What a client that connects asks for.
struct Asked<'a> {
    username: Option<&'a str>,
    worker: u8,
    clean_start: bool,
    expiry_seconds: u32,
    subscriptions: Vec<SubscriptionState>,
}

/// A group whose next member is meant.
pub(super) const fn next_of(key: &str) -> GroupForm<'_> {
    GroupForm { key, pick: Pick::Next, has_live: false }
}

fn is_held(record: &Record, session: SessionRef<'_>) -> bool {
    record.attachment == session.attachment && record.holder.is_some()
}

/// The outcomes of a batch that comes too late.
fn all_stale(operations: &[u8]) -> Vec<OperationOutcome> {
    let mut rest = operations;
    let next = std::iter::from_fn(|| {
        let (_, tail) = postcard::take_from_bytes::<Operation<'_>>(rest).ok()?;
        rest = tail;
        Some(OperationOutcome::Stale)
    });
    next.collect()
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
