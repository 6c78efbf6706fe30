//! Which member of a group gets a message. Spec: MQTT 5.0 section 4.8.2.
//!
//! All engines of the cluster count a group's members in one order. The engine that a message is
//! published on chooses a position in it: one of its own sessions, or a destination and the
//! position there. A connected member always comes before one that is not.
//!
//! Members that the replicated state serves get messages of QoS 1 and 2 from it. The strategy
//! counts them before all others; if it comes to one of them, the message is proposed with the
//! strategy's choice, which the state makes among its members of that moment.

mod readiness;
mod sticky;

use self::readiness::Readiness;
use super::outgoing::Outgoing;
use super::random::scale;
use super::route::{Publisher, Scope};
use super::{Destination, DropReason, Engine, SharedSubscriptionStrategy as Strategy};
use crate::forward::{HOPS_MAX, Shared};
use crate::router::{GroupIndex, Place, Presence, Route, SharedRoute, Target, hash_topic};
use crate::shard::{DurableGroup, Pick};
use crate::types::{Millis, QoS};

/// Who gets a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Choice<'a> {
    Here(&'a Target),
    There(Destination, u32),
    /// A member that the replicated state serves; it chooses when it applies the message.
    State(Pick),
}

/// A place among the members of a group.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// Among those that the state serves.
    Kept(Pick),
    /// Among the others.
    Other(u32),
}

/// What makes a choice among the members of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw<'a> {
    group: &'a SharedRoute,
    /// Its members that the replicated state serves, if it has such and the message is one that
    /// the state keeps.
    durable: Option<&'a DurableGroup>,
    qos: QoS,
    /// What strategies by hash go by.
    hash: u64,
}

impl<'a> Draw<'a> {
    fn new(group: &'a SharedRoute, route: &'a Route, qos: QoS, hash: u64) -> Self {
        let kept = qos != QoS::AtMostOnce;
        let durable = route.durable.groups.iter().find(|known| kept && known.key == group.key);
        Self { group, durable, qos, hash }
    }

    /// Members that the state serves and whose clients are connected.
    fn kept(&self) -> u32 {
        self.durable.map_or(0, DurableGroup::connected)
    }

    /// The members that get the message from engines, and are connected.
    const fn present(&self) -> Presence {
        match self.qos {
            QoS::AtMostOnce => Presence::Connected,
            _ => Presence::Live,
        }
    }
}

