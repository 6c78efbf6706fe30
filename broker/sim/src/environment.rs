//! What simulated nodes stand on in place of Tokio, TLS links, files and the system's clock.

use std::io;
use std::time::Duration;

use broker::cluster::{Environment, WallClock};
use broker_core::stored::InMemory;
use broker_core::types::Millis;
use openraft::{AsyncRuntime, Instant};
use openraft_rt_sim::{SimInstant, SimRuntime};

use crate::disk::{SimLog, SimSnapshots};
use crate::network::SimLinks;
use crate::random::Random;

/// Unix milliseconds at which every simulation begins.
const EPOCH_MILLIS: u64 = 1_800_000_000_000;

/// How long work apart from the tasks takes: a snapshot that is encoded, written or read.
const WORK: Duration = Duration::from_millis(7);

/// The simulated environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Simulated;

impl Environment for Simulated {
    type Runtime = SimRuntime;
    type Links = SimLinks;
    type Log = SimLog;
    type Snapshots = SimSnapshots;
    type Messages = InMemory;
    type Clock = SimClock;

    /// Virtual time is as good as any: nobody here tries to foresee it, and a seed is to repeat it.
    fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
        let mut random = Random::new(elapsed().as_nanos() as u64, "environment");
        bytes.fill_with(|| random.number() as u8);
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        sleep(WORK).await;
        work()
    }
}

/// A node's clock: off by as much as it was when the node was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimClock {
    /// Milliseconds that it is ahead of the slowest clock there may be.
    pub(crate) ahead: u64,
}

impl WallClock for SimClock {
    fn now(&self) -> Millis {
        Millis(EPOCH_MILLIS + self.ahead + elapsed().as_millis() as u64)
    }
}

/// Virtual time since the simulation began.
pub(crate) fn elapsed() -> Duration {
    SimInstant::try_now().map_or(Duration::ZERO, SimInstant::elapsed_since_start)
}

pub(crate) fn now() -> SimInstant {
    SimInstant::now()
}

pub(crate) async fn sleep(duration: Duration) {
    SimRuntime::sleep(duration).await;
}

/// Runs a task for itself.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    drop(SimRuntime::spawn(task));
}

pub(crate) async fn sleep_until(at: SimInstant) {
    SimRuntime::sleep_until(at).await;
}
