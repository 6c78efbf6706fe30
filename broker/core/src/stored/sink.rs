//! Writes a snapshot part by part. Pure: the file behind it is whoever's calls.

use std::io;
use std::mem;

use serde::Serialize;

use super::message::StoredMessage;
use super::section::{FileRange, Sections};

/// What a snapshot is written to.
pub(crate) struct Sink<'a> {
    out: &'a mut dyn io::Write,
    offset: u64,
    scratch: Vec<u8>,
    placed: Vec<(StoredMessage, u64)>,
}

/// Where a snapshot has the messages that were in a file before.
#[derive(Debug, Default)]
pub struct Placed(Vec<(StoredMessage, u64)>);

impl<'a> Sink<'a> {
    pub(crate) const fn new(out: &'a mut dyn io::Write) -> Self {
        Self { out, offset: 0, scratch: Vec::new(), placed: Vec::new() }
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.offset += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// `[u32 length][the value as postcard]`.
    pub(crate) fn put_part<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut scratch = mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(&[0; 4]);
        let mut scratch = postcard::to_extend(value, scratch).map_err(io::Error::other)?;
        let length = u32::try_from(scratch.len() - 4).map_err(io::Error::other)?;
        scratch[..4].copy_from_slice(&length.to_le_bytes());
        self.put(&scratch)?;
        self.scratch = scratch;
        Ok(())
    }

    /// A message as it stands in files.
    pub(crate) fn put_message(&mut self, message: &StoredMessage) -> io::Result<()> {
        let mut scratch = mem::take(&mut self.scratch);
        scratch.clear();
        message.append_record(&mut scratch).map_err(io::Error::other)?;
        if message.in_memory().is_none() {
            self.placed.push((message.clone(), self.offset));
        }
        self.put(&scratch)?;
        self.scratch = scratch;
        Ok(())
    }

    pub(crate) fn finish(self) -> Placed {
        Placed(self.placed)
    }
}

impl Placed {
    /// From now on those messages are read from the snapshot, whose content is this range.
    pub fn take_over(self, content: &FileRange) {
        let mut sections = Sections::new(content);
        for (message, offset) in self.0 {
            if message.in_memory().is_none() {
                let (section, within) = sections.place(offset);
                message.move_to(section, within);
            }
        }
    }
}
