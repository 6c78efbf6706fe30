//! Bytes on their way to a client, in buffers that only busy connections own. Pure.

/// Bytes to write, of which the first may be written already.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl Output {
    /// What is not yet written.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// How much is not yet written.
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Notes that the first pending bytes are written; gives the buffer back once all are.
    pub(crate) fn consume(&mut self, bytes: usize, pool: &mut BufferPool) {
        self.written = self.bytes.len().min(self.written + bytes);
        if self.written == self.bytes.len() {
            self.release(pool);
        } else if self.written >= COMPACT_BYTES {
            // The buffer begins with a packet, always.
            let whole = packets(&self.bytes).take_while(|end| *end <= self.written).last();
            let whole = whole.unwrap_or(0);
            self.bytes.drain(..whole);
            self.written -= whole;
        }
    }

    /// Packets that are not yet written, or not to their end.
    pub(crate) fn packets(&self) -> u64 {
        packets(&self.bytes).filter(|end| *end > self.written).count() as u64
    }

    /// The end of the buffer, to append to.
    pub(crate) fn tail(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take();
        }
        &mut self.bytes
    }

    /// Drops what is pending and gives the buffer back.
    pub(crate) fn release(&mut self, pool: &mut BufferPool) {
        pool.give(std::mem::take(&mut self.bytes));
        self.written = 0;
    }
}

/// The ends of the packets in a buffer. Spec: MQTT 5.0 section 2.1.
fn packets(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = bytes.get(at + 1..)?;
        let digits = length.iter().take(4).position(|digit| digit & 0x80 == 0)? + 1;
        let fold = |sum: usize, digit: &u8| sum << 7 | usize::from(digit & 0x7F);
        at += 1 + digits + length[..digits].iter().rev().fold(0, fold);
        Some(at)
    })
}

/// Written bytes at the front of a buffer are cut off from this many on.
const COMPACT_BYTES: usize = 64 * 1024;
/// Buffers kept for reuse.
const POOL_BUFFERS_MAX: usize = 64;
/// A buffer larger than this is freed rather than kept.
const POOL_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Empty buffers that passed from connection to connection. Overflow: the buffer is freed.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        let worth_keeping = (1..=POOL_BUFFER_BYTES_MAX).contains(&buffer.capacity());
        if worth_keeping && self.free.len() < POOL_BUFFERS_MAX {
            buffer.clear();
            self.free.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_buffer_passes_to_the_next_connection() {
        let mut pool = BufferPool::default();
        let (mut first, mut second) = (Output::default(), Output::default());
        first.tail(&mut pool).extend_from_slice(b"abcdef");
        first.consume(2, &mut pool);
        assert_eq!(first.pending(), b"cdef");
        let place = first.pending().as_ptr() as usize - 2;
        first.consume(4, &mut pool);
        assert_eq!((first.len(), first.bytes.capacity()), (0, 0));
        second.tail(&mut pool).extend_from_slice(b"xyz");
        assert_eq!((second.pending(), second.pending().as_ptr() as usize), (&b"xyz"[..], place));
    }

    #[test]
    fn packets_are_counted_until_their_last_byte_is_written() {
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        assert_eq!(output.packets(), 0);
        let long = [&[0x30, 0x80, 0x01][..], &[0; 128]].concat();
        output.tail(&mut pool).extend([&[0x40, 2, 0, 1][..], &long, &[0xD0, 0]].concat());
        for (written, packets) in [(3, 3), (1, 2), (130, 2), (1, 1), (1, 1), (1, 0)] {
            output.consume(written, &mut pool);
            assert_eq!(output.packets(), packets, "after {written} more");
        }
        for _ in 0..COMPACT_BYTES {
            output.tail(&mut pool).extend_from_slice(&[0x40, 2, 0, 1]);
        }
        output.consume(COMPACT_BYTES + 2, &mut pool);
        assert_eq!(output.written, 2, "what is written is cut off by whole packets");
        assert_eq!(output.packets(), COMPACT_BYTES as u64 * 3 / 4);
    }

    #[test]
    fn a_large_buffer_is_freed_and_an_absurd_count_is_harmless() {
        let mut pool = BufferPool::default();
        let mut output = Output::default();
        output.tail(&mut pool).resize(POOL_BUFFER_BYTES_MAX + 1, 7);
        output.consume(COMPACT_BYTES, &mut pool);
        assert_eq!((output.len(), output.written), (1, 7), "packets of nine bytes stay whole");
        output.consume(usize::MAX / 2, &mut pool);
        assert_eq!((output.len(), pool.free.len()), (0, 0));
    }
}
