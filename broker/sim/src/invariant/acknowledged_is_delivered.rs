//! A QoS 1 message that was acknowledged reaches every durable session that had subscribed to it.
//! Spec: MQTT 5.0 section 4.3.2.

use broker_core::types::QoS;

use super::Invariant;
use crate::oracle::Oracle;

/// Remembers nothing: the oracle does.
#[derive(Debug)]
pub(super) struct AcknowledgedIsDelivered;

impl Invariant for AcknowledgedIsDelivered {
    fn name(&self) -> &'static str {
        "acknowledged_is_delivered"
    }

    fn end(&mut self, oracle: &Oracle) -> Result<(), String> {
        let missing = oracle.missing(QoS::AtLeastOnce);
        match missing.first() {
            None => Ok(()),
            Some((client, message)) => {
                let count = missing.len();
                Err(format!("{message} has not reached {client} ({count} such messages)"))
            }
        }
    }
}
