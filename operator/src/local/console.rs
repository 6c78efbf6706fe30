//! What `local up` tells the person at the terminal: a line per step, with the time since the start. IO: writes to standard output.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

/// Writes lines; clones share the clock.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    started: Arc<Instant>,
}

impl Console {
    /// A console whose clock starts now.
    pub(crate) fn new() -> Self {
        Self { started: Arc::new(Instant::now()) }
    }

    /// `[  1.23s] subject: text`
    pub(crate) fn step(&self, subject: &str, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        write_out(&format!("[{seconds:7.2}s] {subject}: {text}\n"));
    }

    /// A text as it is.
    pub(crate) fn text(&self, text: &str) {
        write_out(&format!("{text}\n"));
    }
}

/// Prints; a closed pipe is nobody's fault.
pub(crate) fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A duration as people read it: `43 ms`, `2.1 s`.
pub(crate) fn human(duration: std::time::Duration) -> String {
    if duration.as_millis() < 1_000 {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
