//! Accepts HTTPS connections. Bounded in number, and each in the time that it may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::AdminContext;
use super::places::{Place, Places};
use super::routes::{Authenticated, open_routes, routes};

/// Connections that have shown a certificate, at the same time; further ones are closed. Nobody else
/// takes a place of theirs.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Connections in their TLS handshake. The oldest is closed for a newer one.
const HANDSHAKES_MAX: usize = 64;

/// Connections that have shown no certificate: probes and scrapes. The oldest is closed for a newer
/// one.
const OPEN_CONNECTIONS_MAX: usize = 48;

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a request's head; ends idle connections too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// The same without a certificate: a probe asks at once.
const OPEN_HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after the system had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who has which places.
struct Limits {
    handshakes: Places,
    open: Places,
    certified: Semaphore,
}

/// Serves the admin API on `listener` until the future is dropped.
pub(super) async fn serve(listener: TcpListener, context: AdminContext) {
    let limits = Arc::new(Limits {
        handshakes: Places::new(HANDSHAKES_MAX),
        open: Places::new(OPEN_CONNECTIONS_MAX),
        certified: Semaphore::new(ADMIN_CONNECTIONS_MAX),
    });
    let router = routes(context.clone());
    loop {
        let socket = accept(&listener).await;
        // A broker without these has no admin API.
        let Some(config) = context.tls.admin() else { return };
        let (router, tls) = (router.clone(), TlsAcceptor::from(config));
        let limits = Arc::clone(&limits);
        let place = limits.handshakes.take();
        tokio::spawn(async move {
            if let Err(error) = connection(socket, tls, router, &limits, place).await {
                tracing::debug!(%error, "admin connection ended");
            }
        });
    }
}

/// Serves numbers and health in plain HTTP until the future is dropped.
pub(super) async fn serve_open(listener: TcpListener, context: AdminContext) {
    let places = Places::new(OPEN_CONNECTIONS_MAX);
    let router = open_routes(context);
    loop {
        let socket = accept(&listener).await;
        let (router, mut place) = (router.clone(), places.take());
        tokio::spawn(async move {
            let served = tokio::select! {
                served = requests(socket, router, Authenticated(false), OPEN_HEAD_TIMEOUT) => served,
                () = place.lost() => Err("newer connections need the place".into()),
            };
            if let Err(error) = served {
                tracing::debug!(%error, "metrics connection ended");
            }
        });
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => return socket,
            Err(error) => {
                tracing::warn!(%error, "the listener of the admin API or of metrics can't accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

type ConnectionError = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    router: axum::Router,
    limits: &Limits,
    mut place: Place,
) -> Result<(), ConnectionError> {
    socket.set_nodelay(true)?;
    let stream = tokio::select! {
        stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)) => stream??,
        () = place.lost() => return Err("newer connections wait for their handshake".into()),
    };
    drop(place);
    // The verifier has checked the chain against the admin intermediate, where there is one.
    let certificates = stream.get_ref().1.peer_certificates();
    if certificates.is_some_and(|chain| !chain.is_empty()) {
        let _place = limits.certified.try_acquire()?;
        return requests(stream, router, Authenticated(true), HEAD_TIMEOUT).await;
    }
    let mut place = limits.open.take();
    tokio::select! {
        served = requests(stream, router, Authenticated(false), OPEN_HEAD_TIMEOUT) => served,
        () = place.lost() => Err("newer connections without a certificate need the place".into()),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: axum::Router,
    authenticated: Authenticated,
    head_timeout: Duration,
) -> Result<(), ConnectionError> {
    let service = TowerToHyperService::new(router.layer(Extension(authenticated)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}
