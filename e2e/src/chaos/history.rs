//! What happened, in its order: to a file as a line of JSON each, and to the checker at once.

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::checker::Checker;

/// Something that a client or the one who makes faults has seen or done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// A client was let in.
    Connected {
        client: String,
        /// Number of the connection among those of the client.
        connection: u64,
        node: usize,
        /// Whether the broker knew the session, which never expires here.
        is_session_present: bool,
    },
    /// SUBACK: a durable session gets all that is sent from now on, alone or as a member of a group.
    Subscribed { client: String, group: Option<String> },
    /// A PUBLISH is about to be written for the first time, to this broker. A stream is one publisher's messages of one topic and QoS.
    Sent { stream: u32, number: u64, qos: u8, node: usize },
    /// PUBACK or PUBREC of this broker that says yes.
    Acknowledged { stream: u32, number: u64, node: usize },
    /// PUBACK or PUBREC that says no; the message may arrive or not.
    Refused { stream: u32, number: u64, code: u8 },
    /// A PUBLISH has come, which is no repetition that the client's session knows of.
    Received { client: String, stream: u32, number: u64 },
    /// PINGRESP has come to a PINGREQ that was written at `pinged_at`, in microseconds from the start.
    Alive { client: String, connection: u64, pinged_at: u64 },
    /// A fault is about to begin that these brokers suffer from.
    FaultBegan { fault: usize, nodes: Vec<usize>, what: String },
    /// A fault is over.
    FaultEnded { fault: usize },
    /// A broker reaches none of the others any more.
    Parted { node: usize },
    /// It is about to reach them again.
    Rejoining { node: usize },
    /// There are no more faults and all brokers are ready; publishers go on for a while.
    Ready,
    /// Nothing new is sent.
    Healed,
    /// Everything was answered and has arrived, or the time for that is over.
    Ended,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    /// Microseconds from the start.
    at: u64,
    #[serde(flatten)]
    event: Event,
}

/// Where everybody writes to.
#[derive(Debug)]
pub(super) struct History {
    started: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    checker: Checker,
    violation: Option<String>,
}

impl History {
    /// A new file.
    ///
    /// # Errors
    /// It can't be made.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
        let file = BufWriter::new(file);
        let inner = Inner { file, checker: Checker::default(), violation: None };
        Ok(Self { started: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Microseconds from the start to `at`.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.started).as_micros() as u64
    }

    /// Writes down what happens now.
    pub(super) fn record(&self, event: Event) {
        let mut inner = self.lock();
        let at = self.micros(Instant::now());
        if let Err(violation) = inner.checker.observe(at, &event) {
            inner.violate(violation);
        }
        let written = serde_json::to_string(&Line { at, event })
            .map_err(anyhow::Error::from)
            .and_then(|line| Ok(writeln!(inner.file, "{line}")?));
        if let Err(error) = written {
            inner.violate(format!("the history can't be written: {error}"));
        }
    }

    /// Notes what is wrong that the checker does not see.
    pub(super) fn violate(&self, what: String) {
        self.lock().violate(what);
    }

    /// The first thing that was wrong.
    pub(super) fn violation(&self) -> Option<String> {
        self.lock().violation.clone()
    }

    /// What the checker says, for as long as `look` takes.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Checker) -> T) -> T {
        look(&self.lock().checker)
    }

    /// Writes out what is still in memory.
    ///
    /// # Errors
    /// The disk does not take it.
    pub(super) fn flush(&self) -> Result<()> {
        self.lock().file.flush().context("write the history")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Who panicked says so itself; what is written so far counts.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }
}

/// Reads a file again; the checker that has seen it, and the first thing that was wrong.
///
/// # Errors
/// It can't be read, or is not a history.
pub(super) fn read(path: &Path) -> Result<(Checker, Option<String>)> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let (mut checker, mut violation) = (Checker::default(), None);
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line: Line = serde_json::from_str(&line?)
            .with_context(|| format!("{}, line {}: not an event", path.display(), number + 1))?;
        if let Err(found) = checker.observe(line.at, &line.event) {
            violation.get_or_insert(found);
        }
    }
    Ok((checker, violation))
}
