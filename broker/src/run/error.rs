//! Why the broker does not start, or goes on no more.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{AloneError, LoadError};
use crate::cluster::meta::MetaError;
use crate::identity::IdentityError;
use crate::listener::BindError;
use crate::storage::DataDirectoryError;
use crate::tls::TlsError;

/// Why the broker did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration can't be used.
    #[error("load the configuration")]
    Config {
        /// Why.
        source: LoadError,
    },
    /// A member of a cluster has no name.
    #[error("say which broker of the cluster this is: --name NAME, for example fleet-0")]
    NoName,
    /// A broker that stands alone can't begin.
    #[error("stand alone")]
    Alone {
        /// Why.
        source: AloneError,
    },
    /// The paths of the peer files need an ordinal.
    #[error(
        "the configuration's peer files are named by ordinal, but the broker's name {name:?} does \
         not end in \"-\" and a number: start it as {name}-0, or name the files without {{ordinal}}"
    )]
    NoOrdinal {
        /// The name.
        name: String,
    },
    /// The data directory can't be used.
    #[error("open the data directory")]
    DataDirectory {
        /// Why.
        source: DataDirectoryError,
    },
    /// The data directory is not this broker's.
    #[error("take up the identity of the data directory")]
    Identity {
        /// Why.
        source: IdentityError,
    },
    /// The TLS files can't be used.
    #[error("load TLS files")]
    Tls {
        /// Why.
        source: TlsError,
    },
    /// A listener's port can't be had.
    #[error("open a listener")]
    Listener {
        /// Which, and why.
        source: BindError,
    },
    /// Another port can't be had.
    #[error("{what}: bind {address}")]
    Bind {
        /// The key in the configuration.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The meta group can't start.
    #[error("start consensus in {}", path.display())]
    Meta {
        /// The data directory.
        path: PathBuf,
        /// Why.
        source: MetaError,
    },
    /// The system gives no thread, or the thread no runtime.
    #[error("start the thread {name:?}")]
    Thread {
        /// The thread.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A thread ended before it was ready.
    #[error("the thread {name:?} ended while it was starting")]
    Ended {
        /// The thread.
        name: &'static str,
    },
    /// Signals can't be taken over.
    #[error("listen to signals")]
    Signals {
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a broker that ran has ended, other than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Consensus has stopped: the disk failed, or there is a bug. Nothing can be kept any more.
    #[error("consensus has stopped: {reason}")]
    Consensus {
        /// Why.
        reason: String,
    },
    /// A queued message can't be read back from the disk. Another start finds it in log and snapshot.
    #[error(
        "{reason}: the file that it was moved to is damaged. Start this broker again: it reads its \
         messages anew; if this comes again, the disk is failing"
    )]
    MessageLost {
        /// What the disk said.
        reason: String,
    },
    /// A listener, the admin API or the watch over TLS files has ended by itself.
    #[error("a task of the main thread has ended")]
    Task,
    /// A worker has ended by itself.
    #[error("a worker has ended: {reason}")]
    Worker {
        /// Why.
        reason: String,
    },
}
