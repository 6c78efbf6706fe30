//! Routes of the topics in use, so that a message of a known topic is not matched again. Pure.

use super::route::Route;

/// Places for routes. A topic has one place; a topic that wants the same one displaces it.
const SLOTS: usize = 4096;
/// Targets in all routes kept, so that memory is bounded whatever the fan-out.
const TARGETS_MAX: usize = 1 << 20;

/// A bounded memory of routes, without any order of use to keep.
#[derive(Debug, Default)]
pub(super) struct RouteCache {
    slots: Vec<Option<Box<Route>>>,
    targets: usize,
}

impl RouteCache {
    /// Takes out what is kept at the topic's place: its route or another, or a new one.
    pub(super) fn take(&mut self, hash: u64) -> Box<Route> {
        let taken = self.slots.get_mut(place(hash)).and_then(Option::take);
        let route = taken.unwrap_or_default();
        self.targets -= route.size();
        route
    }

    /// Puts a route in its place.
    pub(super) fn put(&mut self, route: Box<Route>) {
        let size = route.size();
        if self.targets + size > TARGETS_MAX {
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize_with(SLOTS, || None);
        }
        self.targets += size;
        let place = place(route.hash);
        self.slots[place] = Some(route);
    }
}

const fn place(hash: u64) -> usize {
    // The upper bits are the well mixed ones.
    (hash >> 52) as usize % SLOTS
}

/// Hash of a topic or another text, the same on every node. Not proof against chosen topics: they can only displace one another.
pub(crate) fn hash_topic(topic: &str) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = topic.len() as u64;
    let mut chunks = topic.as_bytes().chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
    let mut tail = [0; 8];
    tail[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let hash = (hash.rotate_left(5) ^ u64::from_le_bytes(tail)).wrapping_mul(FACTOR);
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_comes_back_until_another_topic_wants_its_place() {
        let mut cache = RouteCache::default();
        let hash = hash_topic("a/b");
        let mut route = cache.take(hash);
        (route.topic, route.hash, route.stamp) = ("a/b".into(), hash, 7);
        cache.put(route);
        let route = cache.take(hash);
        assert_eq!((&*route.topic, route.stamp), ("a/b", 7));
        assert_eq!(cache.take(hash).stamp, 0);
    }

    #[test]
    fn topics_that_differ_little_spread_over_the_places() {
        let places: std::collections::HashSet<_> =
            (0..1000).map(|n| place(hash_topic(&format!("fleet/device-{n}/state")))).collect();
        assert!(places.len() > 800, "{}", places.len());
    }
}
