//! Files that messages are read from, and parts of them. Pure.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Buf;
use serde::de::DeserializeOwned;

/// Bytes that can be read at any place, from any thread.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Fills the buffer from `offset` on.
    ///
    /// # Errors
    /// The bytes can't be read, or there are not that many.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for bytes::Bytes {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A part of a file that messages lie in. It is there for as long as one of them is: whoever
/// removes the file does so when the last section of it is dropped.
#[derive(Debug)]
pub struct MessageSection {
    file: Arc<dyn ReadAt>,
    base: u64,
}

impl MessageSection {
    /// The section of a file that begins at `base`.
    #[must_use]
    pub fn new(file: Arc<dyn ReadAt>, base: u64) -> Arc<Self> {
        Arc::new(Self { file, base })
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u32) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.base + u64::from(offset))
    }
}

/// A part of a file, read from its beginning.
#[derive(Debug, Clone)]
pub struct FileRange {
    file: Arc<dyn ReadAt>,
    start: u64,
    bytes: u64,
}

impl FileRange {
    /// So many bytes from `start` on.
    #[must_use]
    pub const fn new(file: Arc<dyn ReadAt>, start: u64, bytes: u64) -> Self {
        Self { file, start, bytes }
    }

    /// How many there are.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// At most `count_max` bytes from `offset` on; fewer at the end.
    ///
    /// # Errors
    /// They can't be read.
    pub fn read(&self, offset: u64, count_max: usize) -> io::Result<Vec<u8>> {
        let left = self.bytes.saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(count_max);
        let mut buffer = vec![0; count];
        self.file.read_exact_at(&mut buffer, self.start + offset)?;
        Ok(buffer)
    }

    /// Reads from the beginning on.
    #[must_use]
    pub fn reader(&self) -> RangeReader<'_> {
        RangeReader { range: self, next: 0, buffer: Vec::new(), taken: 0 }
    }
}

/// Bytes read from the file at a time.
const READ_BYTES: usize = 256 << 10;

/// Offsets in a section are below this.
const SECTION_BYTES: u64 = 1 << 30;

/// Reads a range in order.
#[derive(Debug)]
pub struct RangeReader<'a> {
    range: &'a FileRange,
    /// What follows the buffer.
    next: u64,
    buffer: Vec<u8>,
    /// What of the buffer is read.
    taken: usize,
}

impl RangeReader<'_> {
    /// Where the next byte is, counted from the beginning of the range.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.next - (self.buffer.len() - self.taken) as u64
    }

    /// Bytes that are left.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.range.bytes - self.offset()
    }

    /// The next bytes, as [`Self::take`] gives them, which are still to be taken.
    pub fn peek(&mut self, count: usize) -> Option<&[u8]> {
        self.take(count)?;
        self.taken -= count;
        self.buffer.get(self.taken..self.taken + count)
    }

    /// The next bytes; `None` when there are not that many, or they can't be read.
    pub fn take(&mut self, count: usize) -> Option<&[u8]> {
        if self.left() < count as u64 {
            return None;
        }
        if self.buffer.len() - self.taken < count {
            let wanted = count.max(READ_BYTES);
            self.buffer.drain(..self.taken);
            self.taken = 0;
            let more = self.range.read(self.next, wanted - self.buffer.len()).ok()?;
            self.next += more.len() as u64;
            self.buffer.extend_from_slice(&more);
        }
        let start = self.taken;
        self.taken += count;
        self.buffer.get(start..self.taken)
    }

    /// The next value, encoded as postcard behind its length in four bytes; `None` for anything else.
    pub(crate) fn take_part<T: DeserializeOwned>(&mut self) -> Option<T> {
        let length = self.take(4)?.get_u32_le() as usize;
        postcard::from_bytes(self.take(length)?).ok()
    }
}

/// Cuts a range into sections as messages in it are met, in order.
#[derive(Debug)]
pub(crate) struct Sections<'a> {
    range: &'a FileRange,
    current: Option<(u64, Arc<MessageSection>)>,
}

impl<'a> Sections<'a> {
    pub(crate) const fn new(range: &'a FileRange) -> Self {
        Self { range, current: None }
    }

    /// The section of what stands at an offset of the range, and its offset in there.
    pub(crate) fn place(&mut self, offset: u64) -> (Arc<MessageSection>, u32) {
        if let Some((base, section)) = &self.current
            && offset >= *base
            && offset - base < SECTION_BYTES
        {
            return (Arc::clone(section), (offset - base) as u32);
        }
        let section = MessageSection::new(Arc::clone(&self.range.file), self.range.start + offset);
        self.current = Some((offset, Arc::clone(&section)));
        (section, 0)
    }
}
