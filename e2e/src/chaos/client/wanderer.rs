//! One client id with several connections at once, to any brokers: which of them live?

use std::time::{Duration, Instant};

use super::link::Link;
use super::{Identity, Shared};
use crate::chaos::history::Event;
use crate::chaos::random::Random;

/// Connections that are held at most.
const CONNECTIONS_MAX: usize = 4;
/// Between two looks at all connections.
const TURN: Duration = Duration::from_millis(200);
/// How long one connection is waited for at a look.
const GLANCE: Duration = Duration::from_millis(5);

/// A wanderer, until it is to go.
pub(super) fn run(shared: &Shared, random: Random, number: u32) {
    let mut identity = Identity::new(shared, random, format!("wanderer-{number}"));
    let mut links: Vec<(Link, u64)> = Vec::new();
    let mut next = Instant::now();
    while !shared.is_stopped() {
        // When all is healed the newest one stays, and all others must go.
        if Instant::now() >= next && !shared.is_healed() && links.len() < CONNECTIONS_MAX {
            let node = identity.random.below(shared.addresses.len());
            links.extend(identity.try_connect(node));
            next = Instant::now() + identity.random.millis(1_000..5_000);
        }
        links.retain_mut(|(link, connection)| {
            let is_alive = link.ping().and_then(|()| link.poll(GLANCE, |_, _| Ok(()))).is_ok();
            if let Some(at) = link.answered.take() {
                shared.history.record(Event::Alive {
                    client: identity.client.clone(),
                    connection: *connection,
                    pinged_at: shared.history.micros(at),
                });
            }
            is_alive
        });
        std::thread::sleep(TURN);
    }
}
