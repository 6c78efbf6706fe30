//! Bound sockets, TCP and Unix. IO.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use broker_config::{Bind, Listener};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::acceptor::Acceptor;
use crate::node::{ListenerCounters, ListenerId};

/// Connections that the kernel keeps until they are accepted: a second's worth of a storm.
const BACKLOG: i32 = 4_096;

/// Who may connect to a Unix socket: the broker's user and group.
const UNIX_SOCKET_MODE: u32 = 0o660;

/// A port or path can't be had.
#[derive(Debug, thiserror::Error)]
#[error("listener {name:?}: bind {place}")]
pub struct BindError {
    /// The listener.
    pub name: String,
    /// What it was to bind.
    pub place: Bind,
    /// What the system said.
    pub source: io::Error,
}

/// A listener with its port or path.
#[derive(Debug)]
pub struct BoundListener {
    /// Its place in the configuration.
    pub id: ListenerId,
    /// Its configuration.
    pub listener: Listener,
    /// Where it is bound; a port is the actual one.
    pub place: Bind,
    /// What it publishes.
    pub counters: Arc<ListenerCounters>,
    socket: Option<Socket>,
}

impl BoundListener {
    /// Takes the port or path, without listening yet: a client is refused until the node serves.
    ///
    /// # Errors
    /// [`BindError`] when it can't be had.
    pub fn bind(id: ListenerId, listener: Listener) -> Result<Self, BindError> {
        let failed = |place, source| BindError { name: listener.name.clone(), place, source };
        let (socket, place) = match &listener.bind {
            Bind::Tcp(wanted) if wanted.ip().is_unspecified() => match bind_tcp(*wanted) {
                Err(error) if is_without_ipv6(&error) => {
                    let wanted = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), wanted.port());
                    bind_tcp(wanted).map_err(|error| failed(Bind::Tcp(wanted), error))?
                }
                other => other.map_err(|error| failed(listener.bind.clone(), error))?,
            },
            place => bind(place).map_err(|error| failed(place.clone(), error))?,
        };
        Ok(Self { id, listener, place, counters: Arc::default(), socket: Some(socket) })
    }

    /// What it publishes, with its name.
    #[must_use]
    pub fn published(&self) -> (String, Arc<ListenerCounters>) {
        (self.listener.name.clone(), Arc::clone(&self.counters))
    }

    /// A socket that listens.
    pub(super) fn open(&mut self) -> io::Result<Acceptor> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => bind(&self.place)?.0,
        };
        socket.listen(BACKLOG)?;
        match self.place {
            Bind::Tcp(_) => TcpListener::from_std(socket.into()).map(Acceptor::Tcp),
            Bind::Unix(_) => UnixListener::from_std(socket.into()).map(Acceptor::Unix),
        }
    }
}

impl Drop for BoundListener {
    fn drop(&mut self) {
        if let Bind::Unix(path) = &self.place {
            // Nobody listens there any more.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind(place: &Bind) -> io::Result<(Socket, Bind)> {
    match place {
        Bind::Tcp(address) => bind_tcp(*address),
        Bind::Unix(path) => Ok((bind_unix(path)?, place.clone())),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<(Socket, Bind)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // The unspecified address stands for IPv4 too, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    let actual = socket.local_addr()?.as_socket().unwrap_or(address);
    Ok((socket, Bind::Tcp(actual)))
}

fn bind_unix(path: &Path) -> io::Result<Socket> {
    remove_if_left_behind(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(UNIX_SOCKET_MODE))?;
    Ok(socket)
}

/// Removes a socket that an earlier process left; one that somebody listens on stays, and so does
/// a file that is no socket.
fn remove_if_left_behind(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    {
        return std::fs::remove_file(path);
    }
    Ok(())
}

/// Whether the system has no IPv6 at all.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mqtt.sock");
        drop(bind_unix(&path).unwrap());
        assert!(path.exists(), "left behind");
        let socket = bind_unix(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, UNIX_SOCKET_MODE);
        socket.listen(1).unwrap();
        assert_eq!(bind_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(bind_unix(&file).is_err());
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    }
}
