//! Receives what a durable session gets, and moves: to another broker while its connection stands, or away for a while.

use std::collections::HashSet;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mqtt_bench::connection::unexpected;
use mqtt_bench::stamp::Stamp;
use mqtt_bench::wire::{
    self, FAILURE, Frame, PUBACK, PUBCOMP, PUBREC, PUBREL, SUBACK, Version, acknowledge,
};

use super::link::Link;
use super::{Identity, Shared, TOPICS};
use crate::chaos::history::Event;
use crate::chaos::random::Random;

/// How long a client waits for packets before it looks at the clock.
const TURN: Duration = Duration::from_millis(20);

struct Subscriber<'a> {
    identity: Identity<'a>,
    group: Option<String>,
    is_subscribed: bool,
    /// QoS 2 messages that the broker has not released: the client's part of the session.
    unreleased: HashSet<u16>,
}

/// A subscriber, until it is to go; tells when it is subscribed.
pub(super) fn run(
    shared: &Shared,
    random: Random,
    number: u32,
    group: Option<String>,
    subscribed: &SyncSender<()>,
) {
    let identity = Identity::new(shared, random, format!("subscriber-{number}"));
    let unreleased = HashSet::new();
    let mut subscriber = Subscriber { identity, group, is_subscribed: false, unreleased };
    let mut next = None;
    while let Some(mut link) = next.take().or_else(|| Some(subscriber.identity.connect()?.0)) {
        if !link.is_session_present {
            subscriber.unreleased.clear();
        }
        let served = subscriber.serve(&mut link, subscribed);
        let may_move = served.is_ok() && !shared.is_stopped();
        if may_move && subscriber.identity.random.once_in(3) {
            drop(link);
            subscriber.sleep();
        } else if may_move {
            // The old connection stands until the new one does, and nothing more is read from it.
            next = subscriber.identity.connect().map(|(link, _)| link);
        }
    }
}

impl Subscriber<'_> {
    /// `Ok` when it is time to move, or to go.
    fn serve(&mut self, link: &mut Link, subscribed: &SyncSender<()>) -> Result<()> {
        if !self.is_subscribed {
            self.subscribe(link)?;
            let _ = subscribed.send(());
        }
        let until = Instant::now() + self.identity.random.millis(2_000..12_000);
        let shared = self.identity.shared;
        while !shared.is_stopped() && (shared.is_healed() || Instant::now() < until) {
            let (client, unreleased) = (&self.identity.client, &mut self.unreleased);
            link.poll(TURN, |frame, out| take(frame, shared, client, unreleased, out))?;
        }
        Ok(())
    }

    fn subscribe(&mut self, link: &mut Link) -> Result<()> {
        let filter = match &self.group {
            Some(group) => format!("$share/{group}/{TOPICS}"),
            None => TOPICS.to_owned(),
        };
        let mut out = Vec::new();
        wire::subscribe(Version::V5, 1, [filter.as_str()], 2, &mut out);
        link.write(&out)?;
        link.call(SUBACK, |frame| {
            let codes = frame.suback_codes(Version::V5)?;
            ensure!(codes == [2], "SUBSCRIBE is answered by {codes:?}");
            Ok(())
        })?;
        self.is_subscribed = true;
        let (client, group) = (self.identity.client.clone(), self.group.clone());
        self.identity.shared.history.record(Event::Subscribed { client, group });
        Ok(())
    }

    /// Away for a while: what comes is kept for it.
    fn sleep(&mut self) {
        let until = Instant::now() + self.identity.random.millis(500..5_000);
        let shared = self.identity.shared;
        while Instant::now() < until && !shared.is_stopped() && !shared.is_healed() {
            std::thread::sleep(TURN);
        }
    }
}

fn take(
    frame: Frame<'_>,
    shared: &Shared,
    client: &str,
    unreleased: &mut HashSet<u16>,
    out: &mut Vec<u8>,
) -> Result<()> {
    if frame.first == PUBREL {
        let (identifier, _) = frame.acknowledgement()?;
        unreleased.remove(&identifier);
        acknowledge(PUBCOMP, identifier, out);
        return Ok(());
    }
    if !frame.is_publish() {
        return unexpected(frame);
    }
    let delivery = frame.delivery(Version::V5)?;
    let stamp = Stamp::read(delivery.payload).context("a message of another test")?;
    ensure!(delivery.qos > 0 && delivery.qos < FAILURE, "QoS {}", delivery.qos);
    if delivery.qos == 1 || unreleased.insert(delivery.packet_id) {
        let (stream, number) = (stamp.publisher, stamp.sequence);
        shared.history.record(Event::Received { client: client.to_owned(), stream, number });
    }
    let answer = if delivery.qos == 2 { PUBREC } else { PUBACK };
    acknowledge(answer, delivery.packet_id, out);
    Ok(())
}
