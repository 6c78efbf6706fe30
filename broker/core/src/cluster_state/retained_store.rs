//! The retained messages, in the order of their topics. Pure; read by workers while the cluster
//! thread writes.
//!
//! Messages lie in chunks that are copied only when they change while a snapshot holds them, so
//! a snapshot costs a pass over the chunks, not over the messages.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::command::RetainedLimits;
use crate::retained::{RetainedChange, RetainedMessage, RetainedSearch, RetainedSource};
use crate::topic;
use crate::types::Millis;

/// Messages of a chunk from which it is split in two.
const CHUNK_MESSAGES_MAX: usize = 256;

/// A topic with its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) topic: Arc<str>,
    pub(super) message: Arc<RetainedMessage>,
}

impl Item {
    fn bytes(&self) -> u64 {
        (self.topic.len() + self.message.bytes()) as u64
    }
}

/// Sorted by topic, never empty.
pub(super) type Chunk = Vec<Item>;

/// Chunks by their lowest possible topic: one holds the topics from its key up to the next key.
/// The first chunk's key is the empty string.
pub(super) type Chunks = BTreeMap<Arc<str>, Arc<Chunk>>;

/// Builds chunks from items in the order of their topics.
#[derive(Default)]
pub(super) struct ChunksBuilder {
    chunks: Chunks,
    last: Chunk,
}

impl ChunksBuilder {
    /// False when the item does not come after those before it.
    pub(super) fn push(&mut self, item: Item) -> bool {
        if self.last.last().is_some_and(|last| last.topic >= item.topic) {
            return false;
        }
        // Half full, so that the next insertion does not split at once.
        if self.last.len() == CHUNK_MESSAGES_MAX / 2 {
            self.end_chunk();
            self.last = Vec::with_capacity(CHUNK_MESSAGES_MAX / 2);
        }
        self.last.push(item);
        true
    }

    pub(super) fn finish(mut self) -> Chunks {
        if !self.last.is_empty() {
            self.end_chunk();
        }
        self.chunks
    }

    fn end_chunk(&mut self) {
        let key = if self.chunks.is_empty() { "".into() } else { Arc::clone(&self.last[0].topic) };
        self.chunks.insert(key, Arc::new(std::mem::take(&mut self.last)));
    }
}

/// How much is retained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetainedTotals {
    /// Messages, expired ones that were not dropped yet included.
    pub messages: u64,
    /// Bytes of topics, properties and payloads.
    pub bytes: u64,
}

/// Why a message is not retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetainedRefusal {
    /// There are as many as there may be.
    #[error("{max} messages are retained already: raise retained.messagesMax or clear some")]
    Messages {
        /// The limit.
        max: u64,
    },
    /// They take as many bytes as they may.
    #[error("retained messages may take {max} bytes: raise retained.bytesMax or clear some")]
    Bytes {
        /// The limit.
        max: u64,
    },
}

#[derive(Debug, Default)]
struct Content {
    chunks: Chunks,
    totals: RetainedTotals,
    /// Messages that expire, by when.
    expiring: BTreeSet<(Millis, Arc<str>)>,
}

/// All retained messages of the cluster, as of the last applied log entry.
#[derive(Debug, Default)]
pub struct RetainedStore {
    content: RwLock<Content>,
}

impl RetainedStore {
    /// How much is retained.
    #[must_use]
    pub fn totals(&self) -> RetainedTotals {
        self.read().totals
    }

    /// The message of one topic, expired or not.
    #[must_use]
    pub fn message(&self, topic: &str) -> Option<Arc<RetainedMessage>> {
        let content = self.read();
        content.item(topic).map(|item| Arc::clone(&item.message))
    }

    /// When the next message expires; `None` when none of them does.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        self.read().expiring.first().map(|(at, _)| *at)
    }

    /// The messages as of now, for a snapshot.
    pub(super) fn chunks(&self) -> Chunks {
        self.read().chunks.clone()
    }

    /// Replaces everything, as a snapshot that is installed does.
    pub(super) fn replace(&self, chunks: Chunks) {
        let mut content = Content::default();
        for item in chunks.values().flat_map(|chunk| chunk.iter()) {
            content.account(item);
        }
        content.chunks = chunks;
        *self.write() = content;
    }

    /// Holds the messages for a batch of changes; readers wait until it is dropped.
    pub(super) fn begin(&self) -> RetainedWriter<'_> {
        RetainedWriter { content: None, store: self }
    }

    fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Content> {
        self.content.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Changes of one batch; takes the lock with the first of them.
pub(super) struct RetainedWriter<'a> {
    store: &'a RetainedStore,
    content: Option<RwLockWriteGuard<'a, Content>>,
}

