//! Who a data directory is: its node id, its cluster and its broker's name. IO.
//!
//! Written once, when the directory is first used. A directory of another cluster is refused, so
//! that a disk that was attached to the wrong broker harms neither cluster.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use broker_core::types::NodeId;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use crate::storage::{DataDirectory, write_file_atomically};

/// Version of the identity file's layout.
const VERSION: u32 = 1;

/// Its name in the data directory.
pub const FILE_NAME: &str = "identity.json";

/// The identity of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Random, drawn when the directory was first used.
    pub node_id: NodeId,
    /// The cluster that the directory belongs to.
    pub cluster_id: String,
    /// Name of the broker that it belongs to.
    pub name: String,
}

/// Why a data directory has no usable identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file can't be read or written.
    #[error("access the identity file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("identity file {} is damaged: restore it, or start with an empty data directory", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The node id is not 16 hexadecimal digits.
    #[error("identity file {} has no valid node id: {found:?}", path.display())]
    BadNodeId {
        /// The file.
        path: PathBuf,
        /// What stands there.
        found: String,
    },
    /// A later version has written it.
    #[error("identity file {} has version {version}, this broker reads up to {VERSION}: run a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The directory belongs to another cluster.
    #[error(
        "data directory {} belongs to cluster {found}, this broker is configured for {expected}: \
         give it the right volume or an empty one", path.display()
    )]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The directory belongs to another broker of the cluster.
    #[error(
        "data directory {} belongs to broker {found}, this broker is {expected}: \
         give it its own volume or an empty one", path.display()
    )]
    ForeignBroker {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The directory belongs to a cluster, this broker stands alone.
    #[error(
        "data directory {} belongs to cluster {found}, this broker stands alone: give it another \
         one, or the configuration of its cluster", path.display()
    )]
    OfACluster {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found: String,
    },
    /// The directory has a log but nothing says whose.
    #[error(
        "data directory {} holds a log but no identity file: restore {FILE_NAME}, or start with an \
         empty directory", path.display()
    )]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The system gives no random numbers.
    #[error("draw a node id: the system gives no random numbers")]
    NoRandomness,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    /// 16 hexadecimal digits: JSON numbers lose precision at 53 bits.
    node_id: String,
    cluster_id: String,
    name: String,
}

#[derive(Deserialize)]
struct FileVersion {
    version: u32,
}

impl Identity {
    /// Reads the directory's identity, or gives it one when it is new.
    ///
    /// # Errors
    /// `ForeignCluster` and `ForeignBroker` when it belongs to someone else, `Missing` when it
    /// holds a log without an identity, and what can be wrong with the file.
    pub fn open(
        directory: &DataDirectory,
        cluster_id: &str,
        name: &str,
    ) -> Result<Self, IdentityError> {
        let path = directory.path().join(FILE_NAME);
        let identity = match fs::read(&path) {
            Ok(content) => parse(&path, &content)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return create(directory, path, cluster_id, name);
            }
            Err(source) => return Err(IdentityError::Io { path, source }),
        };
        let path = directory.path().to_owned();
        if identity.cluster_id != cluster_id {
            let expected = cluster_id.to_owned();
            return Err(IdentityError::ForeignCluster {
                path,
                found: identity.cluster_id,
                expected,
            });
        }
        if identity.name != name {
            let expected = name.to_owned();
            return Err(IdentityError::ForeignBroker { path, found: identity.name, expected });
        }
        Ok(identity)
    }
}

/// What the id of a cluster begins with that a broker has founded itself.
const ALONE: &str = "alone";

impl Identity {
    /// As [`Identity::open`], for a broker that stands alone: its cluster is one that the directory
    /// names, or a new one.
    ///
    /// # Errors
    /// As [`Identity::open`], and `OfACluster` when an operator has issued the cluster's id.
    pub fn open_alone(directory: &DataDirectory, name: &str) -> Result<Self, IdentityError> {
        let path = directory.path().join(FILE_NAME);
        let cluster_id = match fs::read(&path) {
            Ok(content) => parse(&path, &content)?.cluster_id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("{ALONE}{:016x}", random()?)
            }
            Err(source) => return Err(IdentityError::Io { path, source }),
        };
        if !cluster_id.starts_with(ALONE) {
            let path = directory.path().to_owned();
            return Err(IdentityError::OfACluster { path, found: cluster_id });
        }
        Self::open(directory, &cluster_id, name)
    }

    /// Gives the directory of a broker that stands alone an identity again, after the one that it had
    /// was set aside: of the node that its log and snapshots are of, if they are of any. The cluster
    /// is a new one: nobody else knew the one before.
    ///
    /// # Errors
    /// `Io`, `NoRandomness`.
    pub fn restore_alone(
        directory: &DataDirectory,
        node_id: Option<NodeId>,
        name: &str,
    ) -> Result<Self, IdentityError> {
        let node_id = match node_id {
            Some(node_id) => node_id,
            None => NodeId(random()?),
        };
        let cluster_id = format!("{ALONE}{:016x}", random()?);
        let identity = Self { node_id, cluster_id, name: name.to_owned() };
        identity.write(directory.path().join(FILE_NAME))?;
        Ok(identity)
    }

    fn write(&self, path: PathBuf) -> Result<(), IdentityError> {
        let file = File {
            version: VERSION,
            node_id: self.node_id.to_string(),
            cluster_id: self.cluster_id.clone(),
            name: self.name.clone(),
        };
        let mut content = serde_json::to_vec_pretty(&file)
            .map_err(|source| IdentityError::Damaged { path: path.clone(), source })?;
        content.push(b'\n');
        write_file_atomically(&path, &content).map_err(|source| IdentityError::Io { path, source })
    }
}

