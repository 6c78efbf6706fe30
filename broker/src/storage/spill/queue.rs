//! Messages in memory, in the order in which they came.

use std::collections::VecDeque;

use broker_core::stored::{StoredMessage, WeakMessage};

/// What a message in memory takes beside its bytes, about.
const MESSAGE_COST: u32 = 128;

#[derive(Debug)]
struct Kept {
    message: WeakMessage,
    cost: u32,
}

impl Kept {
    fn of(message: &StoredMessage) -> Self {
        let cost = (message.bytes() as u32).saturating_add(MESSAGE_COST);
        Self { message: message.downgrade(), cost }
    }
}

/// The messages that may be in memory. Those that no session keeps any more stay in it until it is
/// swept.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Kept>,
    bytes: u64,
    is_closed: bool,
}

impl Queue {
    /// What the messages take, at most.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) const fn close(&mut self) {
        self.is_closed = true;
    }

    pub(super) fn push(&mut self, message: &StoredMessage) {
        let kept = Kept::of(message);
        self.bytes += u64::from(kept.cost);
        self.messages.push_back(kept);
    }

    /// Everything, so that it can be swept while others add to the queue.
    pub(super) fn take(&mut self) -> Self {
        let (messages, bytes) = (std::mem::take(&mut self.messages), self.bytes);
        self.bytes = 0;
        Self { messages, bytes, is_closed: false }
    }

    /// Forgets what no session keeps any more.
    pub(super) fn sweep(&mut self) {
        let bytes = &mut self.bytes;
        self.messages.retain(|kept| {
            let is_kept = kept.message.is_kept();
            if !is_kept {
                *bytes -= u64::from(kept.cost);
            }
            is_kept
        });
    }

    /// The opposite of [`Self::take`].
    pub(super) fn put_back(&mut self, mut earlier: Self) {
        earlier.messages.append(&mut self.messages);
        self.messages = earlier.messages;
        self.bytes += earlier.bytes;
        if self.messages.capacity() > 4 * self.messages.len() {
            self.messages.shrink_to(2 * self.messages.len());
        }
    }

    /// The first messages, of so many bytes together, while there are more than `target`.
    pub(super) fn next_batch(&mut self, target: u64, bytes_max: u64) -> Vec<StoredMessage> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while self.bytes > target && bytes < bytes_max {
            let Some(Kept { message, cost }) = self.messages.pop_front() else { break };
            self.bytes -= u64::from(cost);
            if let Some(message) = message.upgrade() {
                bytes += u64::from(cost);
                batch.push(message);
            }
        }
        batch
    }

    /// The opposite of [`Self::next_batch`].
    pub(super) fn unread(&mut self, batch: Vec<StoredMessage>) {
        for message in batch.into_iter().rev() {
            let kept = Kept::of(&message);
            self.bytes += u64::from(kept.cost);
            self.messages.push_front(kept);
        }
    }
}
