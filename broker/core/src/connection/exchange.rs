//! How far an exchange of AUTH packets has come. Pure. Spec: MQTT 5.0 section 4.12.

use std::sync::Arc;

use broker_policy::Policy;

/// Extended authentication of one connection.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Authentication Method of CONNECT, which holds for the connection's life.
    pub(crate) method: Arc<str>,
    pub(crate) step: ExchangeStep,
    /// The policy that the latest exchange began under.
    pub(crate) policy: Arc<Policy>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExchangeStep {
    /// No exchange goes on.
    Idle,
    /// The driver's.
    Driver,
    /// The client's.
    Client,
}
