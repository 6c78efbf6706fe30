//! Signals: when to stop, and when to read certificates again.

use std::io::{self, Read as _};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Told when standard input has closed, once somebody listens to that.
static STDIN_CLOSED: Notify = Notify::const_new();

/// From now on the end of standard input asks to stop, as TERM does: a parent that dies, in whatever way, closes the pipe.
///
/// # Errors
/// The system gives no thread.
pub fn stop_when_stdin_closes() -> io::Result<()> {
    let wait = || {
        let mut unread = [0; 64];
        while io::stdin().lock().read(&mut unread).is_ok_and(|count| count > 0) {}
        STDIN_CLOSED.notify_one();
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(wait).map(drop)
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// TERM or INT: end the process in order.
    Stop,
    /// HUP: read the TLS files again.
    Reload,
}

/// The signals that the process listens to.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Takes the signals over; from now on they end the process no more by themselves.
    ///
    /// # Errors
    /// The system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Cancel-safe.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            () = STDIN_CLOSED.notified() => Request::Stop,
            _ = self.hang_up.recv() => Request::Reload,
        }
    }
}
