//! Durable sessions as they stand at the first feature level, and stood before there were levels: all
//! messages in front of the sessions, `[u64 messages]`, then per message `[u32 length][message]`. Pure.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;

use super::SessionsSnapshot;
use super::form::{form_of, record_of};
use super::write::Places;
use crate::router::Message;
use crate::shard::delayed::Delayed;
use crate::shard::record::Entry;
use crate::stored::{Sink, StoredMessage};

impl SessionsSnapshot {
    /// Writes the sessions for members that may know no other layout.
    pub(crate) fn write_earlier(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        sink.put_part(&self.control)?;
        let queues = || self.records.iter().flat_map(|record| &record.queue);
        let messages = || queues().filter_map(|entry| entry.message.as_ref());
        // Numbered anew each time, and always alike.
        let mut all = Places::default();
        let count = messages().filter(|message| all.of(message).1).count();
        sink.put(&(count as u64).to_le_bytes())?;
        all = Places::default();
        for message in messages() {
            if all.of(message).1 {
                sink.put_part(&*message.load().map_err(io::Error::other)?)?;
            }
        }
        all = Places::default();
        sink.put(&(self.records.len() as u64).to_le_bytes())?;
        for record in &self.records {
            let place = |entry: &Entry| entry.message.as_ref().map(|message| all.of(message).0);
            let places: Vec<Option<u32>> = record.queue.iter().map(place).collect();
            sink.put_part(&form_of(record, &places))?;
        }
        self.write_delayed(sink)
    }

    /// Reads the sessions, and leaves what is behind them. The first versions had no delayed
    /// messages.
    pub(crate) fn decode_earlier(bytes: &mut Bytes, has_delayed: bool) -> Option<Self> {
        let control = take(bytes)?;
        let count = bytes.try_get_u64_le().ok()?;
        let mut messages = Vec::new();
        for _ in 0..count {
            messages.push(StoredMessage::new(Arc::new(take::<Message>(bytes)?)));
        }
        let count = bytes.try_get_u64_le().ok()?;
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(Arc::new(record_of(take(bytes)?, &messages)?));
        }
        let delayed = match has_delayed {
            true => decode_delayed(bytes)?,
            false => Delayed::default(),
        };
        Some(Self { control, records, delayed, in_memory: messages })
    }
}

fn decode_delayed(bytes: &mut Bytes) -> Option<Delayed> {
    let last = bytes.try_get_u64_le().ok()?;
    let count = bytes.try_get_u64_le().ok()?;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(take(bytes)?);
    }
    Some(Delayed::from_parts(last, held))
}

fn take<T: DeserializeOwned>(bytes: &mut Bytes) -> Option<T> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    if length > bytes.remaining() {
        return None;
    }
    postcard::from_bytes(&bytes.split_to(length)).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use crate::shard::testing::{Machine, session};
    use crate::shard::{SessionStore, SessionsSnapshot};
    use crate::stored::Sink;
    use crate::types::QoS;

    #[test]
    fn sessions_go_through_the_layout_of_the_first_level_from_wherever_their_messages_are() {
        let mut machine = Machine::new();
        for client in ["a", "b"] {
            let attachment = machine.attach(client);
            machine.subscribe(session(client, attachment), "t/#", QoS::ExactlyOnce);
        }
        for payload in ["one", "two"] {
            machine.publish("t/x", payload, QoS::ExactlyOnce);
        }
        machine.restore();
        let mut bytes = Vec::new();
        machine.store.snapshot().write_earlier(&mut Sink::new(&mut bytes)).unwrap();
        // As before there were levels: the number of messages and the first one, behind the control
        // part.
        let behind = 4 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(bytes[behind..behind + 8], 2u64.to_le_bytes());
        let first = crate::shard::testing::message("t/x", "one", QoS::ExactlyOnce);
        let first = postcard::to_stdvec(&first).unwrap();
        assert_eq!(bytes[behind + 12..behind + 12 + first.len()], first);

        let mut bytes = Bytes::from(bytes);
        let read = SessionsSnapshot::decode_earlier(&mut bytes, true).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(read.in_memory.len(), 2);
        let before = machine.encoded();
        machine.store = SessionStore::default();
        machine.store.install(read);
        assert_eq!(machine.encoded(), before);
        assert_eq!(machine.payloads("b"), ["one", "two"]);
    }
}
