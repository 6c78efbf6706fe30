//! The clients, the engine and the network between them, step by step.

use std::collections::BTreeMap;

use super::Chance;
use super::client::{Client, EXPIRY_SECONDS, KEEP_ALIVE_SECONDS, Name, WINDOW};
use super::link::Link;
use crate::engine::EngineConfig;
use crate::engine::tests::rig::*;
use crate::types::{ConnectionId, Millis};

const CLIENTS: usize = 3;
/// Messages of each client.
const MESSAGES: u32 = 25;
/// How long a client is silent before the broker may end its connection, and how late it may.
const SILENCE_MILLIS: u64 = KEEP_ALIVE_SECONDS as u64 * 1500;
const LATE_MILLIS: u64 = 1000;
/// More virtual time than any case takes.
const END_MILLIS: u64 = 3_600_000;

/// How bad it was.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Happened {
    pub(super) cuts: u64,
    /// Cuts that the broker learned of after the client's next CONNECT, or by its silence.
    pub(super) unnoticed: u64,
    /// Clients that fell silent, and were sent away for it.
    pub(super) silences: u64,
    pub(super) duplicates: u64,
    pub(super) resumed: u64,
}

impl Happened {
    pub(super) fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.unnoticed += other.unnoticed;
        self.silences += other.silences;
        self.duplicates += other.duplicates;
        self.resumed += other.resumed;
    }
}

/// A client's part in the world.
struct Seat {
    client: Client,
    link: Option<ConnectionId>,
    acts_at: Millis,
    is_silent: bool,
}

