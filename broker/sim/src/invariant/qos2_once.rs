//! A QoS 2 message reaches a durable session once, and once it is acknowledged it does. Spec: MQTT
//! 5.0 section 4.3.3.

use std::collections::BTreeSet;

use broker_core::types::QoS;

use super::Invariant;
use crate::event::{Client, Event, MessageId};
use crate::oracle::Oracle;

/// What has come where.
#[derive(Debug, Default)]
pub(super) struct Qos2Once {
    received: BTreeSet<(Client, MessageId)>,
}

impl Invariant for Qos2Once {
    fn name(&self) -> &'static str {
        "qos2_once"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Received { client, message, qos: QoS::ExactlyOnce, is_retained: false }
                if crate::scenario::is_durable(client) =>
            {
                match self.received.insert((client.clone(), message.clone())) {
                    true => Ok(()),
                    false => Err(format!("{client} has received {message} twice")),
                }
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, oracle: &Oracle) -> Result<(), String> {
        match oracle.missing(QoS::ExactlyOnce).first() {
            None => Ok(()),
            Some((client, message)) => {
                Err(format!("{message} was acknowledged and has not reached {client}"))
            }
        }
    }
}
