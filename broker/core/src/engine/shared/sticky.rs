//! Messages of a group that stick to one member as long as its client is connected.

use super::super::random::scale;
use super::super::{Engine, SharedSubscriptionStrategy as Strategy};
use super::Draw;
use crate::router::{GroupIndex, Place, Presence, SharedRoute, Target, hash_topic};

impl Engine {
    /// Where messages of the group stick to; chosen now if they stick to nobody who is there.
    pub(super) fn stick(&mut self, draw: Draw<'_>, presence: Presence) -> Option<Place> {
        let group = draw.group;
        let known = self.router.turn(group.group).and_then(|turn| turn.place);
        match known {
            Some(Place::Here(_)) if let Some(offset) = self.stuck_to(group, presence) => {
                return Some(Place::Here(offset));
            }
            Some(Place::There(destination, _)) if group.has(destination, presence) => return known,
            Some(Place::State) if draw.kept() > 0 => return known,
            _ => {}
        }
        let total = draw.kept() + group.total(presence);
        if total == 0 {
            return None;
        }
        // By the hash, so that engines that know the same members begin with the same one.
        let position = scale(hash_topic(&group.key), total);
        let place = match position.checked_sub(draw.kept()) {
            None => Some(Place::State),
            Some(position) => group.locate(position, presence),
        };
        if let Some(turn) = self.router.turn(group.group) {
            turn.place = place;
        }
        place
    }

    /// The position here of the member that messages stick to.
    pub(super) fn stuck_to(&mut self, group: &SharedRoute, presence: Presence) -> Option<u32> {
        if self.config.shared_subscription_strategy != Strategy::Sticky {
            return None;
        }
        let session = self.router.turn(group.group)?.session?;
        let place = group.here(presence).binary_search_by_key(&session, |target| target.session);
        place.ok().map(|at| at as u32)
    }

    pub(super) fn remember(&mut self, group: GroupIndex, target: &Target) {
        if self.config.shared_subscription_strategy == Strategy::Sticky
            && let Some(turn) = self.router.turn(group)
        {
            turn.session = Some(target.session);
        }
    }
}
