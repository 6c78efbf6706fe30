//! TLS handshakes: driven by tokio-rustls, a bounded number of steps a pass.
//!
//! A step costs up to a millisecond of arithmetic. In a storm of connects they would otherwise
//! fill the thread and starve the clients who are in. Waiting costs nothing, so a client that
//! dawdles takes nobody's place.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use broker_core::engine::ConnectionOrigin;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::socket::Transport;
use super::state::Worker;
use crate::tls::common_name;

/// Handshake steps in one pass.
const STEPS_PER_PASS: u32 = 16;

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

/// Shakes hands with a client that has just connected to `listener`.
pub(super) async fn shake_hands(
    worker: &Worker,
    tcp: TcpStream,
    listener: usize,
) -> std::io::Result<(Transport, ConnectionOrigin)> {
    let asks = worker.shared.listeners[listener].client_certificates;
    let config = worker.shared.tls.listeners().for_listener(asks).map(Arc::clone);
    let config = config.ok_or_else(|| std::io::Error::other("no trust anchors for clients"))?;
    // Nothing is set up for a client that says nothing.
    tcp.readable().await?;
    let accept = TlsAcceptor::from(config).accept(tcp);
    let (tcp, tls) = worker.handshakes.drive(accept, || worker.flush.set()).await?.into_inner();
    let resumed = tls.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    worker.handle.counters.handshake_succeeded(resumed);
    let certificate_name = tls.peer_certificates().and_then(<[_]>::first).and_then(common_name);
    Ok((Transport::Tls { tcp, tls: Box::new(tls) }, ConnectionOrigin { certificate_name }))
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
