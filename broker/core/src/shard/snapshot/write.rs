//! Writes durable sessions. Pure.

use std::collections::HashMap;
use std::io;

use super::SessionsSnapshot;
use super::form::form_of;
use crate::stored::{Sink, StoredMessage};

/// Places of messages that may stand in more than one queue.
#[derive(Default)]
pub(super) struct Places {
    shared: HashMap<usize, u32>,
    next: u32,
}

impl Places {
    /// The message's place, and whether it is a new one.
    pub(super) fn of(&mut self, message: &StoredMessage) -> (u32, bool) {
        let next = self.next;
        // Most messages stand in one queue: those are not looked up.
        let place = match message.is_shared() {
            true => *self.shared.entry(message.key()).or_insert(next),
            false => next,
        };
        self.next += u32::from(place == next);
        (place, place == next)
    }
}

impl SessionsSnapshot {
    /// Writes the sessions.
    pub(crate) fn write(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        sink.put_part(&self.control)?;
        sink.put(&(self.records.len() as u64).to_le_bytes())?;
        let mut all = Places::default();
        let (mut places, mut new) = (Vec::new(), Vec::new());
        for record in &self.records {
            places.clear();
            for entry in &record.queue {
                let message = entry.message.as_ref();
                places.push(message.map(|message| {
                    let (place, is_new) = all.of(message);
                    new.extend(is_new.then_some(message));
                    place
                }));
            }
            sink.put(&(new.len() as u32).to_le_bytes())?;
            for message in new.drain(..) {
                sink.put_message(message)?;
            }
            sink.put_part(&form_of(record, &places))?;
        }
        self.write_delayed(sink)
    }

    pub(super) fn write_delayed(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        let held = self.delayed.iter();
        sink.put(&self.delayed.last().to_le_bytes())?;
        sink.put(&(held.len() as u64).to_le_bytes())?;
        for one in held {
            sink.put_part(&one)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use crate::shard::testing::{Machine, session};
    use crate::stored::{FileRange, Sink};
    use crate::types::QoS;

    /// Two sessions with messages, one of them for both, that lie in a file.
    fn machine() -> Machine {
        let mut machine = Machine::new();
        for client in ["a", "b"] {
            let attachment = machine.attach(client);
            machine.subscribe(session(client, attachment), "both", QoS::AtLeastOnce);
            machine.subscribe(session(client, attachment), client, QoS::AtLeastOnce);
        }
        for topic in ["a", "both", "b", "a"] {
            machine.publish(topic, topic, QoS::AtLeastOnce);
        }
        machine.restore();
        machine
    }

    #[test]
    fn a_message_of_several_sessions_stands_in_a_snapshot_once() {
        let machine = machine();
        let written = machine.encoded();
        let count = written.windows(4).filter(|bytes| bytes == b"both").count();
        // Topic and payload, and what both sessions have subscribed to.
        assert_eq!(count, 2 + 2);
    }

    #[test]
    fn messages_in_files_are_read_from_the_snapshot_that_takes_them_over() {
        let machine = machine();
        let mut written = Vec::new();
        let mut sink = Sink::new(&mut written);
        machine.store.snapshot().write(&mut sink).unwrap();
        let placed = sink.finish();
        // Behind something else, in a file that says another thing where it is not read.
        let mut file = vec![0; 100];
        file.extend_from_slice(&written);
        let range = FileRange::new(Arc::new(Bytes::from(file)), 100, written.len() as u64);
        placed.take_over(&range);
        assert_eq!(machine.payloads("a"), ["a", "both", "a"]);
        assert_eq!(machine.payloads("b"), ["both", "b"]);
        assert_eq!(machine.encoded(), written);
    }
}
