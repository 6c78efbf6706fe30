//! The answer to one request of a peer, and the link that it goes back on.

use std::sync::Arc;

/// The link that a request came on, for its answer.
pub trait AnswerSink: Send + Sync {
    /// Takes the answer to the request of this number, or why there is none. A link that has closed
    /// meanwhile is nobody's concern any more.
    fn answer(&self, id: u64, answer: Result<&[u8], &str>);
}

/// Answers one request of a peer; may be kept and used later, from any task. Dropped without an
/// answer, it tells the peer that there will be none.
#[must_use]
pub struct Replier {
    sink: Option<Arc<dyn AnswerSink>>,
    id: u64,
}

impl Replier {
    /// Answers the request of this number.
    pub fn new(sink: Arc<dyn AnswerSink>, id: u64) -> Self {
        Self { sink: Some(sink), id }
    }

    /// For a one-way frame: does nothing.
    pub const fn silent() -> Self {
        Self { sink: None, id: 0 }
    }

    /// Whether the peer waits for an answer; false for a one-way frame.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.sink.is_some()
    }

    /// Answers. A link that has closed meanwhile is nobody's concern any more.
    pub fn reply(mut self, body: &[u8]) {
        if let Some(sink) = self.sink.take() {
            sink.answer(self.id, Ok(body));
        }
    }

    /// Answers that there is no answer, and why.
    pub fn fail(mut self, reason: &str) {
        self.send_failure(reason);
    }

    fn send_failure(&mut self, reason: &str) {
        if let Some(sink) = self.sink.take() {
            sink.answer(self.id, Err(reason));
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.send_failure("request was dropped");
    }
}
