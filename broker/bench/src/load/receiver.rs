//! One subscriber: counts, acknowledges, and frees the publishers' windows. Pure.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;

use crate::connection::unexpected;
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::window::Window;
use crate::wire::{
    Delivery, Frame, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Version, acknowledge,
};

/// The windows of a group's publishers, in the order of their numbers.
pub type Windows = Rc<[RefCell<Window>]>;

/// A subscriber's state.
#[derive(Debug)]
pub struct Receiver {
    version: Version,
    windows: Windows,
    /// The sequence number that each publisher's next message has.
    expected: Vec<u64>,
}

impl Receiver {
    /// A subscriber of a group.
    #[must_use]
    pub fn new(version: Version, windows: Windows) -> Self {
        Self { version, expected: vec![0; windows.len()], windows }
    }

    /// Takes what the broker sent, and returns how many messages of this run it was: 0 or 1. The latency is recorded when
    /// `now`, in nanoseconds from the run's start, is given.
    ///
    /// # Errors
    /// It is malformed or not due.
    #[inline]
    pub fn handle(
        &mut self,
        frame: Frame<'_>,
        now: Option<u64>,
        tally: &mut Tally,
        out: &mut Vec<u8>,
    ) -> Result<u64> {
        if frame.is_publish() {
            let delivery = frame.delivery(self.version)?;
            match delivery.qos {
                0 => {}
                1 => acknowledge(PUBACK, delivery.packet_id, out),
                _ => acknowledge(PUBREC, delivery.packet_id, out),
            }
            return Ok(self.count(delivery, now, tally));
        }
        match frame.first {
            PUBREL => acknowledge(PUBCOMP, frame.acknowledgement()?.0, out),
            PINGRESP => {}
            _ => return unexpected(frame),
        }
        Ok(0)
    }

    #[inline]
    fn count(&mut self, delivery: Delivery<'_>, now: Option<u64>, tally: &mut Tally) -> u64 {
        let stamp = Stamp::read(delivery.payload);
        let ours = stamp.and_then(|stamp| {
            let publisher = stamp.publisher as usize;
            Some((stamp, self.expected.get_mut(publisher)?, self.windows.get(publisher)?))
        });
        let Some((stamp, expected, window)) = ours else {
            tally.foreign += 1;
            return 0;
        };
        if stamp.sequence < *expected {
            tally.duplicates += 1;
            return 0;
        }
        let mut window = window.borrow_mut();
        // Messages of one publisher keep their order, so what a later one overtook is lost.
        window.missed(*expected, stamp.sequence);
        window.received(stamp.sequence);
        *expected = stamp.sequence + 1;
        if let Some(now) = now {
            tally.record(now.saturating_sub(stamp.sent_nanos));
        }
        1
    }
}
