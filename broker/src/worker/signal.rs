//! Wakes one task of the same thread. Layer: bottom of the worker.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

/// A flag that one task waits for; setting it again before it was seen does nothing more.
#[derive(Debug, Default)]
pub(super) struct Signal {
    is_set: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    /// Sets the flag. The waiting task runs after those that are ready now.
    pub(super) fn set(&self) {
        if !self.is_set.replace(true)
            && let Some(waiter) = self.waiter.borrow().as_ref()
        {
            waiter.wake_by_ref();
        }
    }

    /// Waits until the flag is set, and clears it. Cancel-safe. One waiter at a time.
    pub(super) async fn wait(&self) {
        poll_fn(|context| self.poll(context)).await;
    }

    /// As [`Signal::wait`], for a task that waits for something else too.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_set.take() {
            return Poll::Ready(());
        }
        let mut waiter = self.waiter.borrow_mut();
        match waiter.as_mut() {
            Some(known) => known.clone_from(context.waker()),
            None => *waiter = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}
