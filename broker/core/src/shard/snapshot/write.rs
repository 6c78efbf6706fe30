//! Writes durable sessions. Pure.

use std::collections::HashMap;
use std::io;

use super::SessionsSnapshot;
use super::form::form_of;
use crate::stored::{Sink, StoredMessage};

/// Places of messages that may stand in more than one queue.
#[derive(Default)]
struct Places {
    shared: HashMap<usize, u32>,
    next: u32,
}

impl Places {
    /// The message's place, and whether it is a new one.
    fn of(&mut self, message: &StoredMessage) -> (u32, bool) {
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
        let held = self.delayed.iter();
        sink.put(&self.delayed.last().to_le_bytes())?;
        sink.put(&(held.len() as u64).to_le_bytes())?;
        for one in held {
            sink.put_part(&one)?;
        }
        Ok(())
    }
}
