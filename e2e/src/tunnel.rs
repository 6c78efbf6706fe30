//! A TLS tunnel on loopback: a client that speaks plain MQTT connects to it, it speaks TLS to the broker. So an independent
//! client needs no TLS stack of its own, and the test decides which certificates are shown and trusted.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// What a device shows and trusts.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// PEM of the authorities that the device trusts.
    pub ca: Vec<u8>,
    /// PEM of the client certificate's chain and key, where the device has one.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

/// An open tunnel; it closes when dropped.
#[derive(Debug)]
pub struct Tunnel {
    /// The loopback port that plain clients connect to.
    pub port: u16,
    task: JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tunnel {
    /// Opens a tunnel to `broker`, whose certificate must hold `server_name`.
    ///
    /// # Errors
    /// Credentials that are not PEM, or no free port on loopback.
    pub async fn open(broker: SocketAddr, server_name: &str, with: &Credentials) -> Result<Self> {
        let connector = TlsConnector::from(Arc::new(client_config(with)?));
        let name = ServerName::try_from(server_name.to_owned()).context("server name")?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move {
            while let Ok((plain, _)) = listener.accept().await {
                tokio::spawn(carry(plain, broker, connector.clone(), name.clone()));
            }
        });
        Ok(Self { port, task })
    }
}

fn client_config(with: &Credentials) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&with.ca) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    Ok(match &with.certificate {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(
            CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>()?,
            PrivateKeyDer::from_pem_slice(key)?,
        )?,
    })
}

async fn carry(
    mut plain: TcpStream,
    broker: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
) {
    // Whatever fails here, the plain client sees its connection end, as it would without a tunnel.
    let connected = async { connector.connect(name, TcpStream::connect(broker).await?).await };
    match connected.await {
        Ok(mut tls) => {
            let _ = tokio::io::copy_bidirectional(&mut plain, &mut tls).await;
        }
        Err(error) => eprintln!("     tunnel to {broker}: {error}"),
    }
}
