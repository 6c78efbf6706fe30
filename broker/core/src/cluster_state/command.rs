//! What can be done to the replicated state, and how it is written into a log entry. Pure.
//!
//! A log entry is a batch: `[u8 version][u64 messages max][u64 bytes max]`, then per command
//! `[u8 kind][u32 length][body]`, little endian. Policy changes are JSON, as a record may gain
//! fields; retained changes and operations on durable sessions are postcard.

use std::fmt;

use broker_policy::{PolicyChange, Revision};
use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::feature_level::FEATURE_LEVEL_MAX;
use super::secret::ClusterSecret;
use crate::retained::RetainedChange;
use crate::shard::{OperationOutcome, SessionBatch};
use crate::types::Millis;

/// Version of the batch's layout.
const BATCH_VERSION: u8 = 1;

/// Bytes before the first command.
const HEADER_BYTES: usize = 17;

const KIND_APPLY_POLICY: u8 = 1;
const KIND_RETAIN: u8 = 2;
const KIND_EXPIRE_RETAINED: u8 = 3;
const KIND_SESSIONS: u8 = 4;
const KIND_SET_SECRET: u8 = 5;
/// Since feature level 2, as the first entry of that level.
const KIND_RAISE_FEATURE_LEVEL: u8 = 6;

/// A change of the replicated state. Every one may be applied twice: the second time changes
/// nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Lead the policy from one revision to the next.
    ApplyPolicy(PolicyChange),
    /// Set or take away the retained message of a topic.
    Retain(RetainedChange),
    /// Drop retained messages that expired at this time or before, those first that expired
    /// first.
    ExpireRetained {
        /// The proposer's clock.
        now: Millis,
        /// Most to drop by this one command.
        messages_max: u32,
    },
    /// Change durable sessions.
    Sessions(SessionBatch),
    /// Give the cluster its secret, if it has none.
    SetSecret(ClusterSecret),
    /// From here on what is written may be of this level. Only proposed when every member knows it.
    RaiseFeatureLevel {
        /// The level.
        level: u16,
    },
}

/// What became of one command, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The policy is at the revision that the change leads to.
    PolicyApplied {
        /// That revision.
        revision: Revision,
    },
    /// The change leads from another revision than the current one: compare again.
    PolicyConflict {
        /// The current revision.
        current: Revision,
    },
    /// The change is wrong in itself.
    PolicyInvalid {
        /// Why, as a sentence.
        reason: String,
    },
    /// The retained message is set or taken away.
    Retained,
    /// The store is full.
    RetainRefused {
        /// Which limit, as a sentence.
        reason: String,
    },
    /// Expired messages are gone.
    Expired {
        /// How many.
        messages: u64,
    },
    /// Operations on durable sessions are carried out, or not.
    Sessions {
        /// What became of each, in order.
        outcomes: Vec<OperationOutcome>,
    },
    /// The cluster has a secret: the proposed one, or an earlier one.
    SecretSet,
    /// What may be written from here on.
    FeatureLevel {
        /// The level: the proposed one, or a higher one.
        level: u16,
    },
}

/// Most that the retained messages may take; stamped into each batch, so that nodes whose
/// configuration differs for a while still agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetainedLimits {
    /// Messages.
    pub messages_max: u64,
    /// Bytes of topics, properties and payloads.
    pub bytes_max: u64,
}

impl Default for RetainedLimits {
    fn default() -> Self {
        Self { messages_max: 1_000_000, bytes_max: 1 << 30 }
    }
}

/// A log entry's content: commands in the form in which they travel and are stored.
#[derive(Clone, PartialEq, Eq)]
pub struct CommandBatch {
    bytes: Bytes,
}

/// The bytes hold no batch that this version can read. A node that can't apply an entry must
/// stop: to pass over it would be to diverge from the others.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// A later version wrote the batch.
    #[error(
        "command batch has version {found}, this broker reads up to {BATCH_VERSION}: run a newer one"
    )]
    NewerVersion {
        /// Its version.
        found: u8,
    },
    /// A later version wrote a command in it.
    #[error("command of unknown kind {kind}: run a newer broker")]
    UnknownKind {
        /// The kind.
        kind: u8,
    },
    /// The cluster writes what this version does not know.
    #[error(
        "the cluster is at feature level {level}, this broker knows up to {FEATURE_LEVEL_MAX}: run a \
         newer one"
    )]
    NewerFeatureLevel {
        /// The cluster's level.
        level: u16,
    },
    /// The bytes are not what was written.
    #[error("command batch is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The command can't be written.
    #[error("encode a command: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
}

