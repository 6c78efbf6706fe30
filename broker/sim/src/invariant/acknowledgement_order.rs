//! PUBACKs come in the order of their PUBLISH packets, and so do PUBRECs. Spec: MQTT 5.0 section 4.6
//! [MQTT-4.6.0-2], [MQTT-4.6.0-3].

use std::collections::{BTreeMap, VecDeque};

use broker_core::types::QoS;

use super::Invariant;
use crate::event::{Client, Event, MessageId};

/// What each client has sent and not heard of. What is sent again is sent in the same order.
#[derive(Debug, Default)]
pub(super) struct AcknowledgementOrder {
    open: BTreeMap<(Client, bool), VecDeque<MessageId>>,
}

impl AcknowledgementOrder {
    fn answered(&mut self, client: &Client, message: &MessageId) -> Result<(), String> {
        for is_exactly_once in [false, true] {
            let Some(open) = self.open.get_mut(&(client.clone(), is_exactly_once)) else {
                continue;
            };
            let Some(place) = open.iter().position(|known| known == message) else { continue };
            open.remove(place);
            if place > 0 {
                return Err(format!("{client} has {message} answered before {}", open[0]));
            }
        }
        Ok(())
    }
}

impl Invariant for AcknowledgementOrder {
    fn name(&self) -> &'static str {
        "acknowledgement_order"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Sent { client, message, qos } => {
                let key = (client.clone(), *qos == QoS::ExactlyOnce);
                self.open.entry(key).or_default().push_back(message.clone());
                Ok(())
            }
            Event::Acknowledged { client, message } | Event::Refused { client, message, .. } => {
                self.answered(client, message)
            }
            _ => Ok(()),
        }
    }
}