pub(super) struct World {
    rig: Rig,
    chance: Chance,
    seats: Vec<Seat>,
    links: BTreeMap<ConnectionId, Link>,
    happened: Happened,
    /// Whether the network may still be bad.
    is_bad: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let config =
            EngineConfig { receive_maximum: WINDOW as u16, seed, ..EngineConfig::default() };
        let rig = match chance.once_in(2) {
            true => Rig::durable_with(config),
            false => Rig::with(config, open_policy()),
        };
        let clients = (0..CLIENTS).map(|number| Client::new(number, &mut chance));
        let seats = clients
            .map(|client| Seat { client, link: None, acts_at: rig.now, is_silent: false })
            .collect();
        let links = BTreeMap::new();
        Self { rig, chance, seats, links, happened: Happened::default(), is_bad: true }
    }

    /// Runs the case to its end.
    pub(super) fn run(mut self) -> Happened {
        let end = self.rig.now.plus(END_MILLIS);
        while !self.is_done() {
            self.step();
            assert!(self.rig.now < end, "it does not come to an end");
        }
        self.check();
        self.check_expiry();
        for seat in &self.seats {
            self.happened.duplicates += seat.client.duplicates;
            self.happened.resumed += seat.client.resumed;
        }
        self.happened
    }

    fn is_done(&self) -> bool {
        let is_quiet = |(id, link): (&ConnectionId, &Link)| {
            let is_said = self.rig.engine.output(*id).is_empty();
            link.is_left || (is_said && link.to_broker.is_empty() && link.to_client.is_empty())
        };
        let is_settled =
            |seat: &Seat| seat.client.is_done() && seat.link.is_some() && !seat.is_silent;
        !self.is_bad && self.seats.iter().all(is_settled) && self.links.iter().all(is_quiet)
    }

    /// Goes on to the next moment at which something happens.
    fn step(&mut self) {
        let links = self.links.values().filter_map(Link::next);
        let seats = self.seats.iter().map(|seat| seat.acts_at);
        let next = links.chain(seats).chain(self.rig.engine.next_timeout()).min();
        self.rig.now = self.rig.now.max(next.unwrap());
        let now = self.rig.now;
        if self.rig.engine.next_timeout().is_some_and(|at| at <= now) {
            self.rig.engine.handle_timeout(now);
            self.rig.settle();
        }
        let ids: Vec<_> = self.links.keys().copied().collect();
        for &id in &ids {
            self.carry_to_broker(id);
        }
        for number in 0..CLIENTS {
            if self.seats[number].acts_at <= now {
                self.act(number);
            }
        }
        let ids: Vec<_> = self.links.keys().copied().collect();
        for id in ids {
            self.carry_to_client(id);
        }
    }

    fn carry_to_broker(&mut self, id: ConnectionId) {
        let now = self.rig.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let bytes = link.to_broker.arrived(now);
        let is_noticed = link.noticed_at.is_some_and(|at| at <= now);
        if !bytes.is_empty() {
            link.heard_at = now;
            self.rig.send_bytes(id, &bytes);
        }
        if is_noticed {
            self.links.remove(&id);
            self.rig.lose(id);
        }
    }

    /// What the broker writes, and what has arrived of it.
    fn carry_to_client(&mut self, id: ConnectionId) {
        let now = self.rig.now;
        let written = self.rig.engine.output(id).to_vec();
        let taken = match self.chance.once_in(4) && !self.rig.is_closed(id) {
            true => self.chance.below(written.len() as u64 + 1) as usize,
            false => written.len(),
        };
        self.rig.engine.output_written(now, id, taken);
        self.rig.settle();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.to_client.push(now, &mut self.chance, &written[..taken]);
        let is_closed = self.rig.is_closed(id);
        let number = link.client;
        if is_closed && !link.is_closed {
            link.is_closed = true;
            self.closed_by_broker(id);
            return;
        }
        if link.is_left {
            return;
        }
        let seat = &mut self.seats[number];
        let bytes = link.to_client.arrived(now);
        if !bytes.is_empty() && !seat.is_silent {
            seat.client.receive(&bytes);
            self.write(number);
        }
    }

    /// The broker ends a connection only if its client was silent, or has another one: one that it
    /// has given up, too, if its CONNECT comes late.
    fn closed_by_broker(&mut self, id: ConnectionId) {
        let now = self.rig.now;
        let link = &self.links[&id];
        let (number, silence) = (link.client, now.since(link.heard_at));
        let is_late =
            |other: &Link| other.client == number && other.is_left && other.heard_at == now;
        if link.is_left {
            self.happened.unnoticed += 1;
        } else {
            let is_taken_over = self.links.values().any(is_late);
            let seat = &mut self.seats[number];
            let allowed = SILENCE_MILLIS..=SILENCE_MILLIS + LATE_MILLIS;
            if seat.is_silent && !is_taken_over {
                assert!(allowed.contains(&silence), "silent for {silence} ms");
                self.happened.silences += 1;
            }
            assert!(seat.is_silent || is_taken_over, "client {number} is sent away");
            (seat.is_silent, seat.client.is_in, seat.link) = (false, false, None);
            seat.acts_at = now.plus(1);
        }
        self.links.remove(&id);
        self.rig.lose(id);
    }

    /// What a client does of itself.
    fn act(&mut self, number: usize) {
        let now = self.rig.now;
        self.seats[number].acts_at = now.plus(1 + self.chance.below(200));
        if self.seats[number].link.is_none() {
            return self.connect(number);
        }
        let is_everybody_subscribed = self.seats.iter().all(|seat| seat.client.is_subscribed);
        let seat = &mut self.seats[number];
        if seat.is_silent {
            seat.acts_at = now.plus(60_000);
            return;
        }
        if now.since(seat.client.sent_at) > u64::from(KEEP_ALIVE_SECONDS) * 400 {
            seat.client.ping();
        }
        let count: u32 = seat.client.sent.values().sum();
        if seat.client.is_in && is_everybody_subscribed && count < MESSAGES {
            seat.client.publish(&mut self.chance);
        }
        self.write(number);
        let is_over = |seat: &Seat| seat.client.sent.values().sum::<u32>() >= MESSAGES;
        self.is_bad = self.is_bad && !self.seats.iter().all(is_over);
        if self.is_bad && self.chance.once_in(12) {
            self.cut(number);
        } else if self.is_bad && self.seats[number].client.is_in && self.chance.once_in(60) {
            self.seats[number].is_silent = true;
        }
    }

    fn connect(&mut self, number: usize) {
        let id = self.rig.open();
        self.links.insert(id, Link::new(number, self.rig.now));
        let seat = &mut self.seats[number];
        seat.link = Some(id);
        seat.client.connect(&mut self.chance);
        self.write(number);
    }

    /// What a client has to say goes on its way.
    fn write(&mut self, number: usize) {
        let now = self.rig.now;
        let seat = &mut self.seats[number];
        let bytes = std::mem::take(&mut seat.client.output);
        let link = seat.link.and_then(|id| self.links.get_mut(&id));
        if let (Some(link), false) = (link, bytes.is_empty()) {
            seat.client.sent_at = now;
            link.to_broker.push(now, &mut self.chance, &bytes);
        }
    }

    /// The connection breaks: of what is on its way some arrives still, and the broker hears of it
    /// at once, later, or never.
    fn cut(&mut self, number: usize) {
        let now = self.rig.now;
        let seat = &mut self.seats[number];
        let Some(link) = seat.link.take().and_then(|id| self.links.get_mut(&id)) else { return };
        self.happened.cuts += 1;
        link.to_broker.cut(&mut self.chance);
        link.to_client.cut(&mut self.chance);
        // What arrived before the client saw the end.
        let last = link.to_client.arrived(Millis(u64::MAX));
        link.is_left = true;
        let behind = link.to_broker.next().map_or(0, |_| 5_000);
        link.noticed_at = match self.chance.below(3) {
            0 => None,
            times => Some(now.plus(behind + 1 + self.chance.below(2_000) * (times - 1))),
        };
        seat.client.receive(&last);
        seat.client.output.clear();
        seat.client.is_in = false;
        let away = if self.chance.once_in(5) { 20_000 } else { 500 };
        seat.acts_at = now.plus(1 + self.chance.below(away));
    }

    fn check(&self) {
        let mut sent = BTreeMap::new();
        self.seats.iter().for_each(|seat| sent.extend(seat.client.sent.clone()));
        for seat in &self.seats {
            for (name, &count) in &sent {
                let received = seat.client.received.get(name).map_or(&[][..], Vec::as_slice);
                check_received(*name, count, received);
            }
        }
        let counters = self.rig.engine.counters();
        assert_eq!((counters.queued_messages, counters.queued_bytes), (0, 0));
    }

    /// A session is there until its Session Expiry Interval is over, and not afterwards.
    fn check_expiry(&mut self) {
        for id in std::mem::take(&mut self.links).into_keys() {
            self.rig.lose(id);
        }
        let millis = u64::from(EXPIRY_SECONDS) * 1000;
        for (wait, is_over) in [(millis - 1_000, false), (millis + 1_000, true)] {
            self.rig.wait(wait);
            for seat in &mut self.seats {
                seat.client.connect(&mut self.chance);
                let id = self.rig.open();
                self.rig.send_bytes(id, &seat.client.output);
                let [0x20, _, is_present, 0, ..] = self.rig.bytes(id)[..] else { panic!() };
                assert_eq!(is_present == 1, !(is_over && seat.client.expires()));
                self.rig.lose(id);
            }
        }
    }
}

fn check_received(name: Name, count: u32, received: &[u32]) {
    let mut first_times = received.to_vec();
    let mut seen = std::collections::BTreeSet::new();
    first_times.retain(|number| seen.insert(*number));
    let all: Vec<u32> = (0..count).collect();
    match name.qos {
        AtMostOnce => {
            assert_eq!(first_times, received, "{name:?}: at most once");
            assert!(received.is_sorted(), "{name:?}: in order: {received:?}");
        }
        AtLeastOnce => assert_eq!(first_times, all, "{name:?}: at least once, in order"),
        ExactlyOnce => assert_eq!(received, all, "{name:?}: exactly once, in order"),
    }
}
