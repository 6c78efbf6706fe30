//! Messages for other workers and nodes: one growing batch per destination, and another one for
//! messages of which one member of a group gets each.

use super::{Destination, Engine};
use crate::codec::packet::Publish;
use crate::forward::{Shared, encode_record, push_record};
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
    /// As `batches`, for groups.
    shared: Vec<Vec<u8>>,
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
        if encode_record(publish, expires_at, None, &mut self.record).is_err() {
            return 0;
        }
        let mut left = destinations;
        while left != 0 {
            let index = left.trailing_zeros() as usize;
            left &= left - 1;
            let batch = batch_of(&mut self.batches, index, &mut self.spare);
            push_record(&self.record, batch);
        }
        self.pending |= destinations;
        destinations.count_ones()
    }

    /// Appends a message for one member of a group at a destination; says whether it could.
    pub(super) fn push_shared(
        &mut self,
        publish: &Publish<'_>,
        expires_at: Millis,
        shared: Shared<'_>,
        destination: Destination,
    ) -> bool {
        self.record.clear();
        if encode_record(publish, expires_at, Some(shared), &mut self.record).is_err() {
            return false;
        }
        let index = usize::from(destination.get());
        push_record(&self.record, batch_of(&mut self.shared, index, &mut self.spare));
        self.pending |= 1 << destination.get();
        true
    }
}

/// The batch with this number, with a buffer if there is one to spare.
fn batch_of<'a>(
    batches: &'a mut Vec<Vec<u8>>,
    index: usize,
    spare: &mut Vec<Vec<u8>>,
) -> &'a mut Vec<u8> {
    if batches.len() <= index {
        batches.resize_with(index + 1, Vec::new);
    }
    let batch = &mut batches[index];
    if batch.capacity() == 0 {
        *batch = spare.pop().unwrap_or_default();
    }
    batch
}

impl Engine {
    /// Destinations with messages to forward, as a set of bits by their number.
    #[must_use]
    pub const fn pending_forwards(&self) -> u64 {
        self.forwards.pending
    }

    /// The next batch for a destination, to be asked for until it is empty.
    #[must_use]
    pub fn take_forward(&mut self, destination: Destination) -> Vec<u8> {
        let Forwards { batches, shared, pending, .. } = &mut self.forwards;
        let index = usize::from(destination.get());
        for batches in [batches, shared] {
            if let Some(batch) = batches.get_mut(index).filter(|batch| !batch.is_empty()) {
                return std::mem::take(batch);
            }
        }
        *pending &= !(1 << destination.get());
        Vec::new()
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
