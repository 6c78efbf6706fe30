//! Properties: identifiers, where they may stand, and the two kinds that may repeat. Pure.
//!
//! Spec: MQTT 5.0 section 2.2.2.

use std::fmt;

use super::primitive::{Reader, Writer};
use super::repeated_property::{Run, SubscriptionIds, UserProperties};
use super::{DecodeError, PacketType};
use crate::types::SubscriptionId;

macro_rules! properties {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $kind:ident, $text:literal;)*) => {
        /// A property identifier. Spec: MQTT 5.0 table 2-4.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum PropertyId {
            $($(#[$doc])* $name = $value,)*
        }

        impl PropertyId {
            /// Every property in the order of its identifier.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The property for an identifier, or `None` when there is none.
            #[must_use]
            pub const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The name as the specification writes it, in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)*
                }
            }
        }
    };
}

/// The data type of a property's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Byte,
    TwoByte,
    FourByte,
    Variable,
    Binary,
    Text,
    Pair,
}

properties! {
    /// Payload Format Indicator.
    PayloadFormatIndicator = 1, Byte, "payload format indicator";
    /// Message Expiry Interval.
    MessageExpiryInterval = 2, FourByte, "message expiry interval";
    /// Content Type.
    ContentType = 3, Text, "content type";
    /// Response Topic.
    ResponseTopic = 8, Text, "response topic";
    /// Correlation Data.
    CorrelationData = 9, Binary, "correlation data";
    /// Subscription Identifier.
    SubscriptionIdentifier = 11, Variable, "subscription identifier";
    /// Session Expiry Interval.
    SessionExpiryInterval = 17, FourByte, "session expiry interval";
    /// Assigned Client Identifier.
    AssignedClientIdentifier = 18, Text, "assigned client identifier";
    /// Server Keep Alive.
    ServerKeepAlive = 19, TwoByte, "server keep alive";
    /// Authentication Method.
    AuthenticationMethod = 21, Text, "authentication method";
    /// Authentication Data.
    AuthenticationData = 22, Binary, "authentication data";
    /// Request Problem Information.
    RequestProblemInformation = 23, Byte, "request problem information";
    /// Will Delay Interval.
    WillDelayInterval = 24, FourByte, "will delay interval";
    /// Request Response Information.
    RequestResponseInformation = 25, Byte, "request response information";
    /// Response Information.
    ResponseInformation = 26, Text, "response information";
    /// Server Reference.
    ServerReference = 28, Text, "server reference";
    /// Reason String.
    ReasonString = 31, Text, "reason string";
    /// Receive Maximum.
    ReceiveMaximum = 33, TwoByte, "receive maximum";
    /// Topic Alias Maximum.
    TopicAliasMaximum = 34, TwoByte, "topic alias maximum";
    /// Topic Alias.
    TopicAlias = 35, TwoByte, "topic alias";
    /// Maximum QoS.
    MaximumQoS = 36, Byte, "maximum qos";
    /// Retain Available.
    RetainAvailable = 37, Byte, "retain available";
    /// User Property.
    UserProperty = 38, Pair, "user property";
    /// Maximum Packet Size.
    MaximumPacketSize = 39, FourByte, "maximum packet size";
    /// Wildcard Subscription Available.
    WildcardSubscriptionAvailable = 40, Byte, "wildcard subscription available";
    /// Subscription Identifiers Available.
    SubscriptionIdentifiersAvailable = 41, Byte, "subscription identifiers available";
    /// Shared Subscription Available.
    SharedSubscriptionAvailable = 42, Byte, "shared subscription available";
}

impl PropertyId {
    const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Reads past the value.
    pub(super) fn skip(self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let name = self.name();
        match self.kind() {
            Kind::Byte => reader.take(1, name).map(drop),
            Kind::TwoByte => reader.take(2, name).map(drop),
            Kind::FourByte => reader.take(4, name).map(drop),
            Kind::Variable => reader.variable_byte_integer(name).map(drop),
            Kind::Binary | Kind::Text => reader.binary(name).map(drop),
            Kind::Pair => reader.binary(name).and_then(|_| reader.binary(name)).map(drop),
        }
    }
}

impl fmt::Display for PropertyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The properties that a packet, or the Will of a CONNECT, may carry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowed {
    mask: u64,
    repeatable: u64,
}

impl Allowed {
    /// User Properties and the given ones, each once.
    pub(super) const fn new(ids: &[PropertyId]) -> Self {
        let mut mask = PropertyId::UserProperty.bit();
        let mut index = 0;
        while index < ids.len() {
            mask |= ids[index].bit();
            index += 1;
        }
        Self { mask, repeatable: PropertyId::UserProperty.bit() }
    }

    /// Lets one of them repeat.
    pub(super) const fn repeatable(self, id: PropertyId) -> Self {
        Self { mask: self.mask, repeatable: self.repeatable | id.bit() }
    }
}

/// Walks a property block: identifiers here, values by the packet that knows them.
#[derive(Debug)]
pub(super) struct PropertyReader<'a> {
    reader: Reader<'a>,
    /// The block from the identifier read last on.
    from_id: &'a [u8],
    packet: PacketType,
    allowed: Allowed,
    seen: u64,
    user: Run<'a>,
    subscription_ids: Run<'a>,
}

