//! Handshakes: a proxy's header, TLS and WebSocket; of TLS's a bounded number of steps a pass.
//!
//! A step costs up to a millisecond of arithmetic. In a storm of connects they would otherwise
//! fill the thread and starve the clients who are in. Waiting costs nothing, so a client that
//! dawdles takes nobody's place.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use broker_config::{CertificateUsername, Listener};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::{ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};

use super::proxy_protocol::read_header;
use super::state::Worker;
use super::transport::{Stream, Transport, WebSocket};
use crate::node::{ListenerId, Place};
use crate::tls::{common_name, subject_name};

/// Handshake steps in one pass.
const STEPS_PER_PASS: u32 = 16;

/// WebSocket subprotocols, the one that is preferred first.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// What is left for this pass, and who waits for the next one.
#[derive(Debug)]
pub(super) struct Handshakes {
    steps_left: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { steps_left: Cell::new(STEPS_PER_PASS), waiting: RefCell::default() }
    }
}

impl Handshakes {
    /// Begins a new pass: who had to wait goes on.
    pub(super) fn begin_pass(&self) {
        if self.steps_left.replace(STEPS_PER_PASS) < STEPS_PER_PASS {
            self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        }
    }

    /// Drives `handshake`, a step at a time; `step_taken` sees to it that the pass ends.
    async fn drive<T>(&self, handshake: impl Future<Output = T>, step_taken: impl Fn()) -> T {
        let mut handshake = pin!(handshake);
        poll_fn(|context| {
            step_taken();
            let Some(left) = self.steps_left.get().checked_sub(1) else {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            };
            self.steps_left.set(left);
            handshake.as_mut().poll(context)
        })
        .await
    }
}

/// Shakes hands with a client that has just connected: the proxy's header, TLS and WebSocket, as
/// far as the listener has them. Gives the name in the client's certificate.
///
/// # Errors
/// The client breaks off, or does not speak what the listener expects.
pub(super) async fn shake_hands(
    worker: &Worker,
    mut stream: Stream,
    (id, listener): (ListenerId, &Listener),
    place: &mut Place,
) -> std::io::Result<(Transport, Option<Arc<str>>)> {
    // Nothing is set up for a client that says nothing.
    stream.readable().await?;
    if listener.proxy_protocol
        && let Some(client) = read_header(&mut stream).await?
    {
        place.is_of_proxy(client);
    }
    if !listener.protocol.is_tls() {
        let (stream, websocket) = upgrade(worker, stream, listener).await?;
        return Ok((Transport::new(stream, None, websocket), None));
    }
    let asks = listener.client_certificates;
    let config = worker.shared.tls.listener(id.0, asks);
    let config = config.ok_or_else(|| std::io::Error::other("no trust anchors for clients"))?;
    let accept = TlsAcceptor::from(config).accept(stream);
    let tls = worker.handshakes.drive(accept, || worker.flush.set()).await?;
    let resumed = tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    worker.handle.counters.handshake_succeeded(resumed);
    let (stream, websocket) = upgrade(worker, tls, listener).await?;
    let (stream, tls) = stream.into_inner();
    let certificate = tls.peer_certificates().and_then(<[_]>::first);
    let certificate_name = certificate.and_then(match listener.certificate_username {
        CertificateUsername::CommonName => common_name,
        CertificateUsername::Subject => subject_name,
    });
    let transport = Transport::new(stream, Some(Box::new(tls)), websocket);
    Ok((transport, certificate_name))
}

/// Answers a WebSocket's opening handshake, where the listener is for them.
/// Spec: MQTT 5.0 section 6, RFC 6455 section 4.
async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    worker: &Worker,
    stream: S,
    listener: &Listener,
) -> std::io::Result<(S, Option<Box<WebSocket>>)> {
    if !listener.protocol.is_websocket() {
        return Ok((stream, None));
    }
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let answer = |request: &Request, response: Response| {
        if !is_from_page(request, &listener.websocket_origins) {
            worker.handle.counters.origin_refused();
            let text = "pages of this origin may not connect: websocket_origins has others\n";
            return Err(refusal(StatusCode::FORBIDDEN, text));
        }
        choose_subprotocol(request, response)
    };
    let accepted = tokio_tungstenite::accept_hdr_async(stream, answer);
    let stream = accepted.await.map_err(std::io::Error::other)?.into_inner();
    Ok((stream, Some(Box::default())))
}

/// Whether a request is of one of these pages, where some are named. What is not a browser names
/// none, and could name any: only users' browsers need to be kept from other pages' will.
/// Source: RFC 6455 section 10.2.
fn is_from_page(request: &Request, pages: &[String]) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else { return true };
    pages.is_empty()
        || pages.iter().any(|page| page.as_bytes().eq_ignore_ascii_case(origin.as_bytes()))
}

fn refusal(status: StatusCode, text: &str) -> ErrorResponse {
    let mut refusal = ErrorResponse::new(Some(text.to_owned()));
    *refusal.status_mut() = status;
    refusal
}

/// `mqtt` must be offered and is chosen; clients of 3.1 offer `mqttv3.1`. [MQTT-6.0.0-3]
/// [MQTT-6.0.0-4]
#[expect(clippy::result_large_err, reason = "the library's own signature")]
fn choose_subprotocol(
    request: &Request,
    mut response: Response,
) -> Result<Response, ErrorResponse> {
    let offers = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let offered: Vec<&str> = offers
        .filter_map(|offer| offer.to_str().ok())
        .flat_map(|offer| offer.split(',').map(str::trim))
        .collect();
    let Some(chosen) = SUBPROTOCOLS.into_iter().find(|known| offered.contains(known)) else {
        let text = "offer the WebSocket subprotocol mqtt: this is an MQTT broker\n";
        return Err(refusal(StatusCode::BAD_REQUEST, text));
    };
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_takes_a_bounded_number_of_steps_and_the_next_one_the_rest() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async {
            let handshakes = std::rc::Rc::new(Handshakes::default());
            let done = std::rc::Rc::new(Cell::new(0));
            for _ in 0..STEPS_PER_PASS * 2 + 1 {
                let (handshakes, done) = (handshakes.clone(), done.clone());
                tokio::task::spawn_local(async move {
                    handshakes.drive(std::future::ready(()), || {}).await;
                    done.set(done.get() + 1);
                });
            }
            for expected in [STEPS_PER_PASS, STEPS_PER_PASS * 2, STEPS_PER_PASS * 2 + 1] {
                while done.get() < expected {
                    tokio::task::yield_now().await;
                }
                tokio::task::yield_now().await;
                assert_eq!(done.get(), expected);
                handshakes.begin_pass();
            }
        });
    }
}