impl RetainedWriter<'_> {
    fn content(&mut self) -> &mut Content {
        self.content.get_or_insert_with(|| self.store.write())
    }

    /// Sets or takes away one message. A message that replaces one of its size or more always
    /// fits.
    pub(super) fn apply(
        &mut self,
        change: RetainedChange,
        limits: RetainedLimits,
    ) -> Result<(), RetainedRefusal> {
        let content = self.content();
        let Some(message) = change.message else {
            content.remove(&change.topic);
            return Ok(());
        };
        let item = Item { topic: Arc::from(change.topic), message: Arc::new(message) };
        let replaced = content.item(&item.topic).map(Item::bytes);
        let totals = content.totals;
        let messages = totals.messages + u64::from(replaced.is_none());
        let bytes = totals.bytes - replaced.unwrap_or(0) + item.bytes();
        if messages > totals.messages && messages > limits.messages_max {
            return Err(RetainedRefusal::Messages { max: limits.messages_max });
        }
        if bytes > totals.bytes && bytes > limits.bytes_max {
            return Err(RetainedRefusal::Bytes { max: limits.bytes_max });
        }
        content.set(item);
        Ok(())
    }

    /// Whether the message is what its topic retains.
    pub(super) fn holds(&self, message: &RetainedMessage) -> bool {
        match &self.content {
            Some(content) => content.holds(message),
            None => self.store.read().holds(message),
        }
    }

    /// Drops what expired at `now` or before, at most so many; returns how many.
    pub(super) fn expire(&mut self, now: Millis, messages_max: u32) -> u64 {
        let content = self.content();
        let mut dropped = 0;
        while dropped < messages_max {
            let Some((at, topic)) = content.expiring.first() else { break };
            if *at > now {
                break;
            }
            let topic = Arc::clone(topic);
            content.remove(&topic);
            dropped += 1;
        }
        u64::from(dropped)
    }
}

impl Content {
    fn account(&mut self, item: &Item) {
        self.totals.messages += 1;
        self.totals.bytes += item.bytes();
        let expires_at = item.message.expires_at();
        if expires_at != Millis::NEVER {
            self.expiring.insert((expires_at, Arc::clone(&item.topic)));
        }
    }

    fn discount(&mut self, item: &Item) {
        self.totals.messages -= 1;
        self.totals.bytes -= item.bytes();
        self.expiring.remove(&(item.message.expires_at(), Arc::clone(&item.topic)));
    }

    fn holds(&self, message: &RetainedMessage) -> bool {
        self.item(message.topic()).is_some_and(|item| *item.message == *message)
    }

    fn item(&self, topic: &str) -> Option<&Item> {
        let (_, chunk) = chunk_of(&self.chunks, topic)?;
        let position = chunk.binary_search_by(|item| (*item.topic).cmp(topic)).ok()?;
        Some(&chunk[position])
    }

    fn set(&mut self, item: Item) {
        let entered = item.clone();
        let key = match chunk_of(&self.chunks, &item.topic) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(""),
        };
        let chunk = Arc::make_mut(self.chunks.entry(key).or_default());
        let replaced = match chunk.binary_search_by(|other| other.topic.cmp(&item.topic)) {
            Ok(position) => Some(std::mem::replace(&mut chunk[position], item)),
            Err(position) => {
                chunk.insert(position, item);
                None
            }
        };
        if chunk.len() > CHUNK_MESSAGES_MAX {
            let upper = chunk.split_off(chunk.len() / 2);
            let upper_key = Arc::clone(&upper[0].topic);
            self.chunks.insert(upper_key, Arc::new(upper));
        }
        if let Some(replaced) = replaced {
            self.discount(&replaced);
        }
        self.account(&entered);
    }

    fn remove(&mut self, topic: &str) {
        let Some((key, chunk)) = chunk_of(&self.chunks, topic) else { return };
        let Ok(position) = chunk.binary_search_by(|item| (*item.topic).cmp(topic)) else { return };
        let key = Arc::clone(key);
        let Some(chunk) = self.chunks.get_mut(&key) else { return };
        let removed = Arc::make_mut(chunk).remove(position);
        // The first chunk stays, so that there always is one at or below every topic.
        if chunk.is_empty() && !key.is_empty() {
            self.chunks.remove(&key);
        }
        self.discount(&removed);
    }
}

fn chunk_of<'a>(chunks: &'a Chunks, topic: &str) -> Option<(&'a Arc<str>, &'a Arc<Chunk>)> {
    chunks.range::<str, _>((Bound::Unbounded, Bound::Included(topic))).next_back()
}

impl RetainedSource for RetainedStore {
    fn for_each_match(
        &self,
        filter: &str,
        after: Option<&str>,
        now: Millis,
        budget: &mut usize,
        visit: &mut dyn FnMut(&RetainedMessage) -> ControlFlow<()>,
    ) -> RetainedSearch {
        let content = self.read();
        let prefix = literal_prefix(filter);
        let is_literal = prefix.len() == filter.len();
        let first = after.unwrap_or("").max(prefix);
        let start = chunk_of(&content.chunks, first).map_or("", |(key, _)| &**key);
        let chunks = content.chunks.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let is_before = |topic: &str| topic < first || after.is_some_and(|after| topic <= after);
        let mut last = after;
        for (_, chunk) in chunks {
            for item in &chunk[chunk.partition_point(|item| is_before(&item.topic))..] {
                let topic = &*item.topic;
                if !topic.starts_with(prefix) || (is_literal && topic != filter) {
                    return RetainedSearch::Done;
                }
                let Some(left) = budget.checked_sub(1) else {
                    return RetainedSearch::Stopped { after: last.map(Box::from) };
                };
                *budget = left;
                let is_live = item.message.expires_at() > now;
                if is_live && topic::matches(filter, topic) && visit(&item.message).is_break() {
                    return RetainedSearch::Stopped { after: last.map(Box::from) };
                }
                last = Some(topic);
            }
        }
        RetainedSearch::Done
    }
}

/// What every topic that matches the filter starts with. `a/b/#` matches `a/b` too, so the
/// separator before a `#` is not part of it.
fn literal_prefix(filter: &str) -> &str {
    match filter.find(['+', '#']) {
        None => filter,
        Some(position) => {
            let prefix = &filter[..position];
            match filter[position..].starts_with('#') {
                true => prefix.strip_suffix('/').unwrap_or(prefix),
                false => prefix,
            }
        }
    }
}

#[cfg(test)]
#[path = "retained_store_test.rs"]
mod tests;
