//! Numbered messages between durable sessions, for tests of what becomes of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::durable::{
    Places, Publisher, Role, Subscriber, check_complete, until_flows, until_received,
};

/// A subscriber and two publishers, one of QoS 1 and one of QoS 2, that go on whatever becomes of the
/// brokers.
pub(crate) struct Load {
    subscriber: Subscriber,
    publishers: [Publisher; 2],
    places: [Places; 3],
    stop: Arc<AtomicBool>,
    stop_subscriber: Arc<AtomicBool>,
}

impl Load {
    /// Starts the subscriber and the publishers, each with where it tries to connect, in order.
    pub(crate) fn start(places: [Vec<SocketAddr>; 3]) -> Self {
        let places = places.map(|places| Places::new(Mutex::new(places)));
        let (stop, stop_subscriber) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let role = |client_id, at: usize, stop: &Arc<AtomicBool>| {
            let (places, stop) = (Arc::clone(&places[at]), Arc::clone(stop));
            Role { client_id, username: Some("pump"), places, stop }
        };
        let subscriber = Subscriber::start(role("subscriber", 0, &stop_subscriber), "load/#");
        let publishers = [
            Publisher::start(role("one", 1, &stop), "load/1", 1),
            Publisher::start(role("two", 2, &stop), "load/2", 2),
        ];
        Self { subscriber, publishers, places, stop, stop_subscriber }
    }

    /// A broker listens elsewhere now.
    pub(crate) fn broker_moved(&self, before: SocketAddr, after: SocketAddr) {
        for places in &self.places {
            let mut places = places.lock().unwrap();
            places.iter_mut().filter(|place| **place == before).for_each(|place| *place = after);
        }
    }

    /// Waits until messages of both kinds are acknowledged that are published from now on.
    pub(crate) fn flows(&self) {
        until_flows(&self.publishers.each_ref().map(|publisher| &*publisher.acknowledged));
    }

    /// All that was acknowledged has come, in order, and what was of QoS 2 once.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let last = self.publishers.map(Publisher::finish);
        until_received(&self.subscriber.received, "load/1", last[0]);
        until_received(&self.subscriber.received, "load/2", last[1]);
        self.stop_subscriber.store(true, Ordering::Relaxed);
        let received = self.subscriber.finish();
        check_complete(&received["load/1"], last[0]);
        check_complete(&received["load/2"], last[1]);
        assert_eq!(received["load/2"].len() as u64, last[1], "QoS 2: once each");
        eprintln!("{last:?} messages acknowledged, none lost");
    }
}
