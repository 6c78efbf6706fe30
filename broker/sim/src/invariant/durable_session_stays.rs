//! A durable session that a client had is there when the client comes again. Spec: MQTT 5.0
//! section 4.1.

use super::Invariant;
use crate::event::Event;

/// Remembers nothing: the clients know what they had.
#[derive(Debug)]
pub(super) struct DurableSessionStays;

impl Invariant for DurableSessionStays {
    fn name(&self) -> &'static str {
        "durable_session_stays"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::SessionLost { client } => Err(format!("{client} has found no session")),
            _ => Ok(()),
        }
    }
}
