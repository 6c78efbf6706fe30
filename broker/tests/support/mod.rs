//! What the tests of the broker's process share: certificates, a node in this process, a broker
//! process, and clients.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

pub(crate) mod alone;
pub(crate) mod broker;
pub(crate) mod client;
pub(crate) mod durable;
pub(crate) mod hub;
pub(crate) mod load;
pub(crate) mod metrics;
pub(crate) mod mosquitto;
pub(crate) mod node;
pub(crate) mod optional;
pub(crate) mod pki;
pub(crate) mod process;

use std::time::{Duration, Instant};

/// Longest wait for anything that has to happen. It ends a test that hangs; on a machine that others
/// use, seven brokers on two cores lose their leader now and then, and find another.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
///
/// # Panics
/// There is none before the deadline.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not before the deadline: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
