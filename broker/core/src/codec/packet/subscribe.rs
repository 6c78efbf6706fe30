//! SUBSCRIBE. Spec: MQTT 5.0 section 3.8, MQTT 3.1.1 section 3.8. Pure.

use std::fmt;

use super::{Context, read_packet_id};
use crate::codec::primitive::{Reader, Writer};
use crate::codec::property::{Allowed, PropertyReader};
use crate::codec::{
    DecodeError, EncodeError, PacketType, PropertyId, SubscriptionIds, UserProperties,
};
use crate::topic::TopicFilter;
use crate::types::{PacketId, ProtocolVersion, QoS, SubscriptionId};

/// SUBSCRIBE: a request for one Subscription or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscribe<'a> {
    /// Packet Identifier.
    pub packet_id: PacketId,
    /// Subscription Identifier, shared by all its Subscriptions.
    pub subscription_id: Option<SubscriptionId>,
    /// User Properties.
    pub user_properties: UserProperties<'a>,
    /// Topic Filters with their options: at least one.
    pub filters: SubscribeFilters<'a>,
}

/// A Topic Filter with its Subscription Options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeFilter<'a> {
    /// Topic Filter, syntactically valid; `$share/` prefix included. The number of its levels is
    /// not limited here, so that SUBACK can refuse it alone: parse it as a `TopicFilter`.
    pub filter: &'a str,
    /// Subscription Options.
    pub options: SubscriptionOptions,
}

/// Subscription Options. Spec: MQTT 5.0 section 3.8.3.1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
pub struct SubscriptionOptions {
    /// Maximum QoS.
    pub qos: QoS,
    /// No Local: the client's own messages are not sent back.
    pub no_local: bool,
    /// Retain As Published: the RETAIN flag is kept when forwarding.
    pub retain_as_published: bool,
    /// Retain Handling.
    pub retain_handling: RetainHandling,
}

/// When retained messages are sent for a new Subscription.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[repr(u8)]
pub enum RetainHandling {
    /// At each SUBSCRIBE.
    #[default]
    SendAtSubscribe = 0,
    /// Only when the Subscription did not exist.
    SendAtNewSubscription = 1,
    /// Never.
    DoNotSend = 2,
}

const FIELD: &str = "topic filter";
const ALLOWED: Allowed = Allowed::new(&[PropertyId::SubscriptionIdentifier]);

impl<'a> Subscribe<'a> {
    pub(super) fn decode(
        reader: &mut Reader<'a>,
        context: Context<'_>,
    ) -> Result<Self, DecodeError> {
        let packet = context.packet;
        let packet_id = read_packet_id(reader, packet)?;
        let (mut subscription_id, mut user_properties) = (None, UserProperties::NONE);
        if context.version.is_v5() {
            let mut properties = PropertyReader::new(reader, packet, ALLOWED)?;
            properties.next()?;
            subscription_id = properties.subscription_ids().iter().next();
            user_properties = properties.user_properties();
        }
        if reader.is_empty() {
            return Err(DecodeError::NoTopicFilter { packet });
        }
        let filters = SubscribeFilters(Filters::Encoded(reader.rest()));
        while !reader.is_empty() {
            let filter = TopicFilter::parse_unbounded(reader.text(FIELD)?)
                .map_err(|source| DecodeError::Topic { field: FIELD, source })?;
            let byte = reader.u8("subscription options")?;
            let options = SubscriptionOptions::check(byte, context.version)?;
            if options.no_local && filter.share_name().is_some() {
                // [MQTT-3.8.3-4]
                return Err(DecodeError::NotAllowed {
                    problem: "no local is not allowed on a shared subscription",
                });
            }
        }
        Ok(Self { packet_id, subscription_id, user_properties, filters })
    }

    /// Appends the packet.
    ///
    /// # Errors
    /// [`EncodeError`]; `out` is then as before.
    pub fn encode(&self, version: ProtocolVersion, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut writer = Writer::new(out);
        writer.u8(PacketType::Subscribe.first_byte());
        let body = writer.begin_block();
        writer.u16(self.packet_id.get());
        if version.is_v5() {
            let block = writer.begin_block();
            SubscriptionIds::from_slice(self.subscription_id.as_slice()).write(&mut writer);
            self.user_properties.write(&mut writer);
            writer.end_block(block);
        }
        for SubscribeFilter { filter, options } in self.filters.iter() {
            writer.text(FIELD, filter);
            writer.u8(if version.is_v5() { options.as_u8() } else { options.qos.as_u8() });
        }
        writer.end_block(body);
        writer.finish()
    }
}

impl SubscriptionOptions {
    /// The options as the byte of a 5.0 SUBSCRIBE.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.qos.as_u8()
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }

    /// The options of a byte from a 5.0 SUBSCRIBE, or `None` when one of its fields is invalid.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        if byte & 0b1100_0000 != 0 {
            return None;
        }
        let retain_handling = match byte >> 4 {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendAtNewSubscription,
            2 => RetainHandling::DoNotSend,
            _ => return None,
        };
        let Some(qos) = QoS::from_u8(byte & 0b11) else { return None };
        let (no_local, retain_as_published) = (byte & 0b100 != 0, byte & 0b1000 != 0);
        Some(Self { qos, no_local, retain_as_published, retain_handling })
    }

    /// As [`Self::from_u8`], telling what is wrong.
    fn check(byte: u8, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let (reserved, field) = match version {
            ProtocolVersion::V5 => (0b1100_0000, "subscription options"),
            _ => (0b1111_1100, "requested qos"),
        };
        if byte & reserved != 0 {
            return Err(DecodeError::ReservedBits { field });
        }
        let (field, value) = match byte & 0b11 {
            3 => ("requested qos", 3),
            _ => ("retain handling", u32::from(byte >> 4)),
        };
        Self::from_u8(byte).ok_or(DecodeError::FieldValue { field, value })
    }
}

/// The Topic Filters of a SUBSCRIBE: a view of the packet, or a list to encode.
///
/// Equality compares filters and options.
#[derive(Clone, Copy)]
pub struct SubscribeFilters<'a>(Filters<'a>);

#[derive(Clone, Copy)]
enum Filters<'a> {
    Encoded(&'a [u8]),
    Listed(&'a [SubscribeFilter<'a>]),
}

impl<'a> SubscribeFilters<'a> {
    /// These filters: at least one, each valid.
    #[must_use]
    pub const fn from_slice(filters: &'a [SubscribeFilter<'a>]) -> Self {
        Self(Filters::Listed(filters))
    }

    /// The filters in their order.
    pub fn iter(&self) -> impl Iterator<Item = SubscribeFilter<'a>> + use<'a> {
        let (encoded, listed): (&[u8], &[SubscribeFilter<'_>]) = match self.0 {
            Filters::Encoded(bytes) => (bytes, &[]),
            Filters::Listed(filters) => (&[], filters),
        };
        let mut reader = Reader::new(encoded);
        let encoded = std::iter::from_fn(move || {
            let filter = reader.text_with_null(FIELD).ok()?;
            let options = SubscriptionOptions::from_u8(reader.u8(FIELD).ok()?)?;
            Some(SubscribeFilter { filter, options })
        });
        encoded.chain(listed.iter().copied())
    }
}

impl PartialEq for SubscribeFilters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscribeFilters<'_> {}

impl fmt::Debug for SubscribeFilters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
