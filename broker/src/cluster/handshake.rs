//! How two nodes come to know each other on a new connection: TLS, then one HELLO each way.
//!
//! The dialler speaks first. The common name of the certificate must be the name in the HELLO,
//! and the cluster's identity must be in both; whoever finds otherwise says so and closes.

use std::net::SocketAddr;
use std::time::Duration;

use broker_core::types::NodeId;
use bytes::BytesMut;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::connection::Peer;
use super::frame::{Frame, FrameKind, append_frame, split_frame};
use super::link_types::{LinksConfig, Refusal};
use crate::tls::{
    CertificateNames, PeerTls, alert_received, certificate_names, peer_server_name,
    refused_certificate,
};

/// Oldest version of the link protocol that this node speaks.
const PROTOCOL_VERSION_MIN: u16 = 1;

/// Newest version of the link protocol that this node speaks.
const PROTOCOL_VERSION_MAX: u16 = 1;

/// Version byte before the encoded [`Hello`].
const HELLO_FORMAT: u8 = 1;

/// Longest body of a HELLO or REFUSED frame.
const HELLO_BYTES_MAX: usize = 4096;

/// What each side says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Hello {
    /// Versions of the link protocol it speaks, from and to.
    protocol: (u16, u16),
    cluster_id: String,
    node_id: NodeId,
    name: String,
}

/// Why a connection did not become a link.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The address is this node's own.
    IsThisNode,
    /// One of the two turns the other away.
    Refused(Refusal),
    /// It broke, or took too long.
    Broken(String),
}

/// A peer that both sides have accepted, with its stream and what was read too much.
pub(super) struct Greeted {
    pub(super) peer: Peer,
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) received: BytesMut,
}

/// Connects to `address` and introduces this node.
pub(super) async fn dial(
    config: &LinksConfig,
    tls: &PeerTls,
    address: SocketAddr,
) -> Result<Greeted, HandshakeError> {
    within(config.timing.handshake_timeout, async {
        let tcp = TcpStream::connect(address).await.map_err(broken)?;
        tcp.set_nodelay(true).map_err(broken)?;
        let server_name = ServerName::try_from(peer_server_name(&config.cluster_id))
            .map_err(|e| HandshakeError::Broken(format!("cluster id makes no DNS name: {e}")))?;
        let connector = TlsConnector::from(std::sync::Arc::clone(&tls.client));
        let stream =
            connector.connect(server_name, tcp).await.map_err(|e| tls_failed(address, &e))?;
        let names = names_of(stream.get_ref().1.peer_certificates());
        let mut stream = TlsStream::from(stream);
        let mut received = BytesMut::new();

        send_hello(config, &mut stream).await?;
        let frame = read_frame(&mut stream, &mut received).await?;
        let hello = match frame.kind {
            FrameKind::REFUSED => {
                let reason = format!("turned away: {}", String::from_utf8_lossy(&frame.body));
                return Err(HandshakeError::Refused(refusal(address, &names, None, reason)));
            }
            _ => decode_hello(address, &names, &frame)?,
        };
        check(config, address, &names, &hello)?;
        let peer = Peer { node: hello.node_id, name: hello.name, address };
        Ok(Greeted { peer, stream, received })
    })
    .await
}

/// Serves the handshake of a peer that dialled here.
pub(super) async fn accept(
    config: &LinksConfig,
    tls: &PeerTls,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<Greeted, HandshakeError> {
    within(config.timing.handshake_timeout, async {
        tcp.set_nodelay(true).map_err(broken)?;
        let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&tls.server));
        let stream = acceptor.accept(tcp).await.map_err(|e| tls_failed(address, &e))?;
        let names = names_of(stream.get_ref().1.peer_certificates());
        let mut stream = TlsStream::from(stream);
        let mut received = BytesMut::new();

        let frame = read_frame(&mut stream, &mut received).await?;
        let checked = decode_hello(address, &names, &frame)
            .and_then(|hello| check(config, address, &names, &hello).map(|()| hello));
        match checked {
            Ok(hello) => {
                send_hello(config, &mut stream).await?;
                let peer = Peer { node: hello.node_id, name: hello.name, address };
                Ok(Greeted { peer, stream, received })
            }
            Err(HandshakeError::IsThisNode) => {
                // The dialling side is this very process: it recognises itself by the HELLO.
                send_hello(config, &mut stream).await?;
                Err(HandshakeError::IsThisNode)
            }
            Err(HandshakeError::Refused(refusal)) => {
                let mut bytes = Vec::new();
                append_frame(&mut bytes, FrameKind::REFUSED, 0, refusal.reason.as_bytes());
                // It is turned away whether or not it hears why.
                let _ = write(&mut stream, &bytes).await;
                let _ = stream.shutdown().await;
                Err(HandshakeError::Refused(refusal))
            }
            Err(error) => Err(error),
        }
    })
    .await
}

