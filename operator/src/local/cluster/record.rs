//! What must not be forgotten of a cluster: its identity, that it was founded, its ports. IO: one file.

use std::collections::BTreeMap;

use operator_core::cluster::new_cluster_id;
use serde::{Deserialize, Serialize};

use super::super::ports::BrokerPorts;
use super::super::state::{StateDir, StateError, write_private};
use crate::random;

/// The record of one cluster, in `clusters/<cluster>/cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterRecord {
    /// Issued once.
    #[serde(rename = "clusterID")]
    pub(crate) cluster_id: String,
    /// Whether the brokers' group was founded.
    pub(crate) founded: bool,
    /// How many brokers run, or would if the program did.
    pub(crate) replicas: u16,
    /// By broker.
    #[serde(default)]
    pub(crate) ports: BTreeMap<String, BrokerPorts>,
}

impl ClusterRecord {
    /// The record of `cluster`; a new one, with a new identity, when there is none.
    ///
    /// # Errors
    /// It is there and can't be read: a new identity would orphan the brokers' data.
    pub(crate) fn open(state: &StateDir, cluster: &str, replicas: u16) -> Result<Self, String> {
        let path = state.path(Self::below(cluster));
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let cluster_id =
                    new_cluster_id(jiff::Timestamp::now().as_millisecond(), random::bytes());
                return Ok(Self { cluster_id, founded: false, replicas, ports: BTreeMap::new() });
            }
            Err(error) => return Err(format!("{} can't be read: {error}", path.display())),
        };
        serde_json::from_slice(&text).map_err(|error| {
            format!(
                "{} can't be read: {error}; repair it, or remove the state folder to begin anew",
                path.display()
            )
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn save(&self, state: &StateDir, cluster: &str) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_private(&state.path(Self::below(cluster)), &text)
    }

    fn below(cluster: &str) -> String {
        format!("clusters/{cluster}/cluster.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_issued_once() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        let record = ClusterRecord::open(&state, "fleet", 3).unwrap();
        assert_eq!(record.cluster_id.len(), 26);
        record.save(&state, "fleet").unwrap();
        assert_eq!(ClusterRecord::open(&state, "fleet", 5).unwrap(), record);
    }

    #[test]
    fn a_damaged_record_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        write_private(&dir.path().join("clusters/fleet/cluster.json"), b"{").unwrap();
        let problem = ClusterRecord::open(&state, "fleet", 3).unwrap_err();
        assert!(problem.contains("cluster.json can't be read"), "{problem}");
    }
}
