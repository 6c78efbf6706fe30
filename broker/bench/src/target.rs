//! The broker that is driven: its address, TLS, the login, and the way to a connection that CONNACK has accepted.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use crate::connection::{Connection, Scratch};
use crate::stream::Stream;
use crate::wire::{self, CONNACK, Login, SessionKeeping, Version};

/// A connection that is not accepted by then has failed.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);
/// Connections from one source address: each needs a port of its own, and the system's range has about 28,000.
const PER_SOURCE: usize = 20_000;

/// The broker, and who logs in.
#[derive(Clone, Debug, clap::Args)]
pub struct TargetArgs {
    /// The broker's host name or address.
    #[arg(long, short = 'H', default_value = "127.0.0.1", help_heading = "Broker")]
    pub host: String,
    /// The broker's port; default: 1883, with --ca 8883.
    #[arg(long, short = 'p', help_heading = "Broker")]
    pub port: Option<u16>,
    /// MQTT's version.
    #[arg(long, value_enum, default_value = "3.1.1", help_heading = "Broker")]
    pub mqtt: Version,
    /// Speak TLS, and trust the authorities in this PEM file.
    #[arg(long, value_name = "FILE", help_heading = "Broker")]
    pub ca: Option<PathBuf>,
    /// PEM file with the client certificate's chain.
    #[arg(long, value_name = "FILE", requires_all = ["ca", "key"], help_heading = "Broker")]
    pub cert: Option<PathBuf>,
    /// PEM file with the client certificate's key.
    #[arg(long, value_name = "FILE", requires = "cert", help_heading = "Broker")]
    pub key: Option<PathBuf>,
    /// The name that the broker's certificate must hold; default: the host.
    #[arg(long, value_name = "NAME", requires = "ca", help_heading = "Broker")]
    pub server_name: Option<String>,
    /// The user name; all connections share it.
    #[arg(long, short = 'u', help_heading = "Broker")]
    pub username: Option<String>,
    /// The password; better given by the environment, which other users of this machine don't see.
    #[arg(
        long,
        env = "MQTT_BENCH_PASSWORD",
        hide_env_values = true,
        requires = "username",
        help_heading = "Broker"
    )]
    pub password: Option<String>,
    /// The broker's process id, when it runs on this machine: its CPU time and memory are then reported.
    #[arg(long, help_heading = "Broker")]
    pub pid: Option<u32>,
}

impl TargetArgs {
    /// Resolves the host and reads the certificates.
    ///
    /// # Errors
    /// In words, with what to change.
    pub fn target(&self) -> Result<Target> {
        let port = self.port.unwrap_or(if self.ca.is_some() { 8883 } else { 1883 });
        let address = (self.host.as_str(), port)
            .to_socket_addrs()
            .with_context(|| format!("--host {} can't be resolved", self.host))?
            .next()
            .with_context(|| format!("--host {} has no address", self.host))?;
        let tls = match &self.ca {
            None => None,
            Some(ca) => {
                let pair = self.cert.as_deref().zip(self.key.as_deref());
                let name = self.server_name.as_deref().unwrap_or(&self.host);
                Some(Tls::read(ca, pair, name)?)
            }
        };
        let login = self
            .username
            .clone()
            .map(|username| Login { username, password: self.password.clone() });
        Ok(Target { address, tls, login, version: self.mqtt })
    }
}

/// A broker to connect to.
#[derive(Clone)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// TLS, where it is spoken.
    pub tls: Option<Tls>,
    /// Who logs in; `None`: nobody in particular.
    pub login: Option<Login>,
    /// The protocol.
    pub version: Version,
}

/// How TLS is spoken.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads PEM files: the authorities that are trusted and, where there is one, the client certificate's chain and key.
    ///
    /// # Errors
    /// A file that can't be read or holds something else; a name that no certificate can hold.
    pub fn read(ca: &Path, pair: Option<(&Path, &Path)>, name: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).with_context(|| format!("{}: trust anchor", ca.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let read = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("{} holds no PEM private key", key.display()))?;
                builder.with_client_auth_cert(certificates(chain)?, read)?
            }
        };
        let name = ServerName::try_from(name.to_owned())
            .with_context(|| format!("{name:?} is no server name"))?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let what = || format!("{} holds no PEM certificates", file.display());
    let found = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(what)?;
    ensure!(!found.is_empty(), what());
    Ok(found)
}

/// What CONNACK said.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Unacknowledged messages that the broker takes.
    pub receive_maximum: u16,
}

impl Target {
    /// Opens connection number `n` and waits for CONNACK; `lasting` is the Keep Alive in seconds and what the session is for. On loopback, every 20,000 connections have a source address of
    /// their own, so that ports don't run out.
    ///
    /// # Errors
    /// What the system, TLS or the broker said.
    pub async fn connect(
        &self,
        n: usize,
        client_id: &str,
        lasting: (u16, SessionKeeping),
        scratch: &Scratch,
    ) -> Result<(Connection, Accepted)> {
        let opened =
            tokio::time::timeout(CONNECT_WITHIN, self.try_connect(n, client_id, lasting, scratch));
        let opened = match opened.await {
            Ok(opened) => opened,
            Err(_) => bail!("no CONNACK within {CONNECT_WITHIN:?}"),
        };
        opened.with_context(|| format!("connect {client_id} to {}", self.address))
    }

    async fn try_connect(
        &self,
        n: usize,
        client_id: &str,
        lasting: (u16, SessionKeeping),
        scratch: &Scratch,
    ) -> Result<(Connection, Accepted)> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = source(self.address.ip(), n) {
            socket.bind(SocketAddr::from((source, 0)))?;
        }
        let stream = socket.connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(tls) => {
                let stream = tls.connector.connect(tls.name.clone(), stream).await;
                Stream::Tls(Box::new(stream.context("TLS handshake")?))
            }
        };
        let mut connection = Connection::new(stream, scratch.clone());
        wire::connect(self.version, client_id, self.login.as_ref(), lasting, connection.output());
        let version = self.version;
        let (code, receive_maximum) =
            connection.call(CONNACK, move |frame| Ok(frame.connack(version)?)).await?;
        ensure!(code == 0, "the broker refused CONNECT with code {code:#04x}");
        Ok((connection, Accepted { receive_maximum }))
    }
}

/// The source address of connection `n` to `broker`: the system's choice for the first, and beyond loopback for all.
fn source(broker: IpAddr, n: usize) -> Option<Ipv4Addr> {
    let last = 1 + n / PER_SOURCE;
    match broker {
        IpAddr::V4(address) if address.is_loopback() && n >= PER_SOURCE => {
            Some(Ipv4Addr::new(127, 0, (last >> 8) as u8, (last & 0xFF) as u8))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_on_loopback_come_from_several_addresses() {
        let broker = IpAddr::from([127, 0, 0, 1]);
        let sources: Vec<_> =
            [0, 19_999, 20_000, 6_000_000].map(|n| source(broker, n)).into_iter().collect();
        assert_eq!(
            sources,
            [None, None, Some(Ipv4Addr::new(127, 0, 0, 2)), Some(Ipv4Addr::new(127, 0, 1, 45))]
        );
        assert_eq!(source(IpAddr::from([10, 0, 0, 1]), 50_000), None);
    }
}
