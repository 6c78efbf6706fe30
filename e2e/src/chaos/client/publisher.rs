//! Sends numbered messages at a pace, and each again until it is answered. Spec: MQTT 5.0 section 4.4.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mqtt_bench::connection::unexpected;
use mqtt_bench::stamp::Stamp;
use mqtt_bench::wire::{
    FAILURE, Frame, PUBACK, PUBCOMP, PUBREC, PUBREL, PublishTemplate, Version, acknowledge,
};

use super::link::Link;
use super::{Identity, Shared};
use crate::chaos::history::Event;
use crate::chaos::random::Random;

/// Messages of one stream on their way at most.
const WINDOW: usize = 20;
/// Between two messages of one stream.
const PACE: Duration = Duration::from_millis(20);
/// How long a client waits for packets before it looks at the clock.
const TURN: Duration = Duration::from_millis(5);
/// Packet Identifiers of one stream; those of the other follow.
const IDENTIFIERS: u64 = 30_000;
/// DUP of a PUBLISH.
const DUP: u8 = 0x08;
/// Bytes of a payload.
const PAYLOAD_BYTES: usize = 128;

/// One topic and QoS.
struct Stream {
    id: u32,
    qos: u8,
    template: PublishTemplate,
    next: u64,
    due: Instant,
    /// What is not done, and whether PUBREC has come.
    on_the_way: BTreeMap<u64, bool>,
}

impl Stream {
    fn new(publisher: u32, qos: u8) -> Self {
        let id = 2 * publisher + u32::from(qos) - 1;
        let topic = format!("chaos/{id}");
        Self {
            id,
            qos,
            template: PublishTemplate::new(Version::V5, &topic, qos, PAYLOAD_BYTES),
            next: 0,
            due: Instant::now(),
            on_the_way: BTreeMap::new(),
        }
    }

    fn identifier(&self, number: u64) -> u16 {
        let base = IDENTIFIERS * u64::from(self.qos - 1);
        (1 + base + number % IDENTIFIERS) as u16
    }

    /// The message that has this Packet Identifier.
    fn number(&self, identifier: u16) -> Option<u64> {
        self.on_the_way.keys().copied().find(|number| self.identifier(*number) == identifier)
    }

    fn append(&self, number: u64, is_again: bool, out: &mut Vec<u8>) {
        let at = out.len();
        let stamp = Stamp { sent_nanos: 0, sequence: number, publisher: self.id };
        self.template.append(self.identifier(number), stamp, out);
        if is_again {
            out[at] |= DUP;
        }
    }
}

/// A publisher, until all it has sent is answered and nothing new is wanted.
pub(super) fn run(shared: &Shared, random: Random, number: u32) {
    let mut identity = Identity::new(shared, random, format!("publisher-{number}"));
    let mut streams = [1, 2].map(|qos| Stream::new(number, qos));
    while let Some((mut link, _)) = identity.connect() {
        // Whatever breaks the connection, the next one goes on.
        if serve(&mut link, identity.node, shared, &mut streams).is_ok() {
            return;
        }
    }
}

/// `Ok` when the work is done. The link leads to broker `node`.
fn serve(link: &mut Link, node: usize, shared: &Shared, streams: &mut [Stream; 2]) -> Result<()> {
    let mut out = Vec::new();
    for stream in streams.iter() {
        for (number, is_received) in &stream.on_the_way {
            match is_received {
                true => acknowledge(PUBREL, stream.identifier(*number), &mut out),
                false => stream.append(*number, true, &mut out),
            }
        }
    }
    loop {
        if !shared.is_healed() {
            for stream in streams.iter_mut() {
                fill(stream, node, shared, &mut out);
            }
        } else if streams.iter().all(|stream| stream.on_the_way.is_empty()) {
            return Ok(());
        }
        if shared.is_stopped() {
            return Ok(());
        }
        if !out.is_empty() {
            link.write(&out)?;
            out.clear();
        }
        link.poll(TURN, |frame, out| take(frame, node, shared, streams, out))?;
    }
}

fn fill(stream: &mut Stream, node: usize, shared: &Shared, out: &mut Vec<u8>) {
    let now = Instant::now();
    if stream.due > now || stream.on_the_way.len() >= WINDOW {
        return;
    }
    // What could not be sent in time is not made up for.
    stream.due = (stream.due + PACE).max(now);
    let (id, qos, number) = (stream.id, stream.qos, stream.next);
    shared.history.record(Event::Sent { stream: id, number, qos, node });
    stream.append(number, false, out);
    stream.on_the_way.insert(number, false);
    stream.next += 1;
}

fn take(
    frame: Frame<'_>,
    node: usize,
    shared: &Shared,
    streams: &mut [Stream; 2],
    out: &mut Vec<u8>,
) -> Result<()> {
    if !matches!(frame.first, PUBACK | PUBREC | PUBCOMP) {
        return unexpected(frame);
    }
    let (identifier, code) = frame.acknowledgement()?;
    let stream =
        if u64::from(identifier) > IDENTIFIERS { &mut streams[1] } else { &mut streams[0] };
    // A repeated answer is about what is done.
    let Some(number) = stream.number(identifier) else { return Ok(()) };
    let id = stream.id;
    if code >= FAILURE && frame.first != PUBCOMP {
        stream.on_the_way.remove(&number);
        shared.history.record(Event::Refused { stream: id, number, code });
        return Ok(());
    }
    match (frame.first, stream.qos) {
        (PUBACK, 1) => {
            stream.on_the_way.remove(&number);
            shared.history.record(Event::Acknowledged { stream: id, number, node });
        }
        (PUBREC, 2) => {
            if stream.on_the_way.insert(number, true) == Some(false) {
                shared.history.record(Event::Acknowledged { stream: id, number, node });
            }
            acknowledge(PUBREL, identifier, out);
        }
        // With a reason: the broker knew the end already.
        (PUBCOMP, 2) => drop(stream.on_the_way.remove(&number)),
        _ => bail!("an answer of another QoS: {frame:?}"),
    }
    Ok(())
}
