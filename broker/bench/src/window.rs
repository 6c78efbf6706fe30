//! The messages of one publisher that are on their way: a message is done when all its receivers have it, so nothing piles up in
//! the broker and nothing is dropped. Pure.

use std::collections::VecDeque;
use std::task::Waker;

/// Messages that may wait for their time to be sent; a broker that is so far behind does not keep up.
pub const DUE_MAX: usize = 65_536;

/// A publisher's window.
#[derive(Debug)]
pub struct Window {
    size: u64,
    receivers: u32,
    sent: u64,
    done: u64,
    /// Receivers that still wait, by sequence number modulo `size`.
    remaining: Vec<u32>,
    lost: u64,
    /// With a rate: when the messages were due that may be sent now.
    due: Option<VecDeque<u64>>,
    skipped: u64,
    waker: Option<Waker>,
}

impl Window {
    /// A window of `size` messages to `receivers` each, both at least 1. With `is_paced` only what was [granted](Self::grant)
    /// is sent.
    #[must_use]
    pub fn new(size: u32, receivers: u32, is_paced: bool) -> Self {
        let (size, receivers) = (size.max(1), receivers.max(1));
        Self {
            size: size.into(),
            receivers,
            sent: 0,
            done: 0,
            remaining: vec![0; size as usize],
            lost: 0,
            due: is_paced.then(VecDeque::new),
            skipped: 0,
            waker: None,
        }
    }

    /// How many messages may be sent now. Without a pace it is none until half the window is free, so that a publisher
    /// writes once for many messages however small the broker's own writes are.
    #[must_use]
    pub fn room(&self) -> u64 {
        let room = self.size - self.in_flight();
        match &self.due {
            Some(due) => room.min(due.len() as u64),
            None if 2 * room < self.size => 0,
            None => room,
        }
    }

    /// Messages that were sent and not yet received by all.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.sent - self.done
    }

    /// Messages that all receivers have, or that were given up.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Deliveries that did not come.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Messages that were due and never sent, because more than [`DUE_MAX`] waited.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes the next message; there must be [room](Self::room). Returns its sequence number and when it was sent: `now`, or the
    /// time when it was due, so that waiting for a slow broker counts as latency.
    #[inline]
    pub fn send(&mut self, now: u64) -> (u64, u64) {
        debug_assert!(self.in_flight() < self.size, "the caller asks for room first");
        let sequence = self.sent;
        self.sent += 1;
        let at = self.slot(sequence);
        self.remaining[at] = self.receivers;
        let due = self.due.as_mut().and_then(VecDeque::pop_front);
        (sequence, due.unwrap_or(now))
    }

    /// One receiver has message `sequence`.
    #[inline]
    pub fn received(&mut self, sequence: u64) {
        self.count_down(sequence, false);
    }

    /// One receiver will never have the messages from `from` to before `to`: it got number `to`.
    #[inline]
    pub fn missed(&mut self, from: u64, to: u64) {
        for sequence in from.max(self.done)..to.min(self.sent) {
            self.count_down(sequence, true);
        }
    }

    /// Counts everything on its way as lost, so that a publisher goes on after a loss that no later message shows.
    pub fn give_up(&mut self) {
        for sequence in self.done..self.sent {
            let at = self.slot(sequence);
            self.lost += u64::from(std::mem::take(&mut self.remaining[at]));
        }
        self.done = self.sent;
        self.wake();
    }

    /// Allows one more message, which is due `now`.
    pub fn grant(&mut self, now: u64) {
        let Some(due) = &mut self.due else { return };
        if due.len() < DUE_MAX {
            due.push_back(now);
            self.wake();
        } else {
            self.skipped += 1;
        }
    }

    /// Wakes the publisher when there is room again.
    pub fn park(&mut self, waker: &Waker) {
        match &self.waker {
            Some(known) if known.will_wake(waker) => {}
            _ => self.waker = Some(waker.clone()),
        }
    }

    #[inline]
    fn count_down(&mut self, sequence: u64, is_lost: bool) {
        if sequence < self.done || sequence >= self.sent {
            return;
        }
        let at = self.slot(sequence);
        if self.remaining[at] == 0 {
            return;
        }
        self.remaining[at] -= 1;
        self.lost += u64::from(is_lost);
        let before = self.done;
        while self.done < self.sent && self.remaining[self.slot(self.done)] == 0 {
            self.done += 1;
        }
        if self.done > before && self.room() > 0 {
            self.wake();
        }
    }

    #[inline]
    fn slot(&self, sequence: u64) -> usize {
        (sequence % self.size) as usize
    }

    #[inline]
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