impl IdentityError {
    /// Whether the file is not what was written, by this version.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::BadNodeId { .. })
    }
}

fn random() -> Result<u64, IdentityError> {
    let mut bytes = [0u8; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| IdentityError::NoRandomness)?;
    Ok(u64::from_le_bytes(bytes))
}

fn parse(path: &Path, content: &[u8]) -> Result<Identity, IdentityError> {
    let damaged = |source| IdentityError::Damaged { path: path.to_owned(), source };
    let FileVersion { version } = serde_json::from_slice(content).map_err(damaged)?;
    if version > VERSION {
        return Err(IdentityError::Newer { path: path.to_owned(), version });
    }
    let file: File = serde_json::from_slice(content).map_err(damaged)?;
    match file.node_id.parse::<broker_admin_api::NodeId>() {
        Ok(id) => {
            Ok(Identity { node_id: NodeId(id.0), cluster_id: file.cluster_id, name: file.name })
        }
        Err(_) => Err(IdentityError::BadNodeId { path: path.to_owned(), found: file.node_id }),
    }
}

fn create(
    directory: &DataDirectory,
    path: PathBuf,
    cluster_id: &str,
    name: &str,
) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::Io { path: path.clone(), source };
    let has_log = fs::read_dir(directory.log_path()).map_err(failed)?.next().is_some();
    if has_log {
        // A new id for an old log would be two nodes in one.
        return Err(IdentityError::Missing { path: directory.path().to_owned() });
    }
    let identity = Identity {
        node_id: NodeId(random()?),
        cluster_id: cluster_id.to_owned(),
        name: name.to_owned(),
    };
    identity.write(path)?;
    tracing::info!(node_id = %identity.node_id, name, cluster_id, "new data directory");
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_identity_is_drawn_once_and_kept() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(temporary.path()).unwrap();
        let first = Identity::open(&directory, "01K", "fleet-0").unwrap();
        let again = Identity::open(&directory, "01K", "fleet-0").unwrap();
        assert_eq!(first, again);
        let mode = fs::metadata(temporary.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_directory_of_another_cluster_or_broker_is_refused_by_name() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(temporary.path()).unwrap();
        Identity::open(&directory, "01K", "fleet-0").unwrap();
        let error = Identity::open(&directory, "02K", "fleet-0").unwrap_err();
        assert!(matches!(error, IdentityError::ForeignCluster { .. }));
        assert!(error.to_string().contains("cluster 01K"), "{error}");
        let error = Identity::open(&directory, "01K", "fleet-1").unwrap_err();
        assert!(matches!(error, IdentityError::ForeignBroker { .. }), "{error}");
    }

    #[test]
    fn a_log_without_an_identity_gets_none() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(temporary.path()).unwrap();
        fs::write(directory.log_path().join("0000000000000001.log"), b"x").unwrap();
        let error = Identity::open(&directory, "01K", "fleet-0").unwrap_err();
        assert!(matches!(error, IdentityError::Missing { .. }), "{error}");
    }

    #[test]
    fn a_newer_or_damaged_identity_file_is_refused() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(temporary.path()).unwrap();
        let path = temporary.path().join(FILE_NAME);
        let open = || Identity::open(&directory, "01K", "fleet-0").unwrap_err();
        fs::write(&path, r#"{"version": 7, "other": 1}"#).unwrap();
        assert!(matches!(open(), IdentityError::Newer { version: 7, .. }));
        fs::write(&path, "{").unwrap();
        assert!(matches!(open(), IdentityError::Damaged { .. }));
        fs::write(&path, r#"{"version":1,"node_id":"12","cluster_id":"01K","name":"fleet-0"}"#)
            .unwrap();
        assert!(matches!(open(), IdentityError::BadNodeId { .. }));
    }

    #[test]
    fn a_broker_that_stands_alone_keeps_its_own_cluster_and_takes_no_other() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(temporary.path()).unwrap();
        let first = Identity::open_alone(&directory, "alone").unwrap();
        assert_eq!(Identity::open_alone(&directory, "alone").unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(other.path()).unwrap();
        Identity::open(&directory, "01K", "fleet-0").unwrap();
        let error = Identity::open_alone(&directory, "fleet-0").unwrap_err();
        assert!(matches!(error, IdentityError::OfACluster { .. }), "{error}");
    }
}
