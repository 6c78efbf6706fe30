//! A socket that listens, TCP or Unix. IO.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, UnixListener};

use crate::node::ClientSocket;

/// A socket that listens.
pub(super) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A client that has come in.
pub(super) struct Accepted {
    pub(super) socket: ClientSocket,
    pub(super) address: Option<SocketAddr>,
}

impl Acceptor {
    /// The next client. From here on its socket belongs to a worker's runtime, not to this
    /// thread's.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, address) = listener.accept().await?;
                socket.set_nodelay(true)?;
                let socket = ClientSocket::Tcp(socket.into_std()?);
                Ok(Accepted { socket, address: Some(address) })
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.accept().await?;
                let socket = ClientSocket::Unix(socket.into_std()?);
                Ok(Accepted { socket, address: None })
            }
        }
    }
}
