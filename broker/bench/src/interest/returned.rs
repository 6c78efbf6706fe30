//! A broker that was killed and comes back: how soon the others have told it all filters.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use broker_admin_api::path;
use serde::Serialize;

use crate::brokers::{ANSWERS_WITHIN, Node};

/// How long that may take.
const KNOWS_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at its metrics: how exact the times are.
const LOOK: Duration = Duration::from_millis(5);

/// A broker that came back.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Returned {
    /// Seconds from the start of its process to the first link with another broker.
    pub linked_seconds: f64,
    /// Seconds from there until it knew all filters of the others.
    pub known_seconds: f64,
}

/// Kills the broker, starts it again, and waits until it knows so many filters of the others and is ready.
///
/// # Errors
/// It does not come back, or does not know them in time.
pub(super) fn measure(node: &mut Node, filters: usize) -> Result<Returned> {
    node.kill()?;
    let started = Instant::now();
    node.start()?;
    let (mut linked, mut known_at) = (None, None);
    loop {
        // It does not answer at first.
        if let Ok((200, metrics)) = node.admin.call("GET", path::METRICS, "", ANSWERS_WITHIN) {
            let value = |name: &str| value(&metrics, name);
            let has_links = ["dialled", "accepted"].iter().any(|direction| {
                value(&format!("mqtt_broker_peer_links{{direction=\"{direction}\"}}")) > Some(0.0)
            });
            if linked.is_none() && has_links {
                linked = Some(started.elapsed());
            }
            let known = value("mqtt_broker_interest_filters{of=\"peers\"}").unwrap_or(0.0);
            if let Some(linked) = linked.filter(|_| known >= filters as f64) {
                let known = *known_at.get_or_insert_with(|| started.elapsed());
                // It takes clients a moment later.
                let readiness = node.admin.call("GET", path::READYZ, "", ANSWERS_WITHIN);
                if readiness.is_ok_and(|(code, _)| code == 200) {
                    let known_seconds = (known - linked).as_secs_f64();
                    return Ok(Returned { linked_seconds: linked.as_secs_f64(), known_seconds });
                }
            }
        }
        ensure!(
            started.elapsed() < KNOWS_WITHIN,
            "{} did not know {filters} filters, or was not ready, {KNOWS_WITHIN:?} after its start: {}",
            node.name,
            node.log.display()
        );
        std::thread::sleep(LOOK);
    }
}

/// The value of a metric, named as its line begins.
fn value(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

impl fmt::Display for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a killed broker is linked {:.2} s after its start, and knows all filters {:.2} s later",
            self.linked_seconds, self.known_seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let metrics = "# HELP a b\na_b 1\na{of=\"own\"} 2\na{of=\"peers\"} 3\n";
        assert_eq!(value(metrics, "a{of=\"peers\"}"), Some(3.0));
        assert_eq!((value(metrics, "a_b"), value(metrics, "a")), (Some(1.0), None));
    }
}
