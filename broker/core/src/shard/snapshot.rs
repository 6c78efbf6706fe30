//! Durable sessions as bytes. Pure.
//!
//! Layout, little endian: `[u32 length][control][u64 messages]`, then per message
//! `[u32 length][message]`, then `[u64 sessions]` and per session `[u32 length][session]`, all as
//! postcard. A message that waits in several sessions stands there once. Behind the sessions stand
//! the delayed messages: `[u64 last number][u64 messages]`, then per message `[u32 length][message]`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use super::delayed::Delayed;
use super::record::{Entry, Progress, Record, StoredWill};
use super::store::{Control, Proposer, SessionStore, Turns};
use super::{Holder, SHARDS};
use crate::router::Message;
use crate::session::SubscriptionState;
use crate::types::{ClientId, Millis, NodeId, PacketId, QoS, SubscriptionId};

/// Durable sessions as of one moment: cheap to take, expensive to encode.
#[derive(Debug, Clone, Default)]
pub struct SessionsSnapshot {
    control: ControlForm,
    /// In the order of shards and Client Identifiers.
    records: Vec<Arc<Record>>,
    delayed: Delayed,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct ControlForm {
    attachments: u64,
    proposers: BTreeMap<NodeId, Proposer>,
    /// Who got a message of each group last.
    turns: Turns,
}

#[derive(Serialize, Deserialize)]
struct EntryForm {
    progress: Progress,
    qos: QoS,
    retain: bool,
    /// Place among the messages.
    message: Option<u32>,
    subscription_ids: Vec<SubscriptionId>,
    share: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct StoredWillForm {
    message: Message,
    message_expiry_seconds: Option<u32>,
    delay_seconds: u32,
}

#[derive(Serialize, Deserialize)]
struct RecordForm {
    client_id: ClientId,
    username: Option<Arc<str>>,
    expiry_seconds: u32,
    attachment: u64,
    holder: Option<Holder>,
    expires_at: Millis,
    will: Option<StoredWillForm>,
    will_at: Millis,
    subscriptions: Vec<SubscriptionState>,
    queue: Vec<EntryForm>,
    first_seq: u64,
    sent_to: u64,
    inbound: Vec<PacketId>,
}

/// Messages by their place in the snapshot.
#[derive(Default)]
struct Messages {
    places: HashMap<*const Message, u32>,
    messages: Vec<Arc<Message>>,
}

impl Messages {
    fn gather(records: &[Arc<Record>]) -> Self {
        let mut all = Self::default();
        for record in records {
            for message in record.queue.iter().filter_map(|entry| entry.message.as_ref()) {
                let next = all.messages.len() as u32;
                if *all.places.entry(Arc::as_ptr(message)).or_insert(next) == next {
                    all.messages.push(Arc::clone(message));
                }
            }
        }
        all
    }
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
        SessionsSnapshot { control: form, records, delayed }
    }

    /// Replaces everything by a snapshot's.
    pub(crate) fn install(&self, snapshot: SessionsSnapshot) {
        let ControlForm { attachments, proposers, turns } = snapshot.control;
        let delayed = snapshot.delayed;
        let control = Control { attachments, proposers, delayed, ..Control::default() };
        self.replace(control, snapshot.records, turns);
    }
}

impl SessionsSnapshot {
    /// Appends the sessions; `None` when they can't be encoded, which none cause.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        put(&self.control, out)?;
        let all = Messages::gather(&self.records);
        out.put_u64_le(all.messages.len() as u64);
        for message in &all.messages {
            put(&**message, out)?;
        }
        out.put_u64_le(self.records.len() as u64);
        for record in &self.records {
            put(&form_of(record, &all.places), out)?;
        }
        out.put_u64_le(self.delayed.last());
        let held = self.delayed.iter();
        out.put_u64_le(held.len() as u64);
        for one in held {
            put(&one, out)?;
        }
        Some(())
    }

