//! What the first bytes of a payload say: when it was sent, by whom, and as the how-manieth. Pure.

/// The first bytes of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds from the start of the run to the sending.
    pub sent_nanos: u64,
    /// The number of messages that the publisher sent before.
    pub sequence: u64,
    /// The publisher's number within its group.
    pub publisher: u32,
}

impl Stamp {
    /// Bytes of a stamp, so the least size of a payload.
    pub const BYTES: usize = 20;

    /// Writes it over the first bytes of a payload that has at least [`Self::BYTES`].
    #[inline]
    pub fn write(self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.sent_nanos.to_be_bytes());
        payload[8..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..20].copy_from_slice(&self.publisher.to_be_bytes());
    }

    /// Reads it; `None` when the payload is shorter, so not ours.
    #[inline]
    #[must_use]
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (sent, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (publisher, _) = rest.split_first_chunk()?;
        Some(Self {
            sent_nanos: u64::from_be_bytes(*sent),
            sequence: u64::from_be_bytes(*sequence),
            publisher: u32::from_be_bytes(*publisher),
        })
    }
}
