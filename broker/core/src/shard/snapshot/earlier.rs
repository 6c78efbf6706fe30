//! Reads durable sessions as versions before this one wrote them: all messages in front of the
//! sessions, `[u64 messages]`, then per message `[u32 length][message]`. Pure.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use serde::de::DeserializeOwned;

use super::SessionsSnapshot;
use super::form::record_of;
use crate::router::Message;
use crate::shard::delayed::Delayed;
use crate::stored::StoredMessage;

impl SessionsSnapshot {
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
    use bytes::BufMut;
    use serde::Serialize;

    use super::super::form::form_of;
    use crate::shard::testing::{Machine, session};
    use crate::shard::{SessionStore, SessionsSnapshot};
    use crate::types::QoS;

    fn put<T: Serialize>(value: &T, out: &mut Vec<u8>) {
        let bytes = postcard::to_stdvec(value).unwrap();
        out.put_u32_le(bytes.len() as u32);
        out.put_slice(&bytes);
    }

    /// As version 3 wrote it.
    fn earlier(snapshot: &SessionsSnapshot) -> Vec<u8> {
        let mut out = Vec::new();
        put(&snapshot.control, &mut out);
        let queues = snapshot.records.iter().flat_map(|record| &record.queue);
        let mut messages = Vec::new();
        for message in queues.filter_map(|entry| entry.message.clone()) {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        out.put_u64_le(messages.len() as u64);
        messages.iter().for_each(|message| put(&*message.load().unwrap(), &mut out));
        out.put_u64_le(snapshot.records.len() as u64);
        for record in &snapshot.records {
            let place = |message| messages.iter().position(|m| m == message).map(|p| p as u32);
            let places = record.queue.iter().map(|entry| entry.message.as_ref().and_then(place));
            put(&form_of(record, &places.collect::<Vec<_>>()), &mut out);
        }
        out.put_u64_le(snapshot.delayed.last());
        out.put_u64_le(0);
        out
    }

    #[test]
    fn sessions_that_the_version_before_wrote_are_read() {
        let mut machine = Machine::new();
        for client in ["a", "b"] {
            let attachment = machine.attach(client);
            machine.subscribe(session(client, attachment), "t/#", QoS::ExactlyOnce);
        }
        for payload in ["one", "two"] {
            machine.publish("t/x", payload, QoS::ExactlyOnce);
        }
        let mut bytes = earlier(&machine.store.snapshot()).into();
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
