//! What a worker has to say to one other thread: sent at once where there is room, kept in order
//! where there is none. Nothing is dropped; the worker reads no socket while anything waits here.

use std::cell::RefCell;
use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::signal::Signal;

/// A queue in front of a bounded channel. Its length is bounded by what one pass of the worker can
/// produce, since the next pass reads nothing.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    channel: mpsc::Sender<T>,
    waiting: RefCell<VecDeque<T>>,
    has_work: Signal,
}

impl<T> Outbox<T> {
    pub(super) fn new(channel: mpsc::Sender<T>) -> Self {
        Self { channel, waiting: RefCell::default(), has_work: Signal::default() }
    }

    /// Sends, or queues behind what waits.
    pub(super) fn push(&self, message: T) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            waiting.push_back(message);
            return;
        }
        match self.channel.try_send(message) {
            // A receiver that is gone has stopped with the process: nobody misses the message.
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(message)) => {
                waiting.push_back(message);
                self.has_work.set();
            }
        }
    }

    /// How many messages wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.borrow().len()
    }

    /// Sends what waits as there is room; calls `emptied` each time nothing is left.
    pub(super) async fn run(&self, emptied: impl Fn()) {
        loop {
            self.has_work.wait().await;
            while self.waiting() > 0 {
                let Ok(room) = self.channel.reserve().await else {
                    self.waiting.borrow_mut().clear();
                    break;
                };
                let next = self.waiting.borrow_mut().pop_front();
                if let Some(message) = next {
                    room.send(message);
                }
            }
            emptied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_sent_later_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(1);
            let outbox = Outbox::new(sender);
            (0..5).for_each(|n| outbox.push(n));
            assert_eq!(outbox.waiting(), 4);
            let receive = async {
                let mut seen = Vec::new();
                while seen.len() < 5 {
                    seen.extend(receiver.recv().await);
                }
                seen
            };
            let emptied = std::cell::Cell::new(0);
            let seen = tokio::select! {
                () = outbox.run(|| emptied.set(emptied.get() + 1)) => unreachable!(),
                seen = receive => seen,
            };
            assert_eq!((seen, outbox.waiting()), (vec![0, 1, 2, 3, 4], 0));
        });
    }

    #[test]
    fn a_stopped_receiver_leaves_nothing_waiting() {
        let (sender, receiver) = mpsc::channel(1);
        let outbox = Outbox::new(sender);
        drop(receiver);
        outbox.push(1);
        assert_eq!(outbox.waiting(), 0);
    }
}
