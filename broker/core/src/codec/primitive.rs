//! The data types of MQTT: integers, text, binary data, length-prefixed blocks. Pure.
//!
//! Spec: MQTT 5.0 section 1.5.

use std::fmt;

use super::{DecodeError, EncodeError};

/// Highest value of a Variable Byte Integer.
pub(super) const VARIABLE_BYTE_INTEGER_MAX: usize = 268_435_455;

/// Bytes that must not be printed: passwords and authentication data. `Debug` shows the length.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Sensitive<'a>(pub &'a [u8]);

impl fmt::Debug for Sensitive<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes redacted>", self.0.len())
    }
}

/// A cursor over the bytes of one packet, or of one property block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    buf: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(buf: &'a [u8]) -> Self {
        Self { buf }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    pub(super) const fn remaining(&self) -> usize {
        self.buf.len()
    }

    /// Everything that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.buf
    }

    pub(super) fn take(
        &mut self,
        len: usize,
        field: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        let (head, tail) =
            self.buf.split_at_checked(len).ok_or(DecodeError::Truncated { field })?;
        self.buf = tail;
        Ok(head)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let (&first, tail) = self.buf.split_first().ok_or(DecodeError::Truncated { field })?;
        self.buf = tail;
        Ok(first)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let (bytes, tail) = self.buf.split_first_chunk().ok_or(DecodeError::Truncated { field })?;
        self.buf = tail;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let (bytes, tail) = self.buf.split_first_chunk().ok_or(DecodeError::Truncated { field })?;
        self.buf = tail;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A Variable Byte Integer in its shortest form. Spec: MQTT 5.0 section 1.5.5.
    pub(super) fn variable_byte_integer(
        &mut self,
        field: &'static str,
    ) -> Result<u32, DecodeError> {
        let mut value = 0;
        for index in 0..4 {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                return if byte == 0 && index > 0 {
                    Err(DecodeError::VariableByteInteger { field })
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::VariableByteInteger { field })
    }

    /// Binary Data. Spec: MQTT 5.0 section 1.5.6.
    pub(super) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = self.u16(field)?;
        self.take(usize::from(len), field)
    }

    /// A UTF-8 Encoded String without U+0000. Spec: MQTT 5.0 section 1.5.4.
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let text = self.text_with_null(field)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NullCharacter { field });
        }
        Ok(text)
    }

    /// A UTF-8 Encoded String whose further checks, U+0000 included, are the caller's.
    pub(super) fn text_with_null(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { field })
    }

    /// A reader over the next block, whose length is a Variable Byte Integer.
    pub(super) fn block(&mut self, field: &'static str) -> Result<Self, DecodeError> {
        let len = self.variable_byte_integer(field)?;
        Ok(Self::new(self.take(len as usize, field)?))
    }
}

/// Appends one packet, or a part of one, to a buffer; the first error sticks.
///
/// Lengths are put in front of what they count after it is written: bytes are kept free for them,
/// and a length that turns out longer or shorter moves what it counts.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    error: Option<EncodeError>,
}

/// Where a length-prefixed block begins: the index of its length and the bytes kept free for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockStart {
    at: usize,
    length_bytes: usize,
}

impl<'o> Writer<'o> {
    pub(super) const fn new(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start, error: None }
    }

    /// Length of the buffer, what was there before included.
    pub(super) const fn position(&self) -> usize {
        self.out.len()
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(super) fn u16(&mut self, value: u16) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(super) fn variable_byte_integer(&mut self, value: usize) {
        let (bytes, len) = variable_byte_integer(value);
        self.out.extend_from_slice(&bytes[..len]);
    }

    pub(super) fn binary(&mut self, field: &'static str, bytes: &[u8]) {
        match u16::try_from(bytes.len()) {
            Ok(len) => {
                self.u16(len);
                self.raw(bytes);
            }
            Err(_) => self.fail(EncodeError::FieldTooLong { field, bytes: bytes.len() }),
        }
    }

    pub(super) fn text(&mut self, field: &'static str, text: &str) {
        self.binary(field, text.as_bytes());
    }

    pub(super) const fn fail(&mut self, error: EncodeError) {
        if self.error.is_none() {
            self.error = Some(error);
        }
    }

    /// Opens a block of probably less than 128 bytes; [`Self::end_block`] writes its length.
    pub(super) fn begin_block(&mut self) -> BlockStart {
        self.begin_block_of(0)
    }

    /// Opens a block of about `bytes`: a good guess spares [`Self::end_block`] a move.
    pub(super) fn begin_block_of(&mut self, bytes: usize) -> BlockStart {
        let (zeros, length_bytes) = variable_byte_integer(bytes.min(VARIABLE_BYTE_INTEGER_MAX));
        let at = self.out.len();
        self.out.extend_from_slice(&zeros[..length_bytes]);
        BlockStart { at, length_bytes }
    }

    /// Closes a block and returns how many bytes it holds.
    pub(super) fn end_block(&mut self, block: BlockStart) -> usize {
        let body = block.at + block.length_bytes;
        let len = self.out.len() - body;
        if len > VARIABLE_BYTE_INTEGER_MAX {
            self.fail(EncodeError::PacketTooLarge { bytes: len });
            return len;
        }
        let (bytes, length_bytes) = variable_byte_integer(len);
        if length_bytes != block.length_bytes {
            let end = self.out.len();
            let moved_end = block.at + length_bytes + len;
            self.out.resize(end.max(moved_end), 0);
            self.out.copy_within(body..end, block.at + length_bytes);
            self.out.truncate(moved_end);
        }
        self.out[block.at..block.at + length_bytes].copy_from_slice(&bytes[..length_bytes]);
        len
    }

    /// Ends the writing; on an error the buffer is as it was at [`Self::new`].
    pub(super) fn finish(self) -> Result<(), EncodeError> {
        match self.error {
            None => Ok(()),
            Some(error) => {
                self.out.truncate(self.start);
                Err(error)
            }
        }
    }
}

/// The bytes of a Variable Byte Integer and how many of them count.
///
/// `value` must not exceed [`VARIABLE_BYTE_INTEGER_MAX`].
pub(super) const fn variable_byte_integer(mut value: usize) -> ([u8; 4], usize) {
    let mut bytes = [0; 4];
    let mut len = 0;
    while len < 4 {
        let more = value >= 0x80;
        bytes[len] = (value & 0x7F) as u8 | if more { 0x80 } else { 0 };
        value >>= 7;
        len += 1;
        if !more {
            break;
        }
    }
    (bytes, len)
}
