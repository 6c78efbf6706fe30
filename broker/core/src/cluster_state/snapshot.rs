//! The whole replicated state as bytes, written and read in order, never in memory as a whole. Pure.
//!
//! Layout, little endian: `[u8 version][u16 feature level][u8 number of secrets, 0 or 1][secret]
//! [u32 length][policy records as JSON][u64 messages]`, then per message `[u32 length][topic and
//! message as postcard]`, then the durable sessions in a layout of their own. Version 3 has no feature
//! level and another layout of the sessions; it is written while the level is 1, as then members may
//! know no other. Version 2 had no secret and no delayed messages with the sessions, version 1 no
//! sessions.

use std::io;
use std::sync::Arc;

use broker_policy::{Policy, Record};
use bytes::{Buf, Bytes};

use super::apply::ClusterState;
use super::feature_level::{FEATURE_LEVEL_FIRST, FEATURE_LEVEL_MAX};
use super::retained_store::{Chunks, ChunksBuilder, Item};
use super::secret::{CLUSTER_SECRET_BYTES, ClusterSecret};
use crate::retained::RetainedMessage;
use crate::shard::SessionsSnapshot;
use crate::stored::{FileRange, Placed, RangeReader, Sections, Sink};

/// Newest version of the layout.
const VERSION: u8 = 4;

/// The one that is written at the first feature level.
const FIRST_LEVEL_VERSION: u8 = 3;

/// The state as of one moment: cheap to take, expensive to write, so that another thread can.
#[derive(Debug, Clone)]
pub struct StateSnapshot {
    policy: Policy,
    chunks: Chunks,
    sessions: SessionsSnapshot,
    secret: Option<ClusterSecret>,
    feature_level: u16,
}

/// The bytes hold no state that this version can read.
#[derive(Debug, thiserror::Error)]
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
    #[error("write the state")]
    Write {
        /// Why.
        source: io::Error,
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
    /// Writes the state. Says where messages that were in files stand now.
    ///
    /// # Errors
    /// `Write`: `out` fails, or a message can't be read.
    pub fn write(&self, out: &mut dyn io::Write) -> Result<Placed, SnapshotError> {
        let mut sink = Sink::new(out);
        self.write_to(&mut sink).map_err(|source| SnapshotError::Write { source })?;
        Ok(sink.finish())
    }

    fn write_to(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        let records: Vec<&Record> = self.policy.records().records().map(|r| &**r).collect();
        let records = serde_json::to_vec(&records).map_err(io::Error::other)?;
        let length = u32::try_from(records.len()).map_err(io::Error::other)?;
        let is_first_level = self.feature_level == FEATURE_LEVEL_FIRST;
        if is_first_level {
            sink.put(&[FIRST_LEVEL_VERSION])?;
        } else {
            sink.put(&[VERSION])?;
            sink.put(&self.feature_level.to_le_bytes())?;
        }
        sink.put(&[u8::from(self.secret.is_some())])?;
        if let Some(secret) = &self.secret {
            sink.put(secret.as_bytes())?;
        }
        sink.put(&length.to_le_bytes())?;
        sink.put(&records)?;
        let messages: u64 = self.chunks.values().map(|chunk| chunk.len() as u64).sum();
        sink.put(&messages.to_le_bytes())?;
        for item in self.chunks.values().flat_map(|chunk| chunk.iter()) {
            sink.put_part(&(&*item.topic, &*item.message))?;
        }
        match is_first_level {
            true => self.sessions.write_earlier(sink),
            false => self.sessions.write(sink),
        }
    }

    /// Reads what [`StateSnapshot::write`] wrote. Messages of sessions stay in the file.
    ///
    /// # Errors
    /// `NewerVersion`, `Damaged`.
    pub fn read(content: &FileRange) -> Result<Self, SnapshotError> {
        let damaged = |what| SnapshotError::Damaged { what };
        let mut reader = content.reader();
        let version = reader.take(1).ok_or_else(|| damaged("no version"))?[0];
        if version > VERSION {
            return Err(SnapshotError::NewerVersion { found: version });
        }
        let feature_level = match version {
            ..4 => FEATURE_LEVEL_FIRST,
            _ => reader.take(2).ok_or_else(|| damaged("feature level"))?.get_u16_le(),
        };
        if feature_level > FEATURE_LEVEL_MAX {
            return Err(SnapshotError::NewerFeatureLevel { level: feature_level });
        }
        let secret = match version {
            ..3 => None,
            _ => read_secret(&mut reader)?,
        };
        let length = reader.take(4).ok_or_else(|| damaged("policy length"))?.get_u32_le();
        let records = reader.take(length as usize).ok_or_else(|| damaged("policy length"))?;
        let records: Vec<Record> =
            serde_json::from_slice(records).map_err(|_| damaged("policy records"))?;
        let policy = Policy::from_records(records).map_err(|_| damaged("policy record"))?;
        let chunks = read_retained(&mut reader)?;
        let (sessions, left) = match version {
            4.. => {
                let mut sections = Sections::new(content);
                let sessions = SessionsSnapshot::read(&mut reader, &mut sections);
                (sessions, reader.left())
            }
            1 => (Some(SessionsSnapshot::default()), reader.left()),
            _ => {
                let rest = content.read(reader.offset(), usize::MAX);
                let mut rest = Bytes::from(rest.map_err(|_| damaged("session"))?);
                let sessions = SessionsSnapshot::decode_earlier(&mut rest, version > 2);
                (sessions, rest.len() as u64)
            }
        };
        let sessions = sessions.ok_or_else(|| damaged("session"))?;
        match left {
            0 => Ok(Self { policy, chunks, sessions, secret, feature_level }),
            _ => Err(damaged("bytes behind the last session")),
        }
    }
}

fn read_secret(reader: &mut RangeReader<'_>) -> Result<Option<ClusterSecret>, SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { what };
    match reader.take(1) {
        Some([0]) => Ok(None),
        Some([1]) => {
            let secret = reader.take(CLUSTER_SECRET_BYTES).map(TryInto::try_into);
            let secret = secret.and_then(Result::ok).ok_or_else(|| damaged("secret"))?;
            Ok(Some(ClusterSecret(secret)))
        }
        _ => Err(damaged("number of secrets")),
    }
}

fn read_retained(reader: &mut RangeReader<'_>) -> Result<Chunks, SnapshotError> {
    let damaged = |what| SnapshotError::Damaged { what };
    let messages = reader.take(8).ok_or_else(|| damaged("message count"))?.get_u64_le();
    let mut builder = ChunksBuilder::default();
    for _ in 0..messages {
        let (topic, message): (Box<str>, RetainedMessage) =
            reader.take_part().ok_or_else(|| damaged("message"))?;
        let item = Item { topic: Arc::from(topic), message: Arc::new(message) };
        if !builder.push(item) {
            return Err(damaged("order of the topics"));
        }
    }
    Ok(builder.finish())
}