    /// Reads what [`Self::encode`] wrote, and leaves what is behind it. Earlier versions had no
    /// delayed messages.
    pub(crate) fn decode(bytes: &mut Bytes, has_delayed: bool) -> Option<Self> {
        let control = take(bytes)?;
        let count = bytes.try_get_u64_le().ok()?;
        let mut messages: Vec<Arc<Message>> = Vec::new();
        for _ in 0..count {
            messages.push(Arc::new(take(bytes)?));
        }
        let count = bytes.try_get_u64_le().ok()?;
        let mut records = Vec::new();
        for _ in 0..count {
            records.push(Arc::new(record_of(take(bytes)?, &messages)?));
        }
        let delayed = match has_delayed {
            true => decode_delayed(bytes)?,
            false => Delayed::default(),
        };
        Some(Self { control, records, delayed })
    }
}

fn decode_delayed(bytes: &mut Bytes) -> Option<Delayed> {
    let last = bytes.try_get_u64_le().ok()?;
    let count = bytes.try_get_u64_le().ok()?;
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(take(bytes)?);
    }
    Some(Delayed::from_parts(last, held))
}

fn form_of(record: &Record, places: &HashMap<*const Message, u32>) -> RecordForm {
    let place = |message: &Arc<Message>| places.get(&Arc::as_ptr(message)).copied();
    let queue = record.queue.iter().map(|entry| EntryForm {
        progress: entry.progress,
        qos: entry.qos,
        retain: entry.retain,
        message: entry.message.as_ref().and_then(place),
        subscription_ids: entry.subscription_ids.as_deref().unwrap_or_default().to_vec(),
        share: entry.share.clone(),
    });
    RecordForm {
        client_id: record.client_id.clone(),
        username: record.username.clone(),
        expiry_seconds: record.expiry_seconds,
        attachment: record.attachment,
        holder: record.holder,
        expires_at: record.expires_at,
        will: record.will.as_ref().map(|will| StoredWillForm {
            message: Message::clone(&will.message),
            message_expiry_seconds: will.message_expiry_seconds,
            delay_seconds: will.delay_seconds,
        }),
        will_at: record.will_at,
        subscriptions: record.subscriptions.to_vec(),
        queue: queue.collect(),
        first_seq: record.first_seq,
        sent_to: record.sent_to,
        inbound: record.inbound.iter().copied().collect(),
    }
}

fn record_of(form: RecordForm, messages: &[Arc<Message>]) -> Option<Record> {
    let mut record = Record::new(form.client_id);
    for entry in form.queue {
        let message = match entry.message {
            Some(place) => Some(Arc::clone(messages.get(place as usize)?)),
            None => None,
        };
        let ids = entry.subscription_ids;
        record.queue.push_back(Entry {
            progress: entry.progress,
            qos: entry.qos,
            retain: entry.retain,
            message,
            subscription_ids: (!ids.is_empty()).then(|| ids.into()),
            share: entry.share,
        });
    }
    let live = record.queue.iter().filter(|entry| entry.progress != Progress::Done);
    record.messages = live.clone().count() as u64;
    record.bytes = live.map(Entry::bytes).sum();
    Some(Record {
        username: form.username,
        expiry_seconds: form.expiry_seconds,
        attachment: form.attachment,
        holder: form.holder,
        expires_at: form.expires_at,
        will: form.will.map(|will| StoredWill {
            message: Arc::new(will.message),
            message_expiry_seconds: will.message_expiry_seconds,
            delay_seconds: will.delay_seconds,
        }),
        will_at: form.will_at,
        subscriptions: form.subscriptions.into(),
        first_seq: form.first_seq,
        sent_to: form.sent_to,
        inbound: form.inbound.into_iter().collect(),
        ..record
    })
}

fn put<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    out.put_u32_le(0);
    *out = postcard::to_extend(value, std::mem::take(out)).ok()?;
    let length = u32::try_from(out.len() - start - 4).ok()?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Some(())
}

fn take<T: serde::de::DeserializeOwned>(bytes: &mut Bytes) -> Option<T> {
    let length = bytes.try_get_u32_le().ok()? as usize;
    if length > bytes.remaining() {
        return None;
    }
    postcard::from_bytes(&bytes.split_to(length)).ok()
}
