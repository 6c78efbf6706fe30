//! What must hold of a history. Pure. The same promises as those of `broker/sim`, seen from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::fencing::Fencing;
use super::history::Event;
use super::ownership::Ownership;

/// What a publisher knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Acknowledged,
    Refused,
}

/// One publisher's messages of one topic and QoS.
#[derive(Debug, Default)]
struct Stream {
    qos: u8,
    fates: Vec<Fate>,
    /// The first message that was sent when all faults were over, once they are.
    ready_from: Option<usize>,
}

impl Stream {
    /// Whether it has been served since all faults are over: an answer alone may be a refusal.
    fn is_served(&self) -> bool {
        self.ready_from.is_none_or(|from| self.fates[from..].contains(&Fate::Acknowledged))
    }
}

/// A durable session, or the members of a shared subscription together: what is acknowledged must reach it.
#[derive(Debug, Default)]
struct Receiver {
    is_shared: bool,
    /// How often each message has come, by stream.
    received: BTreeMap<u32, Vec<u8>>,
    /// The first message that it is owed, by stream.
    owed_from: BTreeMap<u32, u64>,
}

impl Receiver {
    fn times(&self, stream: u32, number: u64) -> u8 {
        let received = self.received.get(&stream);
        received.and_then(|times| times.get(number as usize)).copied().unwrap_or(0)
    }
}

/// Counts of a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
    pub(super) refused: u64,
    pub(super) received: u64,
    /// QoS 1 messages that came again, as they may.
    pub(super) repeated: u64,
    pub(super) connections: u64,
    /// Brokers that were alone for so long that they had to send their clients away.
    pub(super) fenced: u64,
    /// Longest time between two acknowledgements, in microseconds.
    pub(super) longest_silence: u64,
}

/// Looks at one event after the other.
#[derive(Debug, Default)]
pub(super) struct Checker {
    streams: BTreeMap<u32, Stream>,
    receivers: BTreeMap<String, Receiver>,
    /// The receiver that a client stands for.
    receiver_of: BTreeMap<String, String>,
    /// The last message that came for the first time, by client and stream.
    last: BTreeMap<(String, u32), u64>,
    /// Clients that were let in before, so have a session.
    known: BTreeSet<String>,
    ownership: Ownership,
    fencing: Fencing,
    acknowledged_at: Option<u64>,
    is_healed: bool,
    pub(super) counts: Counts,
}

impl Checker {
    /// Takes what happened `at` so many microseconds.
    ///
    /// # Errors
    /// It may not happen: the rule and why.
    pub(super) fn observe(&mut self, at: u64, event: &Event) -> Result<(), String> {
        self.ownership.observe(at, event)?;
        self.fencing.observe(at, event)?;
        match event {
            Event::Connected { client, is_session_present, .. } => {
                self.counts.connections += 1;
                let is_new = self.known.insert(client.clone());
                if !is_new && !is_session_present {
                    return Err(format!("durable_session_stays: {client} has found no session"));
                }
            }
            Event::Subscribed { client, group } => self.subscribe(client, group.as_deref()),
            Event::Sent { stream, number, qos, .. } => self.send(*stream, *number, *qos),
            Event::Acknowledged { stream, number, .. } => {
                let silence = at - self.acknowledged_at.replace(at).unwrap_or(at);
                // How long it takes when all is over is the checker's bound, not a silence.
                if !self.is_healed {
                    self.counts.longest_silence = self.counts.longest_silence.max(silence);
                }
                self.counts.acknowledged += 1;
                self.answer(*stream, *number, Fate::Acknowledged);
            }
            Event::Refused { stream, number, .. } => {
                self.counts.refused += 1;
                self.answer(*stream, *number, Fate::Refused);
            }
            Event::Received { client, stream, number } => {
                return self.receive(client, *stream, *number);
            }
            Event::Ready => {
                for stream in self.streams.values_mut() {
                    stream.ready_from = Some(stream.fates.len());
                }
            }
            Event::Healed => self.is_healed = true,
            Event::Ended => return self.end(),
            Event::Rejoining { .. } => self.counts.fenced = self.fencing.fenced,
            Event::Alive { .. }
            | Event::Parted { .. }
            | Event::FaultBegan { .. }
            | Event::FaultEnded { .. } => {}
        }
        Ok(())
    }

    fn subscribe(&mut self, client: &str, group: Option<&str>) {
        let name = group.unwrap_or(client);
        self.receiver_of.insert(client.to_owned(), name.to_owned());
        let sent = || self.streams.iter().map(|(id, stream)| (*id, stream.fates.len() as u64));
        self.receivers.entry(name.to_owned()).or_insert_with(|| Receiver {
            is_shared: group.is_some(),
            received: BTreeMap::new(),
            owed_from: sent().collect(),
        });
    }

