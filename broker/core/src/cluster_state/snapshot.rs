//! The whole replicated state as bytes. Pure.
//!
//! Layout, little endian: `[u8 version][u16 feature level][u8 number of secrets, 0 or 1][secret]
//! [u32 length][policy records as JSON][u64 messages]`, then per message `[u32 length][topic and
//! message as postcard]`, then the durable sessions in a layout of their own. Version 3 has no feature
//! level and is written while that is 1, as then members may know no other; version 2 had no secret
//! and no delayed messages with the sessions, version 1 no sessions.

use std::sync::Arc;

use broker_policy::{Policy, Record};
use bytes::{Buf, BufMut, Bytes};

use super::apply::ClusterState;
use super::feature_level::{FEATURE_LEVEL_FIRST, FEATURE_LEVEL_MAX};
use super::retained_store::{Chunks, ChunksBuilder, Item};
use super::secret::{CLUSTER_SECRET_BYTES, ClusterSecret};
use crate::retained::RetainedMessage;
use crate::shard::SessionsSnapshot;

/// Newest version of the layout.
const VERSION: u8 = 4;

/// The one that is written at the first feature level.
const FIRST_LEVEL_VERSION: u8 = 3;

/// The state as of one moment: cheap to take, expensive to encode, so that another thread can.
#[derive(Debug, Clone)]
pub struct StateSnapshot {
    policy: Policy,
    chunks: Chunks,
    sessions: SessionsSnapshot,
    secret: Option<ClusterSecret>,
    feature_level: u16,
}

/// The bytes hold no state that this version can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A later version wrote them.
    #[error(
        "state snapshot has version {found}, this broker reads up to {VERSION}: run a newer one"
    )]
    NewerVersion {
        /// Its version.
        found: u8,
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
    /// They are not what was written.
    #[error("state snapshot is damaged: {what}")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
    /// The state can't be written.
    #[error("encode the state: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
}

impl ClusterState {
    /// The state as of the last applied entry.
    #[must_use]
    pub fn snapshot(&self) -> StateSnapshot {
        StateSnapshot {
            policy: self.policy().clone(),
            chunks: self.retained().chunks(),
            sessions: self.sessions().snapshot(),
            secret: self.secret().get().copied(),
            feature_level: self.feature_level(),
        }
    }

    /// Replaces the state by a snapshot's. Readers of [`ClusterState::retained`],
    /// [`ClusterState::sessions`] and [`ClusterState::secret`] go on with the same stores.
    pub fn install(&mut self, snapshot: StateSnapshot) {
        self.retained().replace(snapshot.chunks);
        self.sessions().install(snapshot.sessions);
        self.set_policy(snapshot.policy);
        self.set_feature_level(snapshot.feature_level);
        if let Some(secret) = snapshot.secret {
            self.secret().get_or_init(|| secret);
        }
    }
}

impl StateSnapshot {
    /// Writes the state.
    ///
    /// # Errors
    /// `Encode`, which a state that was applied from commands does not cause.
    pub fn encode(&self) -> Result<Vec<u8>, SnapshotError> {
        let failed = |reason: String| SnapshotError::Encode { reason };
        let records: Vec<&Record> = self.policy.records().records().map(|r| &**r).collect();
        let records = serde_json::to_vec(&records).map_err(|e| failed(e.to_string()))?;
        let length = u32::try_from(records.len()).map_err(|e| failed(e.to_string()))?;
        let mut out = Vec::with_capacity(records.len() + CLUSTER_SECRET_BYTES + 16);
        match self.feature_level {
            FEATURE_LEVEL_FIRST => out.put_u8(FIRST_LEVEL_VERSION),
            level => {
                out.put_u8(VERSION);
                out.put_u16_le(level);
            }
        }
        out.put_u8(u8::from(self.secret.is_some()));
        if let Some(secret) = &self.secret {
            out.put_slice(secret.as_bytes());
        }
        out.put_u32_le(length);
        out.put_slice(&records);
        out.put_u64_le(self.chunks.values().map(|chunk| chunk.len() as u64).sum());
        for item in self.chunks.values().flat_map(|chunk| chunk.iter()) {
            let start = out.len();
            out.put_u32_le(0);
            out = postcard::to_extend(&(&*item.topic, &*item.message), out)
                .map_err(|e| failed(e.to_string()))?;
            let length = u32::try_from(out.len() - start - 4).map_err(|e| failed(e.to_string()))?;
            out[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        self.sessions.encode(&mut out).ok_or_else(|| failed("a session".to_owned()))?;
        Ok(out)
    }

    /// Reads what [`StateSnapshot::encode`] wrote.
    ///
    /// # Errors
    /// `NewerVersion`, `Damaged`.
    pub fn decode(mut bytes: Bytes) -> Result<Self, SnapshotError> {
        let damaged = |what| SnapshotError::Damaged { what };
        let version = bytes.try_get_u8().map_err(|_| damaged("no version"))?;
        if version > VERSION {
            return Err(SnapshotError::NewerVersion { found: version });
        }
        let feature_level = match version {
            ..4 => FEATURE_LEVEL_FIRST,
            _ => bytes.try_get_u16_le().map_err(|_| damaged("feature level"))?,
        };
        if feature_level > FEATURE_LEVEL_MAX {
            return Err(SnapshotError::NewerFeatureLevel { level: feature_level });
        }
        let secret = match version {
            ..3 => None,
            _ => match bytes.try_get_u8() {
                Ok(0) => None,
                Ok(1) => Some(take_secret(&mut bytes).ok_or_else(|| damaged("secret"))?),
                _ => return Err(damaged("number of secrets")),
            },
        };
        let records = take(&mut bytes).ok_or_else(|| damaged("policy length"))?;
        let records: Vec<Record> =
            serde_json::from_slice(&records).map_err(|_| damaged("policy records"))?;
        let policy = Policy::from_records(records).map_err(|_| damaged("policy record"))?;
        let messages = bytes.try_get_u64_le().map_err(|_| damaged("message count"))?;
        let mut builder = ChunksBuilder::default();
        for _ in 0..messages {
            let item = take(&mut bytes).ok_or_else(|| damaged("message length"))?;
            let (topic, message): (Box<str>, RetainedMessage) =
                postcard::from_bytes(&item).map_err(|_| damaged("message"))?;
            let item = Item { topic: Arc::from(topic), message: Arc::new(message) };
            if !builder.push(item) {
                return Err(damaged("order of the topics"));
            }
        }
        let sessions = match version {
            1 => SessionsSnapshot::default(),
            _ => SessionsSnapshot::decode(&mut bytes, version > 2)
                .ok_or_else(|| damaged("session"))?,
        };
        match bytes.is_empty() {
            true => {
                let chunks = builder.finish();
                Ok(Self { policy, chunks, sessions, secret, feature_level })
            }
            false => Err(damaged("bytes behind the last session")),
        }
    }
}

fn take_secret(bytes: &mut Bytes) -> Option<ClusterSecret> {
    let mut secret = [0; CLUSTER_SECRET_BYTES];
    bytes.try_copy_to_slice(&mut secret).ok()?;
    Some(ClusterSecret(secret))
}

fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    (length <= bytes.remaining()).then(|| bytes.split_to(length))
}
