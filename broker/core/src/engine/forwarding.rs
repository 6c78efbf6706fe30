//! Messages for other workers and nodes: growing batches per destination, and others for messages
//! of which one member of a group gets each.

use std::collections::VecDeque;

use super::{Destination, Engine};
use crate::codec::packet::Publish;
use crate::forward::{Shared, encode_record, push_record};
use crate::types::Millis;

/// Bytes of a batch from which the next message begins another one: half of what one frame between
/// nodes carries. A single message may be larger.
pub const FORWARD_BATCH_BYTES_MAX: usize = 4 << 20;

/// Batches kept for reuse; further ones are freed.
const SPARE_BATCHES_MAX: usize = 64;
/// A batch larger than this is freed rather than kept.
const SPARE_BATCH_BYTES_MAX: usize = 256 * 1024;

/// Batches that the driver has not taken yet. It takes them after every pass, so what one pass
/// reads bounds them.
#[derive(Debug, Default)]
pub(super) struct Forwards {
    /// By destination; grows to the highest that was used.
    batches: Vec<Batches>,
    /// As `batches`, for groups.
    shared: Vec<Batches>,
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
            batches_of(&mut self.batches, index).push(&self.record, &mut self.spare);
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
        batches_of(&mut self.shared, index).push(&self.record, &mut self.spare);
        self.pending |= 1 << destination.get();
        true
    }
}

/// What is to go to one destination, in order.
#[derive(Debug, Default)]
struct Batches {
    full: VecDeque<Vec<u8>>,
    last: Vec<u8>,
}

impl Batches {
    fn push(&mut self, record: &[u8], spare: &mut Vec<Vec<u8>>) {
        if !self.last.is_empty() && self.last.len() + record.len() > FORWARD_BATCH_BYTES_MAX {
            self.full.push_back(std::mem::take(&mut self.last));
        }
        if self.last.capacity() == 0 {
            self.last = spare.pop().unwrap_or_default();
        }
        push_record(record, &mut self.last);
    }

    /// The first batch; empty when there is none.
    fn take(&mut self) -> Vec<u8> {
        self.full.pop_front().unwrap_or_else(|| std::mem::take(&mut self.last))
    }
}

/// The batches of the destination with this number.
fn batches_of(batches: &mut Vec<Batches>, index: usize) -> &mut Batches {
    if batches.len() <= index {
        batches.resize_with(index + 1, Batches::default);
    }
    &mut batches[index]
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
            let batch = batches.get_mut(index).map(Batches::take).unwrap_or_default();
            if !batch.is_empty() {
                return batch;
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
