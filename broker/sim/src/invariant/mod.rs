//! What must hold, each in its file. Pure, but for one that asks the network who could be reached.

mod acknowledged_is_delivered;
mod acknowledgement_order;
mod denied_is_not_delivered;
mod durable_session_stays;
mod live_is_delivered;
mod one_connection;
mod one_leader;
mod order;
mod qos2_once;
mod retained_is_committed;
mod session_expiry;

use crate::count::Tally;
use crate::event::Event;
use crate::network::Network;
use crate::oracle::Oracle;

/// Something that must hold.
pub(crate) trait Invariant: Send {
    /// The file's name, for the message.
    fn name(&self) -> &'static str;

    /// Looks at what has just happened.
    ///
    /// # Errors
    /// It may not happen: why.
    fn observe(&mut self, event: &Event) -> Result<(), String> {
        let _ = event;
        Ok(())
    }

    /// Looks at the whole, when the cluster has healed and is quiet.
    ///
    /// # Errors
    /// Something is missing.
    fn end(&mut self, oracle: &Oracle) -> Result<(), String> {
        let _ = oracle;
        Ok(())
    }
}

/// All of them.
pub(crate) fn all(network: &Network, tally: &Tally) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(one_leader::OneLeader::default()),
        Box::new(one_connection::OneConnection::new(network.clone())),
        Box::new(durable_session_stays::DurableSessionStays),
        Box::new(session_expiry::SessionExpiry),
        Box::new(qos2_once::Qos2Once::default()),
        Box::new(order::Order::default()),
        Box::new(acknowledgement_order::AcknowledgementOrder::default()),
        Box::new(live_is_delivered::LiveIsDelivered::new(network.clone(), tally.clone())),
        Box::new(denied_is_not_delivered::DeniedIsNotDelivered::default()),
        Box::new(acknowledged_is_delivered::AcknowledgedIsDelivered),
        Box::new(retained_is_committed::RetainedIsCommitted),
    ]
}
