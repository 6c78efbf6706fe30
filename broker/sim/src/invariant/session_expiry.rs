//! A session stays for its Session Expiry Interval when its client has left, and not for longer, by
//! clocks that differ. Spec: MQTT 5.0 section 3.1.2.11.2.

use super::Invariant;
use crate::event::{Due, Event};

/// Remembers nothing: the clients know how long they were away.
#[derive(Debug)]
pub(super) struct SessionExpiry;

impl Invariant for SessionExpiry {
    fn name(&self) -> &'static str {
        "session_expiry"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let Event::Returned { client, away, due, session_present } = event else { return Ok(()) };
        let away = away.as_secs_f64();
        match (due, session_present) {
            (Due::Kept, false) => Err(format!("{client} has no session after {away:.1} s")),
            (Due::Over, true) => Err(format!("{client} still has its session after {away:.1} s")),
            _ => Ok(()),
        }
    }
}
