//! What stands in a snapshot of a session. Pure data.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::router::Message;
use crate::session::SubscriptionState;
use crate::shard::Holder;
use crate::shard::control::Proposer;
use crate::shard::record::{Entry, Progress, Record, StoredWill};
use crate::shard::store::Turns;
use crate::stored::StoredMessage;
use crate::types::{ClientId, Millis, NodeId, PacketId, QoS, SubscriptionId};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ControlForm {
    pub(super) attachments: u64,
    pub(super) proposers: BTreeMap<NodeId, Proposer>,
    /// Who got a message of each group last.
    pub(super) turns: Turns,
}

#[derive(Serialize, Deserialize)]
pub(super) struct EntryForm {
    progress: Progress,
    qos: QoS,
    retain: bool,
    /// Place among the messages.
    message: Option<u32>,
    subscription_ids: Vec<SubscriptionId>,
    share: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredWillForm {
    message: Message,
    message_expiry_seconds: Option<u32>,
    delay_seconds: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordForm {
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

/// The form of a session; `places` are those of its messages, in order.
pub(super) fn form_of(record: &Record, places: &[Option<u32>]) -> RecordForm {
    let queue = record.queue.iter().zip(places).map(|(entry, place)| EntryForm {
        progress: entry.progress,
        qos: entry.qos,
        retain: entry.retain,
        message: *place,
        subscription_ids: entry.subscription_ids().unwrap_or_default().to_vec(),
        share: entry.share().cloned(),
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

/// The session of a form; `None` where it names a message that there is not.
pub(super) fn record_of(form: RecordForm, messages: &[StoredMessage]) -> Option<Record> {
    let mut record = Record::new(form.client_id);
    for entry in form.queue {
        let message = match entry.message {
            Some(place) => Some(messages.get(place as usize)?.clone()),
            None => None,
        };
        let ids = entry.subscription_ids;
        let ids = (!ids.is_empty()).then(|| ids.into());
        let kept = Entry::restored(message, entry.progress, (entry.qos, entry.retain));
        record.queue.push_back(kept.by(ids, entry.share));
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
