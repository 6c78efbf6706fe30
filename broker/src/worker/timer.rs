//! One timer per worker: the engine knows what is due when.

use std::cell::Cell;
use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use broker_core::types::Millis;
use tokio::time::{Instant, sleep_until};

use super::signal::Signal;
use super::state::Worker;

/// When the engine wants to be called next.
#[derive(Debug, Default)]
pub(super) struct Timer {
    armed: Cell<Option<Millis>>,
    changed: Signal,
}

impl Timer {
    /// Has the engine called at `at`, or earlier where an earlier time is armed: the engine takes
    /// an early call, so a later time need not be set anew on each pass.
    pub(super) fn arm(&self, at: Millis) {
        if self.armed.get().is_none_or(|armed| at < armed) {
            self.armed.set(Some(at));
            self.changed.set();
        }
    }
}

/// Calls the engine when it is due, for as long as it is polled.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut sleep = pin!(sleep_until(Instant::now()));
    let mut is_asleep = false;
    poll_fn(|context| -> Poll<()> {
        loop {
            if worker.timer.changed.poll(context).is_ready()
                && let Some(at) = worker.timer.armed.get()
            {
                sleep.as_mut().reset(worker.shared.clock.instant_of(at).into());
                is_asleep = true;
                continue;
            }
            if !is_asleep || sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            is_asleep = false;
            worker.timer.armed.set(None);
            worker.engine.borrow_mut().handle_timeout(worker.now());
            worker.flush.set();
        }
    })
    .await
}
