//! Where clients come in: bound sockets, limits, and the hand-over to a worker.
//!
//! Layer: above node, below run. IO. A listener is bound when the process starts, so that a taken
//! port is found at once, and listens only while the node serves.

mod accept;
mod rate;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use broker_config::Listener;
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::node::{ListenerCounters, ListenerId};

pub use accept::run;
pub use rate::TokenBucket;

/// Connections that the kernel keeps until they are accepted: a second's worth of a storm.
const BACKLOG: i32 = 4_096;

/// A port can't be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {name:?}: bind {address}")]
pub struct BindError {
    /// The listener.
    pub name: String,
    /// What it was to bind.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// A listener with its port.
#[derive(Debug)]
pub struct BoundListener {
    /// Its place in the configuration.
    pub id: ListenerId,
    /// Its configuration.
    pub listener: Listener,
    /// The address it has; the port is the actual one.
    pub address: SocketAddr,
    /// What it publishes.
    pub counters: Arc<ListenerCounters>,
    socket: Option<Socket>,
}

impl BoundListener {
    /// Takes the port, without listening yet: a client is refused until the node serves.
    ///
    /// # Errors
    /// [`BindError`] when the address can't be had.
    pub fn bind(id: ListenerId, listener: Listener) -> Result<Self, BindError> {
        let failed = |address, source| BindError { name: listener.name.clone(), address, source };
        let wanted = listener.bind;
        let (socket, address) = match bind(wanted) {
            Err(error) if wanted.ip().is_unspecified() && is_without_ipv6(&error) => {
                let wanted = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), wanted.port());
                bind(wanted).map_err(|error| failed(wanted, error))?
            }
            other => other.map_err(|error| failed(wanted, error))?,
        };
        let counters = Arc::default();
        Ok(Self { id, listener, address, counters, socket: Some(socket) })
    }

    /// What it publishes, with its name.
    #[must_use]
    pub fn published(&self) -> (String, Arc<ListenerCounters>) {
        (self.listener.name.clone(), Arc::clone(&self.counters))
    }

    /// A socket that listens.
    fn open(&mut self) -> io::Result<std::net::TcpListener> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => bind(self.address)?.0,
        };
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    }
}

fn bind(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified address stands for IPv4 too, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    let actual = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, actual))
}

/// Whether the system has no IPv6 at all.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}
