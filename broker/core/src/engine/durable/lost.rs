//! What the log may have lost, and nobody but this engine would propose again: the end of a
//! session's time on a connection, a beginning of which nothing was heard, and retained messages
//! on their way into a session. It is tried again every second, and as soon as something else is
//! committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::settle::Verdict;
use super::{Reach, Wait};
use crate::engine::{Claim, Engine};
use crate::session::{RetainedCursor, SessionSlot};
use crate::shard::{Operation, SessionRef};
use crate::types::{ClientId, Millis};

/// Wait before what was lost is proposed again, in milliseconds.
const AGAIN_MILLIS: u64 = 1000;

/// Operations of one kind that are proposed again together; the others follow.
const AGAIN_MAX: usize = 4096;

/// Beginnings of which nothing was heard, at most. One beyond that ends when its client comes again.
const BEGUN_MAX: usize = 65_536;

/// The end of a session's time on a connection.
#[derive(Debug)]
pub(in crate::engine) struct End {
    pub(super) client_id: ClientId,
    pub(super) attachment: u64,
    pub(super) sent_to: u64,
    pub(super) is_will_dropped: bool,
    pub(super) expiry_seconds: Option<u32>,
    /// Its groups that have members that are connected and not in the state.
    pub(super) live: Vec<Arc<str>>,
}

impl End {
    /// Of a session that was begun for a connection that was never accepted: no will.
    pub(super) const fn of_nobody(client_id: ClientId, attachment: u64) -> Self {
        let (sent_to, is_will_dropped, expiry_seconds) = (0, true, None);
        Self { client_id, attachment, sent_to, is_will_dropped, expiry_seconds, live: Vec::new() }
    }
}

/// An Attach that is under way, or of which nothing was heard.
#[derive(Debug)]
struct Begun {
    claim: Claim,
    /// Whether it, or one of the same client before it, may be carried out still.
    is_unclear: bool,
    step: Step,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Its answer will come.
    Attaching,
    /// Something is to be proposed that is applied behind it.
    Waiting,
    /// That is proposed.
    Asked,
}

/// What is to be proposed again.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// Bounded by the sessions that the state gave to this engine.
    ends: BTreeMap<(ClientId, u64), End>,
    /// Bounded by the connections, and by [`BEGUN_MAX`].
    begun: BTreeMap<ClientId, Begun>,
    /// Sessions that are to go on with retained messages. Bounded by the messages that may be on
    /// their way into each.
    searching: Vec<(SessionSlot, u32)>,
    again_at: Option<Millis>,
}

impl Lost {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty() && self.begun.is_empty() && self.searching.is_empty()
    }

    fn again(&mut self, now: Millis) {
        self.again_at.get_or_insert(now.plus(AGAIN_MILLIS));
    }
}

impl Engine {
    /// When what the log has lost is to be proposed again.
    pub(in crate::engine) fn next_lost(&self) -> Option<Millis> {
        self.durable.as_ref().and_then(|durable| durable.lost.again_at)
    }

    /// Proposes what was lost, when it is time for that.
    pub(in crate::engine) fn propose_lost(&mut self, now: Millis) {
        if self.next_lost().is_some_and(|at| at <= now) {
            self.propose_lost_now(now);
        }
    }

    /// Proposes what was lost; the log takes something again.
    pub(super) fn propose_lost_now(&mut self, now: Millis) {
        let Some(durable) = self.durable.as_mut().filter(|d| d.lost.again_at.is_some()) else {
            return;
        };
        let lost = &mut durable.lost;
        lost.again_at = None;
        let searching = std::mem::take(&mut lost.searching);
        let ends = std::iter::from_fn(|| lost.ends.pop_first()).map(|(_, end)| end);
        let ends: Vec<End> = ends.take(AGAIN_MAX).collect();
        let mut looks = Vec::new();
        let waiting = lost.begun.iter_mut().filter(|(_, one)| one.step == Step::Waiting);
        for (client_id, one) in waiting.take(AGAIN_MAX) {
            one.step = Step::Asked;
            looks.push((client_id.clone(), one.claim));
        }
        if ends.len() == AGAIN_MAX || looks.len() == AGAIN_MAX {
            lost.again(now);
        }
        for end in ends {
            self.propose_end(end);
        }
        for (client_id, claim) in looks {
            self.propose_look(client_id, claim);
        }
        for (slot, serial) in searching {
            if self.sessions.get(slot).is_some_and(|session| session.serial == serial) {
                self.pump(now, slot);
            }
        }
    }

    /// Proposes the end of a session's time on a connection, until the state knows of it.
    pub(super) fn propose_end(&mut self, mut end: End) {
        end.live.retain(|key| self.router.has_live(key));
        let (client_id, live) = (end.client_id.clone(), end.live.clone());
        let session = SessionRef { client_id: client_id.as_str(), attachment: end.attachment };
        let End { sent_to, is_will_dropped, expiry_seconds, .. } = end;
        let operation = match live.is_empty() {
            true => Operation::Detach { session, sent_to, is_will_dropped, expiry_seconds },
            false => {
                let live = live.iter().map(|key| &**key).collect();
                Operation::DetachMember { session, sent_to, is_will_dropped, expiry_seconds, live }
            }
        };
        self.push_operation(&operation, Wait::Detach(Box::new(end)), Reach::Committed);
    }

