//! Messages for other workers and nodes: one growing batch per destination.

use super::{Destination, Engine};
use crate::codec::packet::Publish;
use crate::forward::{encode_record, push_record};
use crate::types::Millis;

/// Batches kept for reuse; further ones are freed.
const SPARE_BATCHES_MAX: usize = 64;
/// A batch larger than this is freed rather than kept.
const SPARE_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Batches that the driver has not taken yet. It takes them after every pass, so what one pass
/// reads bounds them.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By destination; grows to the highest that was used.
    batches: Vec<Vec<u8>>,
    /// Destinations with a batch, by their bits.
    pending: u64,
    spare: Vec<Vec<u8>>,
    record: Vec<u8>,
}

impl Forwards {
    /// Appends a message to the batches of all destinations in the set; gives how many.
    pub(super) fn push(
        &mut self,
        publish: &Publish<'_>,
        expires_at: Millis,
        destinations: u64,
    ) -> u32 {
        self.record.clear();
        if encode_record(publish, expires_at, &mut self.record).is_err() {
            return 0;
        }
        let mut left = destinations;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.batches.len() <= index {
                self.batches.resize_with(index + 1, Vec::new);
            }
            let batch = &mut self.batches[index];
            if batch.capacity() == 0 {
                *batch = self.spare.pop().unwrap_or_default();
            }
            push_record(&self.record, batch);
        }
        self.pending |= destinations;
        destinations.count_ones()
    }
}

impl Engine {
    /// Destinations with messages to forward, as a set of bits by their number.
    #[must_use]
    pub const fn pending_forwards(&self) -> u64 {
        self.forwards.pending
    }

    /// The batch for a destination; empty if there is nothing.
    #[must_use]
    pub fn take_forward(&mut self, destination: Destination) -> Vec<u8> {
        self.forwards.pending &= !(1 << destination.get());
        let batch = self.forwards.batches.get_mut(usize::from(destination.get()));
        batch.map(std::mem::take).unwrap_or_default()
    }

    /// Gives back the buffer of a batch for reuse.
    pub fn recycle_forward(&mut self, mut batch: Vec<u8>) {
        let worth_keeping = (1..=SPARE_BATCH_BYTES_MAX).contains(&batch.capacity());
        if worth_keeping && self.forwards.spare.len() < SPARE_BATCHES_MAX {
            batch.clear();
            self.forwards.spare.push(batch);
        }
    }
}
