//! Accepts HTTPS connections. Bounded in number, and each in the time that it may take.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::AdminContext;
use super::routes::{Authenticated, routes};

/// Connections at the same time; the next ones wait in the kernel's queue.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Of them, connections that have shown no certificate: probes and scrapes. Whoever else opens some
/// takes no place from the operator.
const OPEN_CONNECTIONS_MAX: usize = 48;

/// Longest TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for a request's head; ends idle connections too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);

/// Pause after the system had no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the admin API on `listener` until the future is dropped.
pub(super) async fn serve(listener: TcpListener, context: AdminContext) {
    let places = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let open_places = Arc::new(Semaphore::new(OPEN_CONNECTIONS_MAX));
    let router = routes(context.clone());
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "the admin listener could not accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // A broker without these has no admin API.
        let Some(config) = context.tls.admin() else { return };
        let (router, tls) = (router.clone(), TlsAcceptor::from(config));
        let open_places = Arc::clone(&open_places);
        tokio::spawn(async move {
            if let Err(error) = connection(socket, tls, router, &open_places).await {
                tracing::debug!(%error, "admin connection ended");
            }
            drop(place);
        });
    }
}

async fn connection(
    socket: TcpStream,
    acceptor: TlsAcceptor,
    router: axum::Router,
    open_places: &Semaphore,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    socket.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await??;
    // The verifier has checked the chain against the admin intermediate, where there is one.
    let certificates = stream.get_ref().1.peer_certificates();
    let authenticated = Authenticated(certificates.is_some_and(|chain| !chain.is_empty()));
    let _open_place = match authenticated {
        Authenticated(true) => None,
        Authenticated(false) => Some(open_places.try_acquire()?),
    };
    let service = TowerToHyperService::new(router.layer(Extension(authenticated)));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}