impl Engine {
    /// Gives a message to one member of each group of its route; `false` when there is none.
    pub(super) fn share(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        (publisher, scope): (Publisher, Scope<'_>),
        route: &Route,
    ) -> bool {
        if outgoing.expires_at <= now {
            self.counters.dropped.expired += route.groups.len() as u64;
            return true;
        }
        if route.targets.is_empty() {
            self.frames.clear();
        }
        let (qos, hash) = (outgoing.publish.qos, self.hash_of(publisher, route));
        let mut is_wanted = false;
        for group in &route.groups {
            if scope.is_served(&group.key) {
                is_wanted = true;
                continue;
            }
            let choice = self.choose(Draw::new(group, route, qos, hash));
            is_wanted |= choice.is_some();
            if matches!(choice, Some(Choice::Here(_) | Choice::There(..))) {
                self.is_served(&group.key);
            }
            match choice {
                Some(choice) => self.hand_to(now, outgoing, group, choice, 0),
                None => self.counters.dropped.receive_denied += u64::from(group.denied > 0),
            }
        }
        if qos != QoS::AtMostOnce {
            // Of whom nobody is connected, the state alone knows.
            let is_known = |key: &str| route.groups.iter().any(|group| *group.key == *key);
            for known in &route.durable.groups {
                if !scope.is_served(&known.key) && !is_known(&known.key) {
                    let pick = self.pick_away(hash);
                    self.leave_to_state(&known.key, pick, false);
                    is_wanted = true;
                }
            }
        }
        is_wanted
    }

    /// A message for one member of a group that the state has left to those outside it.
    pub(super) fn share_left(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        key: &str,
        route: &Route,
    ) -> bool {
        self.frames.clear();
        let qos = outgoing.publish.qos;
        let Some(group) = route.groups.iter().find(|group| *group.key == *key) else {
            let known = route.durable.groups.iter().find(|known| *known.key == *key);
            if let Some(known) = known {
                self.leave_to_state(&known.key, Pick::Next, false);
            }
            return known.is_some();
        };
        let draw = Draw::new(group, route, qos, route.hash);
        // The state has asked its connected members already.
        let among = Draw { durable: None, ..draw };
        match (self.choose(among), draw.durable) {
            (Some(choice), _) => self.hand_to(now, outgoing, group, choice, 0),
            (None, Some(known)) => self.leave_to_state(&known.key, Pick::Next, false),
            (None, None) => return false,
        }
        true
    }

    /// A message for a member that the sender thinks is here. If none is any more, it is passed on.
    pub(super) fn receive_shared(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        shared: Shared<'_>,
        route: &Route,
    ) {
        if outgoing.expires_at <= now {
            self.counters.dropped.count(DropReason::Expired);
            return;
        }
        self.frames.clear();
        let Some(group) = route.groups.iter().find(|group| *group.key == *shared.filter) else {
            self.counters.dropped.count(DropReason::NoSharedMember);
            return;
        };
        let draw = Draw::new(group, route, outgoing.publish.qos, route.hash);
        match self.choose_here(draw, shared.position, shared.hops) {
            Some(choice) => self.hand_to(now, outgoing, group, choice, shared.hops + 1),
            None if group.denied > 0 => self.counters.dropped.receive_denied += 1,
            None => self.counters.dropped.count(DropReason::NoSharedMember),
        }
    }

    /// Gives a kept message to a member of its group anew; `false` when there is none. Its publisher
    /// is not known any more: the hash is the topic's.
    pub(super) fn share_again(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        group: &SharedRoute,
        route: &Route,
    ) -> bool {
        self.frames.clear();
        let draw = Draw::new(group, route, outgoing.publish.qos, route.hash);
        let Some(choice) = self.choose(draw) else { return false };
        self.hand_to(now, outgoing, group, choice, 0);
        true
    }

    fn hand_to(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        group: &SharedRoute,
        choice: Choice<'_>,
        hops: u8,
    ) {
        match choice {
            Choice::Here(target) => {
                outgoing.share = Some(group.key.clone());
                self.deliver_one(now, outgoing, target);
            }
            Choice::There(destination, position) => {
                let shared = Shared { filter: &group.key, position, hops };
                let (publish, expires_at) = (outgoing.publish, outgoing.expires_at);
                if self.forwards.push_shared(publish, expires_at, shared, destination) {
                    self.counters.forwards_sent += 1;
                }
            }
            Choice::State(pick) => {
                let has_live = group.total(Presence::Live) > 0;
                self.leave_to_state(&group.key, pick, has_live);
            }
        }
    }

    /// What the strategies by hash go by.
    fn hash_of(&self, publisher: Publisher, route: &Route) -> u64 {
        if self.config.shared_subscription_strategy != Strategy::HashClient {
            return route.hash;
        }
        match publisher {
            Publisher::Gone(hash) => hash,
            Publisher::Session(slot) => {
                self.sessions.get(slot).map_or(0, |session| hash_topic(session.client_id.as_str()))
            }
        }
    }

    /// Chooses among all members, wherever they are.
    fn choose<'a>(&mut self, draw: Draw<'a>) -> Option<Choice<'a>> {
        let present = draw.present();
        let presence = match draw.kept() + draw.group.total(present) {
            0 if draw.durable.is_some() => return Some(Choice::State(self.pick_away(draw.hash))),
            0 => Presence::Offline,
            _ => present,
        };
        if presence == Presence::Offline && draw.qos == QoS::AtMostOnce {
            return None;
        }
        let place = match self.config.shared_subscription_strategy {
            Strategy::Sticky => self.stick(draw, presence)?,
            _ => match self.position(draw, presence)? {
                Position::Kept(pick) => return Some(Choice::State(pick)),
                Position::Other(position) => draw.group.locate(position, presence)?,
            },
        };
        let offset = match place {
            Place::There(destination, position) => {
                return Some(Choice::There(destination, position));
            }
            Place::State => return Some(Choice::State(Pick::Sticky)),
            Place::Here(offset) => offset,
        };
        let (readiness, target) = self.ready(draw, offset, presence)?;
        let elsewhere = draw.group.elsewhere(presence);
        if readiness < self.wanted_readiness() && elsewhere > 0 && presence == present {
            // Nobody here takes it: somebody elsewhere may.
            let position = self.turn(draw.group.group) % elsewhere;
            if let Some(Place::There(destination, position)) =
                draw.group.locate_elsewhere(position, presence)
            {
                return Some(Choice::There(destination, position));
            }
        }
        self.remember(draw.group.group, target);
        Some(Choice::Here(target))
    }

    /// Chooses among the members here, from `position` on, and among those elsewhere if none of
    /// them can do anything with the message, or none is connected.
    ///
    /// One that has been passed on for its second reason is not any more, and one that was passed
    /// on at all prefers a member here who keeps it: what others are known to have may be gone.
    fn choose_here<'a>(&mut self, draw: Draw<'a>, position: u32, hops: u8) -> Option<Choice<'a>> {
        let present = draw.present();
        let [connected, offline] = [present, Presence::Offline].map(|presence| {
            let offset = self.stuck_to(draw.group, presence).unwrap_or(position);
            self.ready(draw, offset, presence)
        });
        let useful = |found: &Option<(Readiness, &'a Target)>| {
            found.filter(|(readiness, _)| *readiness > Readiness::None).map(|(_, target)| target)
        };
        let elsewhere = |presence| Self::choose_elsewhere(draw, presence);
        let choice = useful(&connected)
            .map(Choice::Here)
            .or_else(|| elsewhere(present).filter(|_| hops == 0))
            .or_else(|| useful(&offline).map(Choice::Here))
            .or_else(|| elsewhere(present).filter(|_| hops < HOPS_MAX))
            .or_else(|| elsewhere(Presence::Offline).filter(|_| hops < HOPS_MAX))
            .or_else(|| draw.durable.map(|_| Choice::State(Pick::Next)))
            .or_else(|| connected.or(offline).map(|(_, target)| Choice::Here(target)))?;
        if let Choice::Here(target) = choice {
            self.remember(draw.group.group, target);
        }
        Some(choice)
    }

    fn choose_elsewhere<'a>(draw: Draw<'a>, presence: Presence) -> Option<Choice<'a>> {
        let position = scale(draw.hash, draw.group.elsewhere(presence));
        match draw.group.locate_elsewhere(position, presence)? {
            Place::There(destination, position) => Some(Choice::There(destination, position)),
            Place::Here(_) | Place::State => None,
        }
    }

    /// The position that the strategy gives among the members of this kind and, before them, those
    /// that the state serves.
    fn position(&mut self, draw: Draw<'_>, presence: Presence) -> Option<Position> {
        let (kept, others) = (draw.kept(), draw.group.total(presence));
        let total = kept + others;
        if total == 0 {
            return None;
        }
        let (position, pick) = match self.config.shared_subscription_strategy {
            Strategy::HashClient | Strategy::HashTopic => {
                let position = scale(draw.hash, total);
                (position, Pick::At(position))
            }
            Strategy::Random => {
                let position = self.random.below(total);
                (position, Pick::At(position))
            }
            Strategy::RoundRobin | Strategy::Sticky => {
                (self.turn(draw.group.group) % total, Pick::Next)
            }
            Strategy::LocalFirst => {
                let (turn, node) = (self.turn(draw.group.group), self.config.node);
                let (first, near) = draw.group.positions_on(node, presence);
                let kept_near = draw.durable.map_or(0, |known| known.connected_to(node));
                match near + kept_near {
                    0 => (turn % total, Pick::Next),
                    count if turn % count < kept_near => (0, Pick::Near(node)),
                    count => (kept + first + turn % count - kept_near, Pick::Next),
                }
            }
        };
        Some(match position.checked_sub(kept) {
            None => Position::Kept(pick),
            Some(position) => Position::Other(position),
        })
    }

    /// How the state chooses where nobody is connected.
    fn pick_away(&mut self, hash: u64) -> Pick {
        match self.config.shared_subscription_strategy {
            Strategy::HashClient | Strategy::HashTopic => Pick::At((hash >> 32) as u32),
            Strategy::Random => Pick::At(self.random.below(u32::MAX)),
            Strategy::Sticky => Pick::Sticky,
            Strategy::RoundRobin | Strategy::LocalFirst => Pick::Next,
        }
    }

    /// The number of this choice among those of the group.
    fn turn(&mut self, group: GroupIndex) -> u32 {
        let Some(turn) = self.router.turn(group) else { return 0 };
        turn.next = turn.next.wrapping_add(1);
        turn.next
    }
}