    fn send(&mut self, stream: u32, number: u64, qos: u8) {
        let stream = self.streams.entry(stream).or_default();
        stream.qos = qos;
        if number as usize >= stream.fates.len() {
            self.counts.sent += 1;
            stream.fates.resize(number as usize + 1, Fate::Open);
        }
    }

    fn answer(&mut self, stream: u32, number: u64, fate: Fate) {
        let fates = self.streams.get_mut(&stream).map(|stream| &mut stream.fates);
        if let Some(known) = fates.and_then(|fates| fates.get_mut(number as usize)) {
            *known = fate;
        }
    }

    fn receive(&mut self, client: &str, stream: u32, number: u64) -> Result<(), String> {
        self.counts.received += 1;
        let message = name(stream, number);
        let sent = self.streams.get(&stream).filter(|of| number < of.fates.len() as u64);
        let Some(sent) = sent else {
            return Err(format!("sent_is_received: {client} has received {message}, never sent"));
        };
        let receiver = self.receiver_of.get(client).and_then(|name| self.receivers.get_mut(name));
        let Some(receiver) = receiver else {
            return Err(format!("sent_is_received: {client}, which did not subscribe: {message}"));
        };
        let is_shared = receiver.is_shared;
        let times = receiver.received.entry(stream).or_default();
        if times.len() <= number as usize {
            times.resize(number as usize + 1, 0);
        }
        let times = &mut times[number as usize];
        *times = times.saturating_add(1);
        if *times > 1 {
            self.counts.repeated += 1;
            return match sent.qos {
                2 => Err(format!("qos2_once: {client} has received {message} again")),
                _ => Ok(()),
            };
        }
        if is_shared {
            // A member may be given what another one left, behind what it has got itself.
            return Ok(());
        }
        match self.last.insert((client.to_owned(), stream), number) {
            Some(last) if last > number => {
                Err(format!("order: {client} has received {message} after {}", name(stream, last)))
            }
            _ => Ok(()),
        }
    }

    /// Messages whose answer or arrival is still due.
    pub(super) fn due(&self) -> usize {
        self.unanswered().count() + self.undelivered().count()
    }

    /// Streams of which nothing was acknowledged that was sent when all faults were over.
    pub(super) fn unserved(&self) -> impl Iterator<Item = u32> {
        self.streams.iter().filter(|(_, stream)| !stream.is_served()).map(|(id, _)| *id)
    }

    fn unanswered(&self) -> impl Iterator<Item = (u32, u64)> {
        self.of_fate(Fate::Open).map(|(stream, number, _)| (stream, number))
    }

    fn of_fate(&self, wanted: Fate) -> impl Iterator<Item = (u32, u64, u8)> {
        self.streams.iter().flat_map(move |(id, stream)| {
            let fates = (0..).zip(&stream.fates).filter(move |(_, fate)| **fate == wanted);
            fates.map(|(number, _)| (*id, number, stream.qos))
        })
    }

    /// What is acknowledged and has not come, with its QoS.
    fn undelivered(&self) -> impl Iterator<Item = (&str, u32, u64, u8)> {
        self.receivers.iter().flat_map(move |(name, receiver)| {
            let acknowledged = self.of_fate(Fate::Acknowledged);
            acknowledged.filter_map(move |(stream, number, qos)| {
                let is_owed = receiver.owed_from.get(&stream).is_none_or(|from| number >= *from);
                let is_missing = is_owed && receiver.times(stream, number) == 0;
                is_missing.then_some((name.as_str(), stream, number, qos))
            })
        })
    }

    fn end(&self) -> Result<(), String> {
        let lost: Vec<_> = self.undelivered().collect();
        if let Some((receiver, stream, number, qos)) = lost.first() {
            let rule = if *qos == 2 { "qos2_once" } else { "acknowledged_is_delivered" };
            return Err(format!(
                "{rule}: {} was acknowledged and has not reached {receiver} ({} such deliveries)",
                name(*stream, *number),
                lost.len()
            ));
        }
        if let Some((stream, number)) = self.unanswered().next() {
            return Err(format!(
                "liveness: {} has no answer though all faults are over ({} such messages)",
                name(stream, number),
                self.unanswered().count()
            ));
        }
        match self.unserved().next() {
            Some(stream) => Err(format!(
                "liveness: nothing of stream {stream} is acknowledged though all faults are over"
            )),
            None => Ok(()),
        }
    }
}

fn name(stream: u32, number: u64) -> String {
    format!("message {number} of stream {stream}")
}
