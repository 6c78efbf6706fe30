//! Counts what events say. Pure.

use broker_core::types::QoS;

use crate::count::{Count, Tally};
use crate::event::{Due, Event};
use crate::oracle::Oracle;
use crate::scenario::{RETAINED_PREFIX, is_late};

/// PUBACK or PUBREC: the publisher has not the right.
const NOT_AUTHORIZED: u8 = 0x87;

/// PUBACK: the message may be kept or not.
const IMPLEMENTATION_SPECIFIC: u8 = 0x83;

/// Counts an event that the oracle has seen.
pub(crate) fn count(event: &Event, oracle: &Oracle, tally: &Tally) {
    match event {
        Event::Fault { kind, .. } => tally.count(*kind),
        Event::Started { start, .. } if *start > 1 => tally.count(Count::StartedAgain),
        Event::Leads { .. } => tally.count(Count::Elections),
        Event::Connected { session_present: true, .. } => tally.count(Count::Resumed),
        Event::Subscribed { client, .. } if is_late(client) => {
            tally.count(Count::LateSubscriptions);
        }
        Event::Returned { due: Due::Kept, .. } => tally.count(Count::SessionsKept),
        Event::Returned { due: Due::Over, .. } => tally.count(Count::SessionsOver),
        Event::Returned { session_present: false, .. } => tally.count(Count::SessionsFoundOver),
        Event::SentAgain { .. } => tally.count(Count::SentAgain),
        Event::Acknowledged { message, .. } => {
            match oracle.qos(message) {
                Some(QoS::ExactlyOnce) => tally.count(Count::AcknowledgedQos2),
                _ => tally.count(Count::AcknowledgedQos1),
            }
            if message.topic.starts_with(RETAINED_PREFIX) {
                tally.count(Count::RetainedAcknowledged);
            }
        }
        Event::Refused { reason: NOT_AUTHORIZED, .. } => tally.count(Count::Denied),
        Event::Refused { reason: IMPLEMENTATION_SPECIFIC, .. } => {
            tally.count(Count::OutcomeUnknown);
        }
        Event::Received { client, .. } if is_late(client) => tally.count(Count::LateReceived),
        Event::Revoked => tally.count(Count::Revoked),
        Event::Retained { found, .. } => {
            found.iter().for_each(|_| tally.count(Count::RetainedRead));
        }
        _ => {}
    }
}
