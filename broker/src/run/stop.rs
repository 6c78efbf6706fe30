//! The end: clients first, then the cluster, each within its time.

use std::thread::JoinHandle;
use std::time::Duration;

use super::Broker;
use crate::worker;

/// From the signal to the end of the process, whatever happens; below the 30 s that Kubernetes
/// gives.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Stops accepting, tells the clients, hands leadership over, and closes what is open.
pub(super) async fn stop(broker: Broker) {
    tracing::info!("stopping");
    let Broker { tls: _, policy: _, cluster, workers, mut tasks } = broker;
    // Acceptors and the admin API end where they wait; the ports are free with that.
    tasks.shutdown().await;
    let all = async {
        let threads = workers.stop().await;
        // While clients take their leave the cluster stays: what they sent last is still forwarded.
        if joined(threads, worker::STOP_TIMEOUT * 2).await.is_err() {
            tracing::warn!("workers did not end in time");
        }
        joined(vec![cluster.stop()], STOP_TIMEOUT).await
    };
    match tokio::time::timeout(STOP_TIMEOUT, all).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        Ok(Err(_)) | Err(_) => tracing::warn!("the cluster side did not end in time"),
    }
}

/// Waits for threads without holding up this one.
async fn joined<T: Send + 'static>(
    threads: Vec<JoinHandle<T>>,
    timeout: Duration,
) -> Result<(), tokio::time::error::Elapsed> {
    let joining = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread has panicked");
            }
        }
    });
    tokio::time::timeout(timeout, joining).await.map(drop)
}
