//! Durable sessions as of one moment, and as bytes. Pure.
//!
//! Layout, little endian: `[u32 length][control][u64 sessions]`, then per session `[u32 messages]`,
//! those messages, which no session before it has, as they stand in files (`stored/record.rs`), and
//! `[u32 length][session]`; a session's queue names a message by its place among all of them.
//! Behind the sessions stand the delayed messages: `[u64 last number][u64 messages]`, then per
//! message `[u32 length][message]`. What has a length in front is postcard.

mod earlier;
mod form;
mod read;
mod write;

use std::sync::Arc;

use super::SHARDS;
use super::control::Control;
use super::delayed::Delayed;
use super::record::Record;
use super::store::SessionStore;
use crate::stored::StoredMessage;

use form::ControlForm;

/// Durable sessions as of one moment: cheap to take, expensive to write.
#[derive(Debug, Clone, Default)]
pub struct SessionsSnapshot {
    control: ControlForm,
    /// In the order of shards and Client Identifiers.
    records: Vec<Arc<Record>>,
    delayed: Delayed,
    /// Messages that were read into memory, as the file is of an earlier version.
    in_memory: Vec<StoredMessage>,
}

impl SessionStore {
    /// The sessions as of now.
    pub(crate) fn snapshot(&self) -> SessionsSnapshot {
        let control = self.control();
        let index = self.read_index();
        let last = |(key, group): (&Arc<str>, &super::index::Group)| {
            group.last.as_ref().map(|last| (Arc::clone(key), last.clone()))
        };
        let form = ControlForm {
            attachments: control.attachments,
            proposers: control.proposers.clone(),
            turns: index.groups.iter().filter_map(last).collect(),
        };
        let delayed = control.delayed.clone();
        drop(index);
        let mut records = Vec::new();
        for number in 0..SHARDS {
            records.extend(self.shard_at(number).iter().cloned());
        }
        SessionsSnapshot { control: form, records, delayed, in_memory: Vec::new() }
    }

    /// Replaces everything by a snapshot's.
    pub(crate) fn install(&self, snapshot: SessionsSnapshot) {
        let ControlForm { attachments, proposers, turns } = snapshot.control;
        let delayed = snapshot.delayed;
        let control = Control { attachments, proposers, delayed, ..Control::default() };
        self.replace(control, snapshot.records, turns);
        for message in snapshot.in_memory {
            self.messages().kept(&message);
        }
    }
}
