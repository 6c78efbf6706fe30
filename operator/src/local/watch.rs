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
        Self { told, _watcher: watcher }
    }

    /// Ends when the folder should be read again. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        match tokio::time::timeout(LOOK, self.told.recv()).await {
            Ok(Some(())) => {
                tokio::time::sleep(SETTLE).await;
                while self.told.try_recv().is_ok() {}
            }
            // The watcher is gone, so the sender is.
            Ok(None) => tokio::time::sleep(LOOK).await,
            Err(_) => {}
        }
    }
}
