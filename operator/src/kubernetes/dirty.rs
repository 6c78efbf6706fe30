//! Clusters that something happened to: a set, so that a storm of changes costs one pass. IO.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::sync::Notify;

use super::scope::ClusterKey;

/// Clusters that something happened to; clones share one set. Its size is bounded by the number of
/// clusters that objects name.
#[derive(Clone, Debug, Default)]
pub(crate) struct DirtySet {
    keys: Arc<Mutex<BTreeSet<ClusterKey>>>,
    notify: Arc<Notify>,
}

impl DirtySet {
    /// Something happened to a cluster.
    pub(crate) fn mark(&self, key: ClusterKey) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        self.notify.notify_one();
    }

    /// Waits for a cluster that something happened to, and takes it out. One reader at a time.
    pub(crate) async fn next(&self) -> ClusterKey {
        loop {
            let first = self.keys.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(key) => return key,
                None => self.notify.notified().await,
            }
        }
    }

    /// The clusters as a stream without end. After the first one, `pause` passes before those that
    /// came meanwhile follow: a storm of changes neither causes as many passes nor holds them back.
    pub(crate) fn into_stream(
        self,
        pause: Duration,
    ) -> impl Stream<Item = ClusterKey> + Send + 'static {
        let batches = futures::stream::unfold(self, move |set| async move {
            let first = set.next().await;
            tokio::time::sleep(pause).await;
            let mut batch =
                std::mem::take(&mut *set.keys.lock().unwrap_or_else(PoisonError::into_inner));
            batch.insert(first);
            Some((futures::stream::iter(batch), set))
        });
        batches.flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_storm_of_changes_is_one() {
        let set = DirtySet::default();
        let key = |name: &str| ClusterKey { namespace: "iot".into(), name: name.into() };
        for _ in 0..1000 {
            set.mark(key("a"));
        }
        set.mark(key("b"));
        assert_eq!(set.next().await, key("a"));
        assert_eq!(set.next().await, key("b"));
        let empty = tokio::time::timeout(std::time::Duration::from_millis(1), set.next()).await;
        assert!(empty.is_err());
    }
}
