//! Which member of a group gets a message. Spec: MQTT 5.0 section 4.8.2.
//!
//! All engines of the cluster count a group's members in one order. The engine that a message is
//! published on chooses a position in it: one of its own sessions, or a destination and the
//! position there. A connected member always comes before one that is not.

use super::deliver::{Outgoing, queue_limits};
use super::random::scale;
use super::route::{Publisher, Scope};
use super::{Destination, DropReason, Engine, SharedSubscriptionStrategy as Strategy};
use crate::forward::{HOPS_MAX, Shared};
use crate::router::{GroupIndex, Place, Presence, Route, SharedRoute, Target, hash_topic};
use crate::types::{Millis, QoS};

/// Members that are looked at for one that takes a message at once.
const LOOKS_MAX: usize = 32;

/// What a member can do with a message, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Readiness {
    /// Nothing: it would be dropped.
    None,
    /// Keep it until its client is there.
    Keeps,
    /// Keep it until its client has room.
    Waits,
    /// Take it at once.
    Takes,
}

/// Who gets a message.
#[derive(Debug, Clone, Copy)]
enum Choice<'a> {
    Here(&'a Target),
    There(Destination, u32),
}

/// What makes a choice among the members of one group.
#[derive(Debug, Clone, Copy)]
struct Draw<'a> {
    group: &'a SharedRoute,
    qos: QoS,
    /// What strategies by hash go by.
    hash: u64,
}

