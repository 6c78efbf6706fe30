//! A message that sessions keep. Pure.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::record::{MESSAGE_HEADER_BYTES, append, decode, is_whole};
use super::section::MessageSection;
use crate::router::Message;
use crate::types::{Millis, QoS};

/// What queues decide by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageHead {
    pub(crate) expires_at: Millis,
    pub(crate) bytes: u32,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

#[derive(Debug)]
enum Place {
    Memory(Arc<Message>),
    /// A section, and where in it.
    File(Arc<MessageSection>, u32),
}

/// A message that can't be read back from where it was moved to.
#[derive(Debug, thiserror::Error)]
#[error("a queued message of {bytes} bytes can't be read back")]
pub struct MessageLost {
    /// How long it was.
    pub bytes: u64,
    /// Why.
    pub source: io::Error,
}

/// A message of durable sessions, in memory or in a file. A clone is the same one. It takes 56
/// bytes beside the message: queues hold many.
#[derive(Debug, Clone)]
pub struct StoredMessage(Arc<Stored>);

/// A [`StoredMessage`] that is there for as long as sessions keep it.
#[derive(Debug)]
pub struct WeakMessage(Weak<Stored>);

#[derive(Debug)]
struct Stored {
    head: MessageHead,
    place: Mutex<Place>,
}

impl StoredMessage {
    /// A message in memory.
    #[must_use]
    pub fn new(message: Arc<Message>) -> Self {
        let head = MessageHead {
            expires_at: message.expires_at(),
            bytes: message.bytes() as u32,
            qos: message.qos(),
            retain: message.retain(),
        };
        Self(Arc::new(Stored { head, place: Mutex::new(Place::Memory(message)) }))
    }

    /// A message in a file.
    pub(crate) fn in_file(head: MessageHead, section: Arc<MessageSection>, offset: u32) -> Self {
        Self(Arc::new(Stored { head, place: Mutex::new(Place::File(section, offset)) }))
    }

    /// QoS it was published with.
    #[must_use]
    pub fn qos(&self) -> QoS {
        self.0.head.qos
    }

    /// RETAIN as it was published.
    #[must_use]
    pub fn retain(&self) -> bool {
        self.0.head.retain
    }

    /// When the Message Expiry Interval ends.
    #[must_use]
    pub fn expires_at(&self) -> Millis {
        self.0.head.expires_at
    }

    /// Bytes of topic, properties and payload, and a few more.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.head.bytes as usize
    }

    /// Whether more than one place holds the message.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// The same for the same message, whatever it says.
    pub(crate) fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The message. Reads the file where it is in one.
    ///
    /// # Errors
    /// It can't be read, or is not what was written.
    pub fn load(&self) -> Result<Arc<Message>, MessageLost> {
        let (section, offset) = match &*self.place() {
            Place::Memory(message) => return Ok(Arc::clone(message)),
            Place::File(section, offset) => (Arc::clone(section), *offset),
        };
        let record = self.read(&section, offset)?;
        let damaged = || self.lost(io::Error::from(io::ErrorKind::InvalidData));
        let message = decode(&record).ok_or_else(damaged)?;
        Ok(Arc::new(message))
    }

    /// The message, if it is in memory.
    #[must_use]
    pub fn in_memory(&self) -> Option<Arc<Message>> {
        match &*self.place() {
            Place::Memory(message) => Some(Arc::clone(message)),
            Place::File(..) => None,
        }
    }

    /// Appends the message as it stands in files.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn append_record(&self, out: &mut Vec<u8>) -> Result<(), MessageLost> {
        let (section, offset) = match &*self.place() {
            Place::Memory(message) => {
                append(message, out);
                return Ok(());
            }
            Place::File(section, offset) => (Arc::clone(section), *offset),
        };
        let record = self.read(&section, offset)?;
        if !is_whole(&record) {
            return Err(self.lost(io::ErrorKind::InvalidData.into()));
        }
        out.extend_from_slice(&record);
        Ok(())
    }

    /// From now on the message is read from there, where [`Self::append_record`] has put it.
    pub fn move_to(&self, section: Arc<MessageSection>, offset: u32) {
        let before = std::mem::replace(&mut *self.place(), Place::File(section, offset));
        // Without the lock: the last message of a file takes the file with it.
        drop(before);
    }

    /// The message for as long as sessions keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakMessage {
        WeakMessage(Arc::downgrade(&self.0))
    }

    fn read(&self, section: &MessageSection, offset: u32) -> Result<Vec<u8>, MessageLost> {
        let mut record = vec![0; MESSAGE_HEADER_BYTES + self.bytes()];
        section.read(&mut record, offset).map_err(|source| self.lost(source))?;
        Ok(record)
    }

    fn lost(&self, source: io::Error) -> MessageLost {
        MessageLost { bytes: self.bytes() as u64, source }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WeakMessage {
    /// The message; `None` when no session keeps it any more.
    #[must_use]
    pub fn upgrade(&self) -> Option<StoredMessage> {
        self.0.upgrade().map(StoredMessage)
    }

    /// Whether a session keeps it still.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// The same message, or one that says the same.
impl PartialEq for StoredMessage {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        match (self.load(), other.load()) {
            (Ok(one), Ok(another)) => one == another,
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
