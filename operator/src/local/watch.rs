//! Notices that something in the folder of manifests changed. IO.
//!
//! The kernel tells; where it can't (some network and container file systems), and in case it missed something, a look every two
//! seconds does.

use std::path::Path;
use std::time::Duration;

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// Changes told but not yet looked at; more say nothing new.
const CHANGES_MAX: usize = 1;
/// How long after a change its neighbours are waited for: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(10);
/// How often it is looked without having been told.
const LOOK: Duration = Duration::from_secs(2);

/// Watches one folder.
#[derive(Debug)]
pub(crate) struct FolderWatch {
    told: mpsc::Receiver<()>,
    /// A change was told and its neighbours are waited for.
    is_settling: bool,
    _watcher: Option<notify::RecommendedWatcher>,
}

impl FolderWatch {
    pub(crate) fn new(folder: &Path) -> Self {
        let (tell, told) = mpsc::channel(CHANGES_MAX);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let is_reading = event.is_ok_and(|event| event.kind.is_access());
            if !is_reading {
                // Full: a change is told already.
                let _ = tell.try_send(());
            }
        });
        let watcher = watcher.ok().and_then(|mut watcher| {
            watcher.watch(folder, RecursiveMode::NonRecursive).ok()?;
            Some(watcher)
        });
        if watcher.is_none() {
            tracing::warn!(
                folder = %folder.display(),
                "the system does not tell of changes in this folder; it is looked at every two seconds"
            );
        }
        Self { told, is_settling: false, _watcher: watcher }
    }

    /// Ends when the folder should be read again. Cancel-safe: a change that was told is not forgotten.
    pub(crate) async fn changed(&mut self) {
        if !self.is_settling {
            match tokio::time::timeout(LOOK, self.told.recv()).await {
                Ok(Some(())) => self.is_settling = true,
                // The watcher is gone, so the sender is.
                Ok(None) => return tokio::time::sleep(LOOK).await,
                Err(_) => return,
            }
        }
        tokio::time::sleep(SETTLE).await;
        while self.told.try_recv().is_ok() {}
        self.is_settling = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_told_even_when_waiting_for_it_was_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(dir.path());
        std::fs::write(dir.path().join("a.yaml"), "x").unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while !watch.is_settling {
            assert!(tokio::time::Instant::now() < deadline);
            // Given up while the change settles.
            let _ = tokio::time::timeout(Duration::from_millis(5), watch.changed()).await;
        }
        watch.changed().await;
        assert!(!watch.is_settling);
    }
}