impl<'a> PropertyReader<'a> {
    /// Starts at the Property Length, which the reader passes.
    pub(super) fn new(
        reader: &mut Reader<'a>,
        packet: PacketType,
        allowed: Allowed,
    ) -> Result<Self, DecodeError> {
        let reader = reader.block("property length")?;
        let (user, subscription_ids) = (Run::default(), Run::default());
        Ok(Self {
            reader,
            from_id: reader.rest(),
            packet,
            allowed,
            seen: 0,
            user,
            subscription_ids,
        })
    }

    /// The next property whose value the caller must read; repeatable ones are collected here.
    pub(super) fn next(&mut self) -> Result<Option<PropertyId>, DecodeError> {
        while !self.reader.is_empty() {
            self.from_id = self.reader.rest();
            let id = self.next_id()?;
            match id {
                PropertyId::UserProperty => {
                    self.reader.text("user property name")?;
                    self.reader.text("user property value")?;
                    self.user.extend(self.from_id, self.reader.rest());
                }
                PropertyId::SubscriptionIdentifier => {
                    self.subscription_id()?;
                    self.subscription_ids.extend(self.from_id, self.reader.rest());
                }
                id => return Ok(Some(id)),
            }
        }
        Ok(None)
    }

    fn next_id(&mut self) -> Result<PropertyId, DecodeError> {
        let packet = self.packet;
        let number = self.reader.variable_byte_integer("property identifier")?;
        let property = u8::try_from(number)
            .ok()
            .and_then(PropertyId::from_u8)
            .ok_or(DecodeError::PropertyUnknown { packet, id: number })?;
        let bit = property.bit();
        if self.allowed.mask & bit == 0 {
            return Err(DecodeError::PropertyNotAllowed { packet, property });
        }
        if self.seen & bit & !self.allowed.repeatable != 0 {
            return Err(DecodeError::PropertyDuplicate { packet, property });
        }
        self.seen |= bit;
        Ok(property)
    }

    fn subscription_id(&mut self) -> Result<SubscriptionId, DecodeError> {
        let field = PropertyId::SubscriptionIdentifier.name();
        let value = self.reader.variable_byte_integer(field)?;
        SubscriptionId::new(value).ok_or(DecodeError::FieldValue { field, value })
    }

    pub(super) fn u16(&mut self, id: PropertyId) -> Result<Option<u16>, DecodeError> {
        self.reader.u16(id.name()).map(Some)
    }

    /// A Two Byte Integer that must not be zero.
    pub(super) fn u16_nonzero(&mut self, id: PropertyId) -> Result<Option<u16>, DecodeError> {
        match self.reader.u16(id.name())? {
            0 => Err(DecodeError::FieldValue { field: id.name(), value: 0 }),
            value => Ok(Some(value)),
        }
    }

    pub(super) fn u32(&mut self, id: PropertyId) -> Result<Option<u32>, DecodeError> {
        self.reader.u32(id.name()).map(Some)
    }

    /// A Four Byte Integer that must not be zero.
    pub(super) fn u32_nonzero(&mut self, id: PropertyId) -> Result<Option<u32>, DecodeError> {
        match self.reader.u32(id.name())? {
            0 => Err(DecodeError::FieldValue { field: id.name(), value: 0 }),
            value => Ok(Some(value)),
        }
    }

    /// A Byte that must be 0 or 1.
    pub(super) fn bool(&mut self, id: PropertyId) -> Result<Option<bool>, DecodeError> {
        match self.reader.u8(id.name())? {
            0 => Ok(Some(false)),
            1 => Ok(Some(true)),
            value => Err(DecodeError::FieldValue { field: id.name(), value: value.into() }),
        }
    }

    pub(super) fn text(&mut self, id: PropertyId) -> Result<Option<&'a str>, DecodeError> {
        self.reader.text(id.name()).map(Some)
    }

    pub(super) fn binary(&mut self, id: PropertyId) -> Result<Option<&'a [u8]>, DecodeError> {
        self.reader.binary(id.name()).map(Some)
    }

    /// The User Properties met so far.
    pub(super) const fn user_properties(&self) -> UserProperties<'a> {
        UserProperties::from_run(self.user)
    }

    /// The Subscription Identifiers met so far.
    pub(super) const fn subscription_ids(&self) -> SubscriptionIds<'a> {
        SubscriptionIds::from_run(self.subscription_ids)
    }
}

impl Writer<'_> {
    pub(super) fn bool_property(&mut self, id: PropertyId, value: Option<bool>) {
        if let Some(value) = value {
            self.raw(&[id as u8, u8::from(value)]);
        }
    }

    pub(super) fn u16_property(&mut self, id: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.u16(value);
        }
    }

    pub(super) fn u32_property(&mut self, id: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.u32(value);
        }
    }

    pub(super) fn text_property(&mut self, id: PropertyId, value: Option<&str>) {
        self.binary_property(id, value.map(str::as_bytes));
    }

    pub(super) fn binary_property(&mut self, id: PropertyId, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.u8(id as u8);
            self.binary(id.name(), value);
        }
    }
}
