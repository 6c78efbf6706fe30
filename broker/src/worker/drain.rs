//! Moves clients away at a pace, so that they do not arrive elsewhere all at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::state::Worker;

/// Between two portions of a drain.
const PORTION_INTERVAL: Duration = Duration::from_millis(50);

/// The pace that is asked for.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// 0: no drain.
    clients_per_second: Cell<u32>,
    is_running: Cell<bool>,
}

/// Starts a drain, changes its pace, or ends it with 0. Whoever comes in while it goes on is moved
/// away too.
pub(super) fn set_pace(worker: &Rc<Worker>, clients_per_second: u32) {
    worker.pace.clients_per_second.set(clients_per_second);
    if clients_per_second == 0 || worker.pace.is_running.replace(true) {
        return;
    }
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        run(&worker).await;
        worker.pace.is_running.set(false);
    });
}

async fn run(worker: &Worker) {
    let mut portions = Portions::default();
    let mut interval = interval_at(Instant::now(), PORTION_INTERVAL);
    // A thread that was late does not make up for it in one go.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let pace = worker.pace.clients_per_second.get();
        if pace == 0 {
            return;
        }
        let portion = portions.next(pace);
        if portion > 0 {
            worker.engine.borrow_mut().drain_some(worker.now(), portion);
            worker.flush.set();
        }
    }
}

/// Cuts a pace into whole clients. Pure.
#[derive(Debug, Default)]
struct Portions {
    /// What is left over, in clients times milliseconds per second.
    rest: u64,
}

impl Portions {
    fn next(&mut self, clients_per_second: u32) -> usize {
        let interval = PORTION_INTERVAL.as_millis() as u64;
        let due = self.rest + u64::from(clients_per_second) * interval;
        self.rest = due % 1_000;
        usize::try_from(due / 1_000).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_of_a_second_add_up_to_the_pace() {
        for pace in [1, 7, 20, 200, 1_001, u32::MAX] {
            let mut portions = Portions::default();
            let total: usize = (0..20).map(|_| portions.next(pace)).sum();
            assert_eq!(total, pace as usize);
        }
    }
}
