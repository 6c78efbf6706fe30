//! Messages that wait for the client, or for room in its window. Pure.

use std::collections::VecDeque;

use super::delivery::Delivery;
use super::on_demand::Unwritten;
use super::state::DeliveryState;

/// A session's waiting messages, oldest first. Overflow: the newest is refused.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
}

impl Unwritten for Queue {
    const UNWRITTEN: &'static Self = &Self { deliveries: VecDeque::new(), bytes: 0 };
}

/// A queue that was larger than this gives its memory back when it is empty.
const IDLE_CAPACITY_MAX: usize = 32;

/// What a queue may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueLimits {
    pub(crate) messages_max: usize,
    pub(crate) bytes_max: usize,
}

impl Queue {
    /// The queue of a session that moved here; limits hold for what comes later.
    pub(crate) fn from_state(state: Vec<DeliveryState>) -> Self {
        let deliveries: VecDeque<_> = state.into_iter().map(Delivery::from_state).collect();
        let bytes = deliveries.iter().map(|delivery| delivery.message.bytes()).sum();
        Self { deliveries, bytes }
    }

    pub(crate) fn into_deliveries(self) -> impl Iterator<Item = Delivery> {
        self.deliveries.into_iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.deliveries.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message, unless the queue is full: then says so with `false`.
    #[must_use]
    pub(crate) fn push(&mut self, delivery: Delivery, limits: QueueLimits) -> bool {
        let bytes = self.bytes + delivery.message.bytes();
        if self.deliveries.len() >= limits.messages_max || bytes > limits.bytes_max {
            return false;
        }
        self.bytes = bytes;
        self.deliveries.push_back(delivery);
        true
    }

    /// Whether the next message would be refused, if it is not a large one.
    pub(crate) fn is_full(&self, limits: QueueLimits) -> bool {
        self.deliveries.len() >= limits.messages_max || self.bytes >= limits.bytes_max
    }

    /// Takes out the messages that are meant, in order.
    pub(crate) fn take(&mut self, is_meant: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let all = std::mem::take(&mut self.deliveries).into_iter();
        let (taken, left): (VecDeque<_>, VecDeque<_>) = all.partition(is_meant);
        self.deliveries = left;
        self.bytes -= taken.iter().map(|delivery| delivery.message.bytes()).sum::<usize>();
        taken.into()
    }

    /// The message that has waited longest.
    pub(crate) fn front(&self) -> Option<&Delivery> {
        self.deliveries.front()
    }

    /// Takes the message that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        self.bytes -= delivery.message.bytes();
        if self.deliveries.is_empty() && self.deliveries.capacity() > IDLE_CAPACITY_MAX {
            self.deliveries = VecDeque::new();
        }
        Some(delivery)
    }
}
