//! Three brokers as processes under traffic of QoS 1, and each of them killed in its turn.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use support::broker::Broker;
use support::client::Client;
use support::eventually;
use support::node::policy;

const TOPIC: &str = "traffic";
const LAST: &[u8] = b"last";
/// Between two messages: some hundred a second say as much as all that the machine can do.
const PACE: Duration = Duration::from_millis(2);

/// Numbered messages from a client of one broker to a client of another, each acknowledged before the next one.
struct Traffic {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    publisher: JoinHandle<u64>,
    subscriber: JoinHandle<()>,
}

impl Traffic {
    fn start(from: &Broker, to: &Broker) -> Self {
        let (stop, received) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (mut publisher, mut subscriber) = (from.plain("traffic-out"), to.plain("traffic-in"));
        subscriber.subscribe(TOPIC, 1);
        let stopped = Arc::clone(&stop);
        let publisher = std::thread::spawn(move || {
            let mut count = 0u64;
            while !stopped.load(Ordering::Relaxed) {
                count += 1;
                assert_eq!(publisher.publish_acknowledged(TOPIC, &count.to_be_bytes()), 0);
                std::thread::sleep(PACE);
            }
            assert_eq!(publisher.publish_acknowledged(TOPIC, LAST), 0);
            count
        });
        let seen = Arc::clone(&received);
        let subscriber = std::thread::spawn(move || {
            for number in 1u64.. {
                let payload = subscriber.acknowledged_message();
                if payload == LAST {
                    return;
                }
                assert_eq!(payload, number.to_be_bytes(), "each one, once, in order");
                seen.store(number, Ordering::Relaxed);
            }
        });
        Self { stop, received, publisher, subscriber }
    }

    /// Waits until messages arrive that are published from now on.
    fn flows(&self) {
        let before = self.received.load(Ordering::Relaxed);
        eventually("messages arrive", || {
            let has_ended = self.publisher.is_finished() || self.subscriber.is_finished();
            assert!(!has_ended, "the connections of others are not touched");
            (self.received.load(Ordering::Relaxed) > before + 10).then_some(())
        });
    }

    /// Every message that was acknowledged has arrived.
    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let published = self.publisher.join().unwrap();
        self.subscriber.join().unwrap();
        assert_eq!(self.received.load(Ordering::Relaxed), published);
    }
}

fn comes_in(broker: &Broker, username: &str) {
    eventually(&format!("{username} is let in"), || {
        let mut client = Client::try_plain(broker.process.listener("plain")).ok()?;
        (client.connect(username, Some(username), b"secret") == 0).then_some(())
    });
}

#[test]
fn any_broker_may_be_killed_the_others_serve_and_take_changes_and_it_catches_up() {
    let mut brokers = Broker::cluster(3);
    let mut users = vec!["pump"];
    for (victim, user) in ["valve", "tank", "meter"].into_iter().enumerate() {
        let others = [(victim + 1) % 3, (victim + 2) % 3];
        let traffic = Traffic::start(&brokers[others[0]], &brokers[others[1]]);
        traffic.flows();
        brokers[victim].process.signal("KILL");
        brokers[victim].process.wait();
        traffic.flows();

        let before = policy(&users);
        users.push(user);
        let wanted = policy(&users);
        let revision = wanted.revision().to_string();
        brokers[others[1]].change_policy(&before, &wanted);
        for other in others {
            brokers[other].until_enforced(&revision);
            comes_in(&brokers[other], user);
        }
        traffic.flows();

        brokers[victim].restart();
        brokers[victim].until_enforced(&revision);
        comes_in(&brokers[victim], user);
        traffic.flows();
        traffic.end();
    }
}
