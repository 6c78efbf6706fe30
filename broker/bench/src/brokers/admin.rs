//! A client of the admin API that waits for its answers, and never longer than it is told.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_admin_api::{BrokerStatus, path};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// The admin API of one broker.
#[derive(Clone, Debug)]
pub struct Admin {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Admin {
    pub(super) const fn new(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        Self { address, config }
    }

    /// Status and body of the answer; each step waits `within` at most.
    ///
    /// # Errors
    /// There is none, or not in time.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        body: &str,
        within: Duration,
    ) -> Result<(u16, String)> {
        let tcp = TcpStream::connect_timeout(&self.address, within)?;
        tcp.set_read_timeout(Some(within))?;
        tcp.set_write_timeout(Some(within))?;
        let name = ServerName::try_from("localhost")?;
        let tls = ClientConnection::new(Arc::clone(&self.config), name)?;
        let mut stream = StreamOwned::new(tls, tcp);
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            // Not every server says goodbye before it closes.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error.into()),
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Ok((status.with_context(|| format!("no answer: {head:?}"))?, body.to_owned()))
    }

    /// What the broker says of itself.
    ///
    /// # Errors
    /// As [`Admin::call`].
    pub fn status(&self, within: Duration) -> Result<BrokerStatus> {
        let (code, body) = self.call("GET", path::STATUS, "", within)?;
        ensure!(code == 200, "{}: status {code}: {body}", self.address);
        Ok(serde_json::from_str(&body)?)
    }
}
