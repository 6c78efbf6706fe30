//! A message that its publisher may not send, or its receiver may not have, is never delivered: from
//! the moment at which every serving node enforces it.

use std::collections::BTreeSet;

use super::Invariant;
use crate::event::{Event, MessageId};
use crate::policy::{DENIED_PREFIX, REVOKED_PREFIX, may_receive};

/// What was sent while it was denied.
#[derive(Debug, Default)]
pub(super) struct DeniedIsNotDelivered {
    is_revoked: bool,
    denied: BTreeSet<MessageId>,
    refused: BTreeSet<MessageId>,
}

impl Invariant for DeniedIsNotDelivered {
    fn name(&self) -> &'static str {
        "denied_is_not_delivered"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Revoked => self.is_revoked = true,
            Event::Granting => {
                self.is_revoked = false;
                // What was not answered may be sent again when it is allowed.
                let refused = &self.refused;
                self.denied.retain(|message| {
                    message.topic.starts_with(DENIED_PREFIX) || refused.contains(message)
                });
            }
            Event::Refused { message, .. } => {
                self.refused.insert(message.clone());
            }
            Event::Sent { message, .. } => {
                let is_revoked = self.is_revoked && message.topic.starts_with(REVOKED_PREFIX);
                if is_revoked || message.topic.starts_with(DENIED_PREFIX) {
                    self.denied.insert(message.clone());
                }
            }
            Event::Received { client, message, .. }
                if self.denied.contains(message) || !may_receive(client, &message.topic) =>
            {
                return Err(format!("{client} has received {message}"));
            }
            Event::Retained { node, found } => {
                if let Some(message) = found.iter().find(|message| self.denied.contains(message)) {
                    return Err(format!("{node} has {message} retained"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
