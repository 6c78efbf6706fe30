//! How two nodes come to know each other on a new connection: TLS, then one HELLO each way.
//!
//! The dialler speaks first. The common name of the certificate must be the name in the HELLO,
//! and the cluster's identity must be in both; whoever finds otherwise says so and closes.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use super::connection::Peer;
use super::frame::{Frame, FrameKind, append_frame, split_frame};
use super::hello::{Hello, Unfit, refusal};
use super::link_types::{LinksConfig, Refusal, RefusalKind};
use super::links::Shared;
use super::version;
use crate::tls::{
    CertificateNames, PeerTls, alert_received, certificate_names, peer_server_name,
    refused_certificate,
};

/// Longest body of a HELLO or REFUSED frame.
const HELLO_BYTES_MAX: usize = 4096;

/// Why a connection did not become a link.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// The address is this node's own.
    IsThisNode,
    /// One of the two turns the other away.
    Refused(Box<Refusal>),
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
    shared: &Shared,
    tls: &PeerTls,
    address: SocketAddr,
) -> Result<Greeted, HandshakeError> {
    let config = &shared.config;
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
        let frame = read_frame(&mut stream, &mut received, (address, &names)).await?;
        if frame.kind == FrameKind::REFUSED {
            let reason = format!("turned away: {}", String::from_utf8_lossy(&frame.body));
            let kind = RefusalKind::TurnedAway;
            return Err(refused(address, &names, None, kind, reason));
        }
        let hello = read_hello(address, &names, &frame)?;
        let peer = judge(shared, address, &names, hello)?;
        Ok(Greeted { peer, stream, received })
    })
    .await
}

/// Serves the handshake of a peer that dialled here.
pub(super) async fn accept(
    shared: &Shared,
    tls: &PeerTls,
    tcp: TcpStream,
    address: SocketAddr,
) -> Result<Greeted, HandshakeError> {
    let config = &shared.config;
    within(config.timing.handshake_timeout, async {
        tcp.set_nodelay(true).map_err(broken)?;
        let acceptor = TlsAcceptor::from(std::sync::Arc::clone(&tls.server));
        let stream = acceptor.accept(tcp).await.map_err(|e| tls_failed(address, &e))?;
        let names = names_of(stream.get_ref().1.peer_certificates());
        let mut stream = TlsStream::from(stream);
        let mut received = BytesMut::new();

        let read = read_frame(&mut stream, &mut received, (address, &names)).await;
        let judged = read
            .and_then(|frame| read_hello(address, &names, &frame))
            .and_then(|hello| judge(shared, address, &names, hello));
        match judged {
            Ok(peer) => {
                send_hello(config, &mut stream).await?;
                Ok(Greeted { peer, stream, received })
            }
            Err(HandshakeError::IsThisNode) => {
                // The dialling side is this very process: it recognises itself by the HELLO.
                send_hello(config, &mut stream).await?;
                Err(HandshakeError::IsThisNode)
            }
            Err(HandshakeError::Refused(refusal)) => {
                let mut bytes = Vec::new();
                let reason = refusal.reason.as_bytes();
                append_frame(&mut bytes, version::HANDSHAKE, FrameKind::REFUSED, 0, reason);
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
    let kind = RefusalKind::Certificate;
    if let Some(found) = refused_certificate(error) {
        let reason = format!("certificate refused: {found}");
        return refused(address, &found.names, None, kind, reason);
    }
    if let Some(alert) = alert_received(error) {
        let reason = format!(
            "it does not accept this broker's certificate (TLS alert {alert:?}): its peer authority is \
             another than this cluster's, or its clock is wrong"
        );
        let unnamed = CertificateNames::default();
        return refused(address, &unnamed, None, kind, reason);
    }
    HandshakeError::Broken(format!("TLS handshake: {error}"))
}

fn refused(
    address: SocketAddr,
    names: &CertificateNames,
    hello: Option<&Hello>,
    kind: RefusalKind,
    reason: String,
) -> HandshakeError {
    HandshakeError::Refused(Box::new(refusal(address, names, hello, kind, reason)))
}

fn names_of(certificates: Option<&[CertificateDer<'static>]>) -> CertificateNames {
    certificates.and_then(|chain| chain.first()).map(certificate_names).unwrap_or_default()
}

fn read_hello(
    address: SocketAddr,
    names: &CertificateNames,
    frame: &Frame,
) -> Result<Hello, HandshakeError> {
    Hello::decode(frame).ok_or_else(|| {
        let reason = "the first frame is no HELLO that this version can read".to_owned();
        refused(address, names, None, RefusalKind::Hello, reason)
    })
}

/// Takes the peer, or says why not.
fn judge(
    shared: &Shared,
    address: SocketAddr,
    names: &CertificateNames,
    hello: Hello,
) -> Result<Peer, HandshakeError> {
    match shared.expected(hello.node_id).check(names, &hello) {
        Ok(version) => Ok(Peer {
            node: hello.node_id,
            name: hello.name,
            address,
            version,
            feature_level_max: hello.speaks.feature_level_max,
        }),
        Err(Unfit::IsThisNode) => Err(HandshakeError::IsThisNode),
        Err(Unfit::Refused(kind, reason)) => {
            Err(refused(address, names, Some(&hello), kind, reason))
        }
    }
}

async fn send_hello(
    config: &LinksConfig,
    stream: &mut (impl AsyncWrite + Unpin),
) -> Result<(), HandshakeError> {
    let body = Hello::of(config)
        .encode()
        .map_err(|e| HandshakeError::Broken(format!("encode HELLO: {e}")))?;
    let mut bytes = Vec::new();
    append_frame(&mut bytes, version::HANDSHAKE, FrameKind::HELLO, 0, &body);
    write(stream, &bytes).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), HandshakeError> {
    stream.write_all(bytes).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}

async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
    (address, names): (SocketAddr, &CertificateNames),
) -> Result<Frame, HandshakeError> {
    loop {
        match split_frame(received, version::HANDSHAKE, HELLO_BYTES_MAX) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => {
                let (kind, reason) = (RefusalKind::Frame, error.to_string());
                return Err(refused(address, names, None, kind, reason));
            }
        }
        match stream.read_buf(received).await {
            Ok(0) => return Err(HandshakeError::Broken("peer closed".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(broken(error)),
        }
    }
}
