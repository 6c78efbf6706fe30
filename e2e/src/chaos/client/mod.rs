//! Clients that go on whatever happens: each to any broker, and to another one when its connection breaks.

mod link;
mod publisher;
mod subscriber;
mod wanderer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use mqtt_bench::wire::Login;

use super::history::{Event, History};
use super::random::Random;
use link::Link;

/// Publishers; each has a stream of QoS 1 and one of QoS 2.
const PUBLISHERS: u32 = 3;
/// Durable sessions that get everything.
const SUBSCRIBERS: u32 = 2;
/// Members of the shared subscription.
const MEMBERS: u32 = 3;
/// Client ids with several connections at once.
const WANDERERS: u32 = 2;
/// The shared subscription's name.
const GROUP: &str = "crew";
/// What everybody subscribes to; the rest of a topic is its stream.
const TOPICS: &str = "chaos/#";
/// Pause before a broker that can't be reached is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What the clients of a run share.
pub(super) struct Shared {
    pub(super) history: History,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) login: Login,
    /// Nothing new is published.
    pub(super) is_healed: AtomicBool,
    /// Everybody goes.
    pub(super) stop: AtomicBool,
}

impl Shared {
    fn is_healed(&self) -> bool {
        self.is_healed.load(Ordering::Relaxed)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Running clients; stopped when dropped.
pub(super) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                self.shared.history.violate("a client of the test panicked".to_owned());
            }
        }
    }
}

impl Clients {
    /// Starts the subscribers, waits until all are subscribed, then starts the others.
    ///
    /// # Errors
    /// A subscriber is not subscribed in time, or the system gives no thread.
    pub(super) fn start(shared: &Arc<Shared>, seed: u64) -> Result<Self> {
        let mut clients = Self { shared: Arc::clone(shared), threads: Vec::new() };
        let (subscribed, subscriptions) = std::sync::mpsc::sync_channel(16);
        for number in 0..SUBSCRIBERS + MEMBERS {
            let group = (number >= SUBSCRIBERS).then(|| GROUP.to_owned());
            let shared = Arc::clone(shared);
            let (random, subscribed) = (purpose(seed, 100 + number), subscribed.clone());
            clients.spawn(move || subscriber::run(&shared, random, number, group, &subscribed))?;
        }
        for _ in 0..SUBSCRIBERS + MEMBERS {
            subscriptions.recv_timeout(Duration::from_secs(30))?;
        }
        for number in 0..PUBLISHERS {
            let (shared, random) = (Arc::clone(shared), purpose(seed, 200 + number));
            clients.spawn(move || publisher::run(&shared, random, number))?;
        }
        for number in 0..WANDERERS {
            let (shared, random) = (Arc::clone(shared), purpose(seed, 300 + number));
            clients.spawn(move || wanderer::run(&shared, random, number))?;
        }
        Ok(clients)
    }

    fn spawn(&mut self, run: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = std::thread::Builder::new().name("client".to_owned()).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }
}

fn purpose(seed: u64, purpose: u32) -> Random {
    Random::new(seed, purpose.into())
}

/// Who a client is, and where it was.
struct Identity<'a> {
    shared: &'a Shared,
    random: Random,
    client: String,
    connections: u64,
    /// Where it was let in last.
    node: usize,
}

impl<'a> Identity<'a> {
    fn new(shared: &'a Shared, random: Random, client: String) -> Self {
        Self { shared, random, client, connections: 0, node: 0 }
    }

    /// Connects to any broker, until one lets it in; `None` when it is to go.
    fn connect(&mut self) -> Option<(Link, u64)> {
        let mut node = self.random.below(self.shared.addresses.len());
        while !self.shared.is_stopped() {
            if let Some(connected) = self.try_connect(node) {
                return Some(connected);
            }
            std::thread::sleep(RETRY_PAUSE);
            node = (node + 1) % self.shared.addresses.len();
        }
        None
    }

    fn try_connect(&mut self, node: usize) -> Option<(Link, u64)> {
        let address = self.shared.addresses[node];
        let link = Link::open(address, &self.client, &self.shared.login).ok()?;
        self.connections += 1;
        self.node = node;
        self.shared.history.record(Event::Connected {
            client: self.client.clone(),
            connection: self.connections,
            node,
            is_session_present: link.is_session_present,
        });
        Some((link, self.connections))
    }
}