impl Engine {
    /// Gives a message to one member of each group of its route; `false` when there is none.
    pub(super) fn share(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        (publisher, scope): (Publisher, Scope),
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
            let is_states = match scope {
                Scope::All => self.is_chosen_by_state(route, group, qos),
                Scope::Live => route.durable.groups.iter().any(|known| known.key == group.key),
            };
            if is_states {
                is_wanted = true;
                continue;
            }
            let choice = self.choose(Draw { group, qos, hash });
            is_wanted |= choice.is_some();
            match choice {
                Some(choice) => self.hand_to(now, outgoing, group, choice, 0),
                None => self.counters.dropped.receive_denied += u64::from(group.denied > 0),
            }
        }
        is_wanted
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
        let draw = Draw { group, qos: outgoing.publish.qos, hash: route.hash };
        match self.choose_here(draw, shared.position, shared.hops) {
            Some(choice) => self.hand_to(now, outgoing, group, choice, shared.hops + 1),
            None if group.denied > 0 => self.counters.dropped.receive_denied += 1,
            None => self.counters.dropped.count(DropReason::NoSharedMember),
        }
    }

    /// Gives a kept message to a member of its group anew; `false` when there is none. Its publisher
    /// is not known any more: `hash` is the topic's.
    pub(super) fn share_again(
        &mut self,
        now: Millis,
        outgoing: &mut Outgoing<'_>,
        group: &SharedRoute,
        hash: u64,
    ) -> bool {
        self.frames.clear();
        let draw = Draw { group, qos: outgoing.publish.qos, hash };
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
        let presence = match draw.group.total(Presence::Connected) {
            0 => Presence::Offline,
            _ => Presence::Connected,
        };
        if presence == Presence::Offline && draw.qos == QoS::AtMostOnce {
            return None;
        }
        let place = match self.config.shared_subscription_strategy {
            Strategy::Sticky => self.stick(draw.group, presence)?,
            _ => {
                let position = self.position(draw, presence)?;
                draw.group.locate(position, presence)?
            }
        };
        let offset = match place {
            Place::There(destination, position) => {
                return Some(Choice::There(destination, position));
            }
            Place::Here(offset) => offset,
        };
        let (readiness, target) = self.ready(draw, offset, presence)?;
        let elsewhere = draw.group.elsewhere(presence);
        if readiness < self.wanted_readiness() && elsewhere > 0 && presence == Presence::Connected {
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
        let [connected, offline] = [Presence::Connected, Presence::Offline].map(|presence| {
            let offset = self.stuck_to(draw.group, presence).unwrap_or(position);
            self.ready(draw, offset, presence)
        });
        let useful = |found: &Option<(Readiness, &'a Target)>| {
            found.filter(|(readiness, _)| *readiness > Readiness::None).map(|(_, target)| target)
        };
        let elsewhere = |presence| Self::choose_elsewhere(draw, presence);
        let choice = useful(&connected)
            .map(Choice::Here)
            .or_else(|| elsewhere(Presence::Connected).filter(|_| hops == 0))
            .or_else(|| useful(&offline).map(Choice::Here))
            .or_else(|| elsewhere(Presence::Connected).filter(|_| hops < HOPS_MAX))
            .or_else(|| elsewhere(Presence::Offline).filter(|_| hops < HOPS_MAX))
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
            Place::Here(_) => None,
        }
    }

    /// The position that the strategy gives among all members of this kind.
    fn position(&mut self, draw: Draw<'_>, presence: Presence) -> Option<u32> {
        let total = draw.group.total(presence);
        if total == 0 {
            return None;
        }
        Some(match self.config.shared_subscription_strategy {
            Strategy::HashClient | Strategy::HashTopic => scale(draw.hash, total),
            Strategy::Random => self.random.below(total),
            Strategy::RoundRobin | Strategy::Sticky => self.turn(draw.group.group) % total,
            Strategy::LocalFirst => {
                let turn = self.turn(draw.group.group);
                match draw.group.positions_on(self.config.node, presence) {
                    (_, 0) => turn % total,
                    (first, count) => first + turn % count,
                }
            }
        })
    }

    /// The number of this choice among those of the group.
    fn turn(&mut self, group: GroupIndex) -> u32 {
        let Some(turn) = self.router.turn(group) else { return 0 };
        turn.next = turn.next.wrapping_add(1);
        turn.next
    }

    /// The readiness that the strategy wants: a place that is meant is waited for.
    const fn wanted_readiness(&self) -> Readiness {
        match self.config.shared_subscription_strategy {
            Strategy::RoundRobin | Strategy::Random | Strategy::LocalFirst => Readiness::Takes,
            Strategy::Sticky | Strategy::HashClient | Strategy::HashTopic => Readiness::Waits,
        }
    }

    /// The first member here from `offset` on that is as ready as is wanted, else the readiest.
    fn ready<'a>(
        &self,
        draw: Draw<'a>,
        offset: u32,
        presence: Presence,
    ) -> Option<(Readiness, &'a Target)> {
        let members = draw.group.here(presence);
        let wanted = match presence {
            Presence::Connected => self.wanted_readiness(),
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

// ---- sticky ----

impl Engine {
    /// Where messages of the group stick to; chosen now if they stick to nobody who is there.
    fn stick(&mut self, group: &SharedRoute, presence: Presence) -> Option<Place> {
        let known = self.router.turn(group.group).and_then(|turn| turn.place);
        match known {
            Some(Place::Here(_)) if let Some(offset) = self.stuck_to(group, presence) => {
                return Some(Place::Here(offset));
            }
            Some(Place::There(destination, _)) if group.has(destination, presence) => return known,
            _ => {}
        }
        let total = group.total(presence);
        if total == 0 {
            return None;
        }
        // By the hash, so that engines that know the same members begin with the same one.
        let place = group.locate(scale(hash_topic(&group.key), total), presence);
        if let Some(turn) = self.router.turn(group.group) {
            turn.place = place;
        }
        place
    }

    /// The position here of the member that messages stick to.
    fn stuck_to(&mut self, group: &SharedRoute, presence: Presence) -> Option<u32> {
        if self.config.shared_subscription_strategy != Strategy::Sticky {
            return None;
        }
        let session = self.router.turn(group.group)?.session?;
        let place = group.here(presence).binary_search_by_key(&session, |target| target.session);
        place.ok().map(|at| at as u32)
    }

    fn remember(&mut self, group: GroupIndex, target: &Target) {
        if self.config.shared_subscription_strategy == Strategy::Sticky
            && let Some(turn) = self.router.turn(group)
        {
            turn.session = Some(target.session);
        }
    }
}