async fn within<T>(
    timeout: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(timeout, handshake).await {
        Ok(result) => result,
        Err(_) => Err(HandshakeError::Broken("no answer in time".to_owned())),
    }
}

fn broken(error: std::io::Error) -> HandshakeError {
    HandshakeError::Broken(error.to_string())
}

fn tls_failed(address: SocketAddr, error: &std::io::Error) -> HandshakeError {
    if let Some(refused) = refused_certificate(error) {
        let reason = format!("certificate refused: {refused}");
        return HandshakeError::Refused(refusal(address, &refused.names, None, reason));
    }
    if let Some(alert) = alert_received(error) {
        let reason = format!(
            "it does not accept this broker's certificate (TLS alert {alert:?}): its peer authority is \
             another than this cluster's, or its clock is wrong"
        );
        let unnamed = CertificateNames::default();
        return HandshakeError::Refused(refusal(address, &unnamed, None, reason));
    }
    HandshakeError::Broken(format!("TLS handshake: {error}"))
}

fn names_of(certificates: Option<&[CertificateDer<'static>]>) -> CertificateNames {
    certificates.and_then(|chain| chain.first()).map(certificate_names).unwrap_or_default()
}

fn refusal(
    address: SocketAddr,
    names: &CertificateNames,
    hello: Option<&Hello>,
    reason: String,
) -> Refusal {
    let cluster_id = match hello {
        Some(hello) => Some(hello.cluster_id.clone()),
        None => names.cluster_ids.first().cloned(),
    };
    Refusal { address, common_name: names.common_name.clone(), cluster_id, reason }
}

fn decode_hello(
    address: SocketAddr,
    names: &CertificateNames,
    frame: &Frame,
) -> Result<Hello, HandshakeError> {
    let hello = match (frame.kind, frame.body.split_first()) {
        (FrameKind::HELLO, Some((&HELLO_FORMAT, encoded))) => postcard::from_bytes(encoded).ok(),
        _ => None,
    };
    hello.ok_or_else(|| {
        let reason = "the first frame is no HELLO that this version can read".to_owned();
        HandshakeError::Refused(refusal(address, names, None, reason))
    })
}

/// Whether the peer is of this cluster, is who its certificate says, and speaks our protocol.
fn check(
    config: &LinksConfig,
    address: SocketAddr,
    names: &CertificateNames,
    hello: &Hello,
) -> Result<(), HandshakeError> {
    let refuse =
        |reason: String| Err(HandshakeError::Refused(refusal(address, names, Some(hello), reason)));
    if hello.cluster_id != config.cluster_id {
        return refuse(format!(
            "broker is of cluster {}, this is cluster {}",
            hello.cluster_id, config.cluster_id
        ));
    }
    let our_id = config.cluster_id.to_ascii_lowercase();
    if !names.cluster_ids.contains(&our_id) {
        return refuse(format!(
            "certificate lacks the name {}",
            peer_server_name(&config.cluster_id)
        ));
    }
    if names.common_name.as_deref() != Some(hello.name.as_str()) {
        return refuse(format!(
            "broker calls itself {}, its certificate calls it {}",
            hello.name,
            names.common_name.as_deref().unwrap_or("nothing")
        ));
    }
    let (from, to) = hello.protocol;
    if from > PROTOCOL_VERSION_MAX || to < PROTOCOL_VERSION_MIN {
        return refuse(format!(
            "broker speaks link protocol {from} to {to}, \
             this one {PROTOCOL_VERSION_MIN} to {PROTOCOL_VERSION_MAX}"
        ));
    }
    if hello.node_id == config.node_id {
        return match hello.name == config.name {
            true => Err(HandshakeError::IsThisNode),
            false => refuse("broker has this broker's node id: a copied data directory".to_owned()),
        };
    }
    Ok(())
}

async fn send_hello(
    config: &LinksConfig,
    stream: &mut (impl AsyncWrite + Unpin),
) -> Result<(), HandshakeError> {
    let hello = Hello {
        protocol: (PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX),
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id,
        name: config.name.clone(),
    };
    let body = postcard::to_extend(&hello, vec![HELLO_FORMAT])
        .map_err(|e| HandshakeError::Broken(format!("encode HELLO: {e}")))?;
    let mut bytes = Vec::new();
    append_frame(&mut bytes, FrameKind::HELLO, 0, &body);
    write(stream, &bytes).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), HandshakeError> {
    stream.write_all(bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
) -> Result<Frame, HandshakeError> {
    loop {
        match split_frame(received, HELLO_BYTES_MAX) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(HandshakeError::Broken(error.to_string())),
        }
        match stream.read_buf(received).await {
            Ok(0) => return Err(HandshakeError::Broken("peer closed".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(broken(error)),
        }
    }
}
