//! HTTP/1.1 to a server that says who is where: a connection a call, answers read line by line. IO.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use broker_config::Server;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// From the connect to the answer's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest answer, or line of one that goes on.
const BYTES_MAX: usize = 8 << 20;

/// Why a server did not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// It can't be reached, or breaks off.
    #[error("{host}:{port}: {reason}")]
    Broken { host: String, port: u16, reason: String },
    /// Its certificate is of another authority, of another host, or out of date.
    #[error("{host}:{port}: {reason}")]
    Untrusted { host: String, port: u16, reason: String },
    /// It does not take this broker's certificate, or wants one.
    #[error("{host}:{port}: {reason}")]
    Distrusts { host: String, port: u16, reason: String },
    /// It says something else than 200.
    #[error("{host}:{port} answers {status}: {body}")]
    Refused { host: String, port: u16, status: u16, body: String },
}

/// What is asked.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) authorization: Option<&'a str>,
    pub(super) body: Vec<u8>,
}

/// An answer that is read piece by piece. Dropping it closes the connection.
pub(super) struct Answer {
    server: Server,
    body: Incoming,
    received: BytesMut,
    connection: tokio::task::JoinHandle<()>,
}

/// Asks a server; gives its answer once that begins with 200.
pub(super) async fn call(
    server: &Server,
    tls: Option<&Arc<ClientConfig>>,
    call: Call<'_>,
) -> Result<Answer, HttpError> {
    let asked = tokio::time::timeout(HEAD_TIMEOUT, ask(server, tls, call)).await;
    asked.unwrap_or_else(|_| Err(broken(server, "no answer in time")))
}

async fn ask(
    server: &Server,
    tls: Option<&Arc<ClientConfig>>,
    call: Call<'_>,
) -> Result<Answer, HttpError> {
    let failed = |reason: String| broken(server, &reason);
    let tcp = TcpStream::connect((server.host.as_str(), server.port)).await;
    let tcp = tcp.map_err(|error| failed(error.to_string()))?;
    let (mut sender, connection) = match (server.is_tls, tls) {
        (false, _) => connect(tcp).await,
        (true, None) => Err("there are no trust anchors for it".to_owned()),
        (true, Some(config)) => {
            let name = ServerName::try_from(server.host.clone());
            let name = name.map_err(|error| failed(error.to_string()))?;
            let stream = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await;
            connect(stream.map_err(|error| ended(server, &error))?).await
        }
    }
    .map_err(failed)?;
    let mut request = Request::builder()
        .method(call.method)
        .uri(call.path)
        .header("host", authority(server))
        .header("accept", "application/json")
        .header("content-type", "application/json");
    if let Some(authorization) = call.authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Full::new(Bytes::from(call.body)));
    let request = request.map_err(|error| failed(error.to_string()))?;
    let response = sender.send_request(request).await;
    let response = response.map_err(|error| ended(server, &error))?;
    let status = response.status().as_u16();
    let mut answer = Answer {
        server: server.clone(),
        body: response.into_body(),
        received: BytesMut::new(),
        connection,
    };
    if status == 200 {
        return Ok(answer);
    }
    let body = answer.whole().await.unwrap_or_default();
    let body: String = String::from_utf8_lossy(&body).chars().take(500).collect();
    let Server { host, port, .. } = server.clone();
    Err(HttpError::Refused { host, port, status, body })
}

/// The server as a Host header names it: an IPv6 address stands in brackets.
fn authority(server: &Server) -> String {
    match server.host.contains(':') {
        true => format!("[{}]:{}", server.host, server.port),
        false => format!("{}:{}", server.host, server.port),
    }
}

type Connected = (http1::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<()>);

async fn connect(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Connected, String> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    // What ends it shows in the answer.
    let connection = tokio::spawn(async move { drop(connection.await) });
    Ok((sender, connection))
}

fn broken(server: &Server, reason: &str) -> HttpError {
    let Server { host, port, .. } = server.clone();
    HttpError::Broken { host, port, reason: reason.to_owned() }
}

/// What a connection ended with: TLS 1.3 tells of a certificate that is not taken after the handshake.
fn ended(server: &Server, error: &(dyn Error + 'static)) -> HttpError {
    let Server { host, port, .. } = server.clone();
    let reason = crate::telemetry::Chain(error).to_string();
    match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(_)) => HttpError::Untrusted { host, port, reason },
        Some(rustls::Error::AlertReceived(alert)) if is_of_certificate(*alert) => {
            HttpError::Distrusts { host, port, reason }
        }
        _ => HttpError::Broken { host, port, reason },
    }
}

const fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
    )
}

/// The error of TLS among the causes of another.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        // The cause of one of these is that of what it holds.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let held = held.and_then(|held| held.downcast_ref::<rustls::Error>());
        if let Some(found) = held.or_else(|| error.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl Answer {
    /// All of it.
    pub(super) async fn whole(&mut self) -> Result<Vec<u8>, HttpError> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.received).to_vec())
    }

    /// The next line, without its end; `None` at the end of the answer.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line = self.received.split_to(end + 1);
                line.truncate(end);
                return Ok(Some(line.freeze()));
            }
            if !self.more().await? {
                let rest = std::mem::take(&mut self.received);
                return Ok((!rest.is_empty()).then(|| rest.freeze()));
            }
        }
    }

    async fn more(&mut self) -> Result<bool, HttpError> {
        match self.body.frame().await {
            None => Ok(false),
            Some(Err(error)) => Err(ended(&self.server, &error)),
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    if self.received.len() + data.len() > BYTES_MAX {
                        return Err(broken(&self.server, "the answer is too long"));
                    }
                    self.received.extend_from_slice(data);
                }
                Ok(true)
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_stands_in_brackets_in_the_host_header() {
        let named =
            |host: &str| authority(&Server { is_tls: true, host: host.to_owned(), port: 443 });
        assert_eq!(named("fd00::1"), "[fd00::1]:443");
        assert_eq!(named("10.0.0.1"), "10.0.0.1:443");
    }
}
