//! One publisher: fills its window, and answers the acknowledgements. Pure.

use anyhow::{Result, bail, ensure};

use crate::connection::unexpected;
use crate::stamp::Stamp;
use crate::window::Window;
use crate::wire::{
    FAILURE, Frame, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, PublishTemplate, acknowledge,
};

/// A publisher's state.
#[derive(Debug)]
pub struct Sender {
    template: PublishTemplate,
    qos: u8,
    publisher: u32,
    packet_id: u16,
    unacknowledged: u64,
    unacknowledged_max: u64,
}

impl Sender {
    /// Publisher number `publisher` of its group; it keeps to the broker's Receive Maximum.
    #[must_use]
    pub fn new(template: PublishTemplate, qos: u8, publisher: u32, receive_maximum: u16) -> Self {
        let unacknowledged_max = if qos == 0 { u64::MAX } else { receive_maximum.into() };
        Self { template, qos, publisher, packet_id: 0, unacknowledged: 0, unacknowledged_max }
    }

    /// Messages whose acknowledgement is still due.
    #[must_use]
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged
    }

    /// Appends as many messages as window and broker allow, and returns how many; `now` in nanoseconds from the run's start.
    pub fn fill(&mut self, window: &mut Window, now: u64, out: &mut Vec<u8>) -> u64 {
        let count = window.room().min(self.unacknowledged_max - self.unacknowledged);
        for _ in 0..count {
            let (sequence, sent_nanos) = window.send(now);
            if self.qos > 0 {
                self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
                self.unacknowledged += 1;
            }
            let stamp = Stamp { sent_nanos, sequence, publisher: self.publisher };
            self.template.append(self.packet_id, stamp, out);
        }
        count
    }

    /// Takes what the broker sent.
    ///
    /// # Errors
    /// It refused a message, or sent what is not due.
    pub fn handle(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<()> {
        match (frame.first, self.qos) {
            (PUBACK, 1) | (PUBCOMP, 2) => {
                accepted(frame)?;
                ensure!(self.unacknowledged > 0, "an acknowledgement too many");
                self.unacknowledged -= 1;
            }
            (PUBREC, 2) => acknowledge(PUBREL, accepted(frame)?, out),
            (PINGRESP, _) => {}
            _ => return unexpected(frame),
        }
        Ok(())
    }
}

fn accepted(frame: Frame<'_>) -> Result<u16> {
    let (packet_id, code) = frame.acknowledgement()?;
    if code >= FAILURE {
        bail!("the broker refused a message with reason {code:#04x}");
    }
    Ok(packet_id)
}