    /// The end is known to the state, or lost.
    pub(super) fn detached(&mut self, now: Millis, end: End, verdict: Verdict) {
        let Some(durable) = self.durable.as_mut().filter(|_| is_lost(verdict)) else { return };
        durable.lost.ends.insert((end.client_id.clone(), end.attachment), end);
        durable.lost.again(now);
    }

    /// The client comes again: the state is to hear of the ends of before it first, or it would
    /// take its client for one that was connected all the time.
    pub(super) fn propose_ends_of(&mut self, client_id: &ClientId) {
        while let Some(durable) = self.durable.as_mut().filter(|d| !d.lost.ends.is_empty()) {
            let ends = &mut durable.lost.ends;
            let mut found = ends.range((client_id.clone(), 0)..=(client_id.clone(), u64::MAX));
            let Some(key) = found.next().map(|(key, _)| key.clone()) else { return };
            let Some(end) = ends.remove(&key) else { return };
            self.propose_end(end);
        }
    }

    /// An Attach is proposed: what becomes of it settles those before it.
    pub(super) fn note_attaching(&mut self, client_id: &ClientId, claim: Claim) {
        let Some(durable) = &mut self.durable else { return };
        let begun = Begun { claim, is_unclear: false, step: Step::Attaching };
        let begun = durable.lost.begun.entry(client_id.clone()).or_insert(begun);
        (begun.claim, begun.step) = (claim, Step::Attaching);
    }

    /// What became of an Attach.
    pub(super) fn note_attached(
        &mut self,
        now: Millis,
        (client_id, claim): (&ClientId, Claim),
        verdict: Verdict,
    ) {
        let Some(durable) = &mut self.durable else { return };
        let lost = &mut durable.lost;
        let count = lost.begun.len();
        let Some(begun) = lost.begun.get_mut(client_id) else { return };
        begun.is_unclear |= verdict == Verdict::Unknown;
        if begun.claim > claim {
            return;
        }
        if is_lost(verdict) && begun.is_unclear && count <= BEGUN_MAX {
            begun.step = Step::Waiting;
            lost.again(now);
        } else {
            lost.begun.remove(client_id);
        }
    }

    /// Proposes an end that is nobody's, as no session has this attachment: when it is applied here,
    /// the Attach before it is too, or never will be.
    fn propose_look(&mut self, client_id: ClientId, claim: Claim) {
        let nobody = SessionRef { client_id: client_id.as_str(), attachment: 0 };
        let (sent_to, is_will_dropped, expiry_seconds) = (0, false, None);
        let operation =
            Operation::Detach { session: nobody, sent_to, is_will_dropped, expiry_seconds };
        let wait = Wait::Look(client_id.clone(), claim);
        self.push_operation(&operation, wait, Reach::AppliedHere);
    }

    /// Ends what an Attach has begun of which nothing was heard.
    pub(super) fn looked(
        &mut self,
        now: Millis,
        client_id: ClientId,
        claim: Claim,
        verdict: Verdict,
    ) {
        let Some(durable) = &mut self.durable else { return };
        let lost = &mut durable.lost;
        let begun = lost.begun.get_mut(&client_id);
        let Some(begun) = begun.filter(|one| one.claim == claim && one.step == Step::Asked) else {
            return;
        };
        if is_lost(verdict) {
            begun.step = Step::Waiting;
            return lost.again(now);
        }
        lost.begun.remove(&client_id);
        let here = (self.config.node, durable.worker);
        let held = durable.store.holding(client_id.as_str());
        let held = held.filter(|(by, _)| (by.node, by.worker) == here);
        let Some((_, attachment)) = held else { return };
        let slot = self.sessions.slot_of(client_id.as_str());
        let current = slot.and_then(|slot| self.durable_key(slot));
        if current.is_none_or(|(_, current)| current != attachment) {
            self.propose_end(End::of_nobody(client_id, attachment));
        }
    }

    /// A retained message did not get into the session's queue: it is looked for again, and the one
    /// that the topic has by then is sent.
    pub(super) fn search_again(&mut self, now: Millis, slot: SessionSlot, cursor: RetainedCursor) {
        let (Some(durable), Some(session)) = (&mut self.durable, self.sessions.get_mut(slot))
        else {
            return;
        };
        // It may have been unsubscribed meanwhile.
        if session.subscription(&cursor.filter).is_none() {
            return;
        }
        let serial = session.serial;
        session.retained_cursors.push_back(cursor);
        let searching = &mut durable.lost.searching;
        if searching.last() != Some(&(slot, serial)) {
            searching.push((slot, serial));
        }
        durable.lost.again(now);
    }
}

pub(super) const fn is_lost(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Refused | Verdict::Unknown)
}
