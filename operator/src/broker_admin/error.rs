//! Why a broker did not do what it was asked.

use broker_admin_api::{ErrorBody, Reason};

/// Why a call to a broker's admin API failed. Classify by variant or by [`AdminError::refusal`], never by text.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing listens there, or the name does not resolve.
    #[error("could not connect to the admin API of broker {broker}")]
    Connect {
        /// The broker's name.
        broker: String,
        /// Why.
        source: std::io::Error,
    },
    /// The TLS handshake failed: another authority, another name, or our certificate is not trusted.
    #[error("the TLS handshake with the admin API of broker {broker} failed")]
    Handshake {
        /// The broker's name.
        broker: String,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in time; a change may still take effect.
    #[error("broker {broker} did not answer {path} within {seconds} s")]
    TimedOut {
        /// The broker's name.
        broker: String,
        /// What it was asked.
        path: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke, or what arrived is not HTTP.
    #[error("the connection to the admin API of broker {broker} broke")]
    Http {
        /// The broker's name.
        broker: String,
        /// Why.
        source: hyper::Error,
    },
    /// The broker refused.
    #[error("broker {broker} refused {path}: {}", body.message)]
    Refused {
        /// The broker's name.
        broker: String,
        /// What it was asked.
        path: String,
        /// The refusal.
        body: Box<ErrorBody>,
    },
    /// The answer is not what the API says.
    #[error("broker {broker} answered {path} with something else than expected: {problem}")]
    Unexpected {
        /// The broker's name.
        broker: String,
        /// What it was asked.
        path: String,
        /// What is unexpected.
        problem: String,
    },
    /// The request could not be made.
    #[error("the request {path} to broker {broker} could not be made: {problem}")]
    Request {
        /// The broker's name.
        broker: String,
        /// What it was to be asked.
        path: String,
        /// Why.
        problem: String,
    },
}

impl AdminError {
    /// The broker's refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&ErrorBody> {
        match self {
            Self::Refused { body, .. } => Some(body),
            _ => None,
        }
    }

    /// The reason of the broker's refusal, if it is one.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().map(|body| body.reason)
    }

    /// The kind of failure as metrics name it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect { .. } => "Connect",
            Self::Handshake { .. } => "Handshake",
            Self::TimedOut { .. } => "TimedOut",
            Self::Http { .. } => "Http",
            Self::Refused { .. } => "Refused",
            Self::Unexpected { .. } => "Unexpected",
            Self::Request { .. } => "Request",
        }
    }

    /// The message with those of its sources, for people.
    #[must_use]
    pub fn chain(&self) -> String {
        crate::error_chain::chain(self)
    }
}