impl Command {
    /// The command as one item of a batch; concatenated items make a batch's content.
    ///
    /// # Errors
    /// `Encode`, which no command that came out of a packet or the admin API causes.
    pub fn encode(&self) -> Result<Bytes, CommandError> {
        let failed = |reason: String| CommandError::Encode { reason };
        let (kind, body) = match self {
            Self::ApplyPolicy(change) => {
                let body = serde_json::to_vec(change).map_err(|e| failed(e.to_string()))?;
                (KIND_APPLY_POLICY, body)
            }
            Self::Retain(change) => {
                let body = postcard::to_stdvec(change).map_err(|e| failed(e.to_string()))?;
                (KIND_RETAIN, body)
            }
            Self::ExpireRetained { now, messages_max } => {
                let mut body = now.0.to_le_bytes().to_vec();
                body.put_u32_le(*messages_max);
                (KIND_EXPIRE_RETAINED, body)
            }
            Self::Sessions(batch) => {
                let body = batch.encode().ok_or_else(|| failed("session batch".to_owned()))?;
                (KIND_SESSIONS, body)
            }
            Self::SetSecret(secret) => (KIND_SET_SECRET, secret.as_bytes().to_vec()),
            Self::RaiseFeatureLevel { level } => {
                (KIND_RAISE_FEATURE_LEVEL, level.to_le_bytes().to_vec())
            }
        };
        let length = u32::try_from(body.len()).map_err(|e| failed(e.to_string()))?;
        let mut item = Vec::with_capacity(5 + body.len());
        item.put_u8(kind);
        item.put_u32_le(length);
        item.put_slice(&body);
        Ok(Bytes::from(item))
    }

    fn decode(kind: u8, content: &Bytes) -> Result<Self, CommandError> {
        let mut body = &content[..];
        match kind {
            KIND_APPLY_POLICY => serde_json::from_slice(body)
                .map(Self::ApplyPolicy)
                .map_err(|_| CommandError::Damaged { what: "policy change" }),
            KIND_RETAIN => postcard::from_bytes(body)
                .map(Self::Retain)
                .map_err(|_| CommandError::Damaged { what: "retained change" }),
            KIND_EXPIRE_RETAINED => match (body.try_get_u64_le(), body.try_get_u32_le()) {
                (Ok(now), Ok(messages_max)) => {
                    Ok(Self::ExpireRetained { now: Millis(now), messages_max })
                }
                _ => Err(CommandError::Damaged { what: "expiry" }),
            },
            KIND_SESSIONS => SessionBatch::decode(content)
                .map(Self::Sessions)
                .ok_or(CommandError::Damaged { what: "session batch" }),
            KIND_SET_SECRET => body
                .try_into()
                .map(|bytes| Self::SetSecret(ClusterSecret(bytes)))
                .map_err(|_| CommandError::Damaged { what: "secret" }),
            KIND_RAISE_FEATURE_LEVEL => match body.try_get_u16_le() {
                Ok(level) if level > FEATURE_LEVEL_MAX => {
                    Err(CommandError::NewerFeatureLevel { level })
                }
                Ok(level) => Ok(Self::RaiseFeatureLevel { level }),
                Err(_) => Err(CommandError::Damaged { what: "feature level" }),
            },
            kind => Err(CommandError::UnknownKind { kind }),
        }
    }
}

impl CommandBatch {
    /// A batch of items, each made by [`Command::encode`].
    #[must_use]
    pub fn new<'a>(limits: RetainedLimits, items: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.put_u8(BATCH_VERSION);
        bytes.put_u64_le(limits.messages_max);
        bytes.put_u64_le(limits.bytes_max);
        for item in items {
            bytes.put_slice(item);
        }
        Self { bytes: Bytes::from(bytes) }
    }

    /// Wraps bytes from the log or from a peer; they are checked when they are applied.
    #[must_use]
    pub const fn from_bytes(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Reads the batch.
    ///
    /// # Errors
    /// As [`CommandError`] says, all but `Encode`.
    pub fn decode(&self) -> Result<(RetainedLimits, Vec<Command>), CommandError> {
        let mut bytes = self.bytes.clone();
        let damaged = |what| CommandError::Damaged { what };
        let version = bytes.try_get_u8().map_err(|_| damaged("no version"))?;
        if version > BATCH_VERSION {
            return Err(CommandError::NewerVersion { found: version });
        }
        let messages_max = bytes.try_get_u64_le().map_err(|_| damaged("limits"))?;
        let bytes_max = bytes.try_get_u64_le().map_err(|_| damaged("limits"))?;
        let mut commands = Vec::new();
        while bytes.has_remaining() {
            let kind = bytes.get_u8();
            let length = bytes.try_get_u32_le().map_err(|_| damaged("length"))? as usize;
            if length > bytes.remaining() {
                return Err(damaged("length"));
            }
            commands.push(Command::decode(kind, &bytes.split_to(length))?);
        }
        Ok((RetainedLimits { messages_max, bytes_max }, commands))
    }
}

impl fmt::Debug for CommandBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Password hashes may be in it.
        write!(f, "CommandBatch({} bytes)", self.bytes.len())
    }
}

impl fmt::Display for CommandBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "commands of {} bytes", self.bytes.len())
    }
}

impl Serialize for CommandBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for CommandBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;

        impl serde::de::Visitor<'_> for BytesVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
        }

        deserializer.deserialize_bytes(BytesVisitor).map(Self::from_bytes)
    }
}
