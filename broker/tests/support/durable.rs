//! Clients with sessions that outlive connections and brokers: numbered messages from one to
//! another, over connections that break at any moment.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{
    CONNACK, DISCONNECT, PUBACK, PUBLISH, Packet, SUBACK, connect, connect_tcp, packet,
};
use super::eventually;

const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

/// Reason Code: Packet Identifier not found.
const IDENTIFIER_NOT_FOUND: u8 = 0x92;

/// Messages that a publisher has on their way at once.
const WINDOW: usize = 20;

/// Silence after which a client looks whether it is to stop.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// Far longer than a killed broker takes to come back, or the others to elect a leader.
const LETS_IN_WITHIN: Duration = Duration::from_secs(120);

/// Wait before a broker that can't be reached is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Where brokers listen; a client tries one after the other.
pub(crate) type Places = Arc<Mutex<Vec<SocketAddr>>>;

/// A connection that gives errors rather than panics.
struct Link {
    reader: BufReader<TcpStream>,
}

impl Link {
    /// Connects to a session; says whether there was one.
    fn open(
        address: SocketAddr,
        client_id: &str,
        username: Option<&str>,
    ) -> io::Result<(Self, bool)> {
        let tcp = connect_tcp(address)?;
        let mut link = Self { reader: BufReader::new(tcp) };
        let password: &[u8] = if username.is_some() { b"secret" } else { b"" };
        link.send(&connect(client_id, username, password, false))?;
        let connack = link.receive()?;
        match (connack.kind(), connack.body.get(1)) {
            (CONNACK, Some(0)) => Ok((link, connack.body[0] == 1)),
            _ => Err(io::Error::other(format!("not let in: {connack:?}"))),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    fn acknowledge(&mut self, kind: u8, packet_id: u16) -> io::Result<()> {
        let [high, low] = packet_id.to_be_bytes();
        let flags = if kind == PUBREL { 2 } else { 0 };
        self.send(&[kind << 4 | flags, 2, high, low])
    }

    /// The next packet; `None` when none has come for a while.
    fn poll(&mut self) -> io::Result<Option<Packet>> {
        if self.reader.buffer().is_empty() {
            self.reader.get_ref().set_read_timeout(Some(READ_TIMEOUT))?;
            let waited = io::BufRead::fill_buf(&mut self.reader).map(<[u8]>::len);
            self.reader.get_ref().set_read_timeout(Some(super::DEADLINE))?;
            match waited {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        self.receive().map(Some)
    }

    fn receive(&mut self) -> io::Result<Packet> {
        let mut byte = [0];
        self.reader.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut length, mut shift) = (0, 0);
        loop {
            self.reader.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7F) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Packet { first, body })
    }
}

/// What a client of a test is, and when it is to stop.
#[derive(Clone)]
pub(crate) struct Role {
    pub(crate) client_id: &'static str,
    pub(crate) username: Option<&'static str>,
    pub(crate) places: Places,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Role {
    /// Connects to whichever broker lets it in; `None` when it is to stop, and may.
    fn open(&self, may_stop: bool) -> Option<(Link, bool)> {
        let started = Instant::now();
        for attempt in 0usize.. {
            assert!(started.elapsed() < LETS_IN_WITHIN, "{}: no broker lets it in", self.client_id);
            if may_stop && self.is_stopped() {
                return None;
            }
            let places = self.places.lock().unwrap().clone();
            let place = places.get(attempt % places.len().max(1));
            let opened = place.map(|place| Link::open(*place, self.client_id, self.username));
            if let Some(Ok(opened)) = opened {
                return Some(opened);
            }
            std::thread::sleep(RETRY_PAUSE);
        }
        None
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn packet_id(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Sends numbered messages of one QoS, each until it is acknowledged.
pub(crate) struct Publisher {
    /// The last number of which all before it are acknowledged.
    pub(crate) acknowledged: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

/// A message on its way: its number, and whether PUBREC has come.
type OnTheWay = BTreeMap<u64, bool>;

struct Sending {
    topic: &'static str,
    qos: u8,
    next: u64,
    on_the_way: OnTheWay,
    acknowledged: Arc<AtomicU64>,
}

impl Publisher {
    pub(crate) fn start(role: Role, topic: &'static str, qos: u8) -> Self {
        let acknowledged = Arc::<AtomicU64>::default();
        let mut sending = Sending {
            topic,
            qos,
            next: 1,
            on_the_way: OnTheWay::new(),
            acknowledged: Arc::clone(&acknowledged),
        };
        let thread = std::thread::spawn(move || {
            while let Some((mut link, _)) = role.open(sending.on_the_way.is_empty()) {
                // Whatever breaks the connection, the next one goes on.
                if sending.serve(&mut link, &role).is_ok() {
                    break;
                }
            }
            sending.next - 1
        });
        Self { acknowledged, thread }
    }

    /// Waits until everything that was sent is acknowledged; the last number.
    pub(crate) fn finish(self) -> u64 {
        self.thread.join().unwrap()
    }
}

impl Sending {
    /// `Ok` when the work is done.
    fn serve(&mut self, link: &mut Link, role: &Role) -> io::Result<()> {
        for (number, is_received) in self.on_the_way.clone() {
            match is_received {
                true => link.acknowledge(PUBREL, id_of(number))?,
                false => link.send(&self.publish(number, true))?,
            }
        }
        loop {
            while self.on_the_way.len() < WINDOW && !role.is_stopped() {
                link.send(&self.publish(self.next, false))?;
                self.on_the_way.insert(self.next, false);
                self.next += 1;
            }
            if self.on_the_way.is_empty() {
                return Ok(());
            }
            if let Some(packet) = link.poll()? {
                self.take(&packet, link)?;
            }
        }
    }

    fn take(&mut self, packet: &Packet, link: &mut Link) -> io::Result<()> {
        if packet.kind() == DISCONNECT {
            // A broker that lost its quorum for a while sends its clients away.
            return Err(io::Error::other(format!("sent away: {packet:?}")));
        }
        let code = packet.body.get(2).copied().unwrap_or(0);
        // A PUBCOMP that says so is about a PUBREL that came again.
        if code >= 0x80 && (packet.kind(), code) != (PUBCOMP, IDENTIFIER_NOT_FOUND) {
            return Err(io::Error::other(format!("refused: {packet:?}")));
        }
        let id = packet_id(&packet.body);
        let Some(number) = self.on_the_way.keys().copied().find(|number| id_of(*number) == id)
        else {
            return Ok(());
        };
        match packet.kind() {
            PUBACK | PUBCOMP => drop(self.on_the_way.remove(&number)),
            PUBREC => {
                self.on_the_way.insert(number, true);
                link.acknowledge(PUBREL, id)?;
            }
            _ => return Err(io::Error::other(format!("unexpected {packet:?}"))),
        }
        let waiting = self.on_the_way.iter().find(|(_, is_received)| !**is_received);
        let first = waiting.map_or(self.next, |(number, _)| *number);
        self.acknowledged.store(first - 1, Ordering::Relaxed);
        Ok(())
    }

    fn publish(&self, number: u64, dup: bool) -> Vec<u8> {
        let length = u16::try_from(self.topic.len()).unwrap().to_be_bytes();
        let id = id_of(number).to_be_bytes();
        let body = [&length[..], self.topic.as_bytes(), &id, &[0], &number.to_be_bytes()].concat();
        packet(0x30 | self.qos << 1 | u8::from(dup) << 3, &body)
    }
}

/// The Packet Identifier of a message.
fn id_of(number: u64) -> u16 {
    u16::try_from((number - 1) % 65_535 + 1).unwrap()
}

/// Every message as it came, by topic.
pub(crate) type Received = Arc<Mutex<BTreeMap<String, Vec<u64>>>>;

/// Receives numbered messages and acknowledges them.
pub(crate) struct Subscriber {
    pub(crate) received: Received,
    /// Times that the session was found on a new connection.
    pub(crate) resumed: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Subscriber {
    /// Connects, subscribes with QoS 2, and goes on until it is to stop.
    pub(crate) fn start(role: Role, filter: &str) -> Self {
        let (received, resumed) = (Received::default(), Arc::<AtomicU64>::default());
        let (mut link, _) = role.open(false).unwrap();
        let length = u16::try_from(filter.len()).unwrap().to_be_bytes();
        let body = [&[0, 1, 0][..], &length, filter.as_bytes(), &[2]].concat();
        link.send(&packet(0x82, &body)).unwrap();
        assert_eq!(link.receive().unwrap(), Packet { first: SUBACK << 4, body: vec![0, 1, 0, 2] });
        let mut receiving =
            Receiving { received: Arc::clone(&received), unreleased: HashSet::new() };
        let count = Arc::clone(&resumed);
        let thread = std::thread::spawn(move || {
            let mut link = Some(link);
            while let Some(mut open) = link.take() {
                if receiving.serve(&mut open, &role).is_ok() {
                    return;
                }
                link = role.open(true).map(|(open, is_present)| {
                    assert!(is_present, "the session is lost");
                    count.fetch_add(1, Ordering::Relaxed);
                    open
                });
            }
        });
        Self { received, resumed, thread }
    }

    pub(crate) fn finish(self) -> BTreeMap<String, Vec<u64>> {
        self.thread.join().unwrap();
        std::mem::take(&mut *self.received.lock().unwrap())
    }
}

struct Receiving {
    received: Received,
    /// QoS 2 messages that the broker has not released: part of the client's own session.
    unreleased: HashSet<u16>,
}

impl Receiving {
    fn serve(&mut self, link: &mut Link, role: &Role) -> io::Result<()> {
        while !role.is_stopped() {
            if let Some(packet) = link.poll()? {
                self.take(&packet, link)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, packet: &Packet, link: &mut Link) -> io::Result<()> {
        match packet.kind() {
            PUBLISH => {
                let length = usize::from(packet_id(&packet.body));
                let topic = String::from_utf8(packet.body[2..2 + length].to_vec()).unwrap();
                let id = packet_id(&packet.body[2 + length..]);
                let number = packet.body[packet.body.len() - 8..].try_into().unwrap();
                let is_qos2 = packet.first >> 1 & 3 == 2;
                if !is_qos2 || self.unreleased.insert(id) {
                    let mut received = self.received.lock().unwrap();
                    received.entry(topic).or_default().push(u64::from_be_bytes(number));
                }
                link.acknowledge(if is_qos2 { PUBREC } else { PUBACK }, id)
            }
            PUBREL => {
                let id = packet_id(&packet.body);
                self.unreleased.remove(&id);
                link.acknowledge(PUBCOMP, id)
            }
            _ => Err(io::Error::other(format!("unexpected {packet:?}"))),
        }
    }
}

/// Waits until the subscriber has the last message of a topic, as long as messages come at all.
pub(crate) fn until_received(received: &Received, topic: &str, last: u64) {
    let look = || {
        let received = received.lock().unwrap();
        let has_last = received.get(topic).is_some_and(|numbers| numbers.contains(&last));
        (has_last, received.values().map(Vec::len).sum::<usize>())
    };
    let (mut has_last, mut count) = look();
    while !has_last {
        let what = format!("more than {count} messages are received, {last} of {topic} not yet");
        (has_last, count) = eventually(&what, || Some(look()).filter(|now| now.0 || now.1 > count));
    }
}

/// Waits until each of these publishers has more acknowledged that it publishes from now on.
pub(crate) fn until_flows(counts: &[&AtomicU64]) {
    let acknowledged = || counts.iter().map(|count| count.load(Ordering::Relaxed));
    let before: Vec<u64> = acknowledged().collect();
    eventually("messages are acknowledged", || {
        let mut all = acknowledged().zip(&before);
        all.all(|(now, before)| now > before + 100).then_some(())
    });
}

/// Every number up to the last has come, in order; what came twice did so behind its first time.
pub(crate) fn check_complete(numbers: &[u64], last: u64) {
    let mut seen = BTreeSet::new();
    let first_times: Vec<u64> = numbers.iter().copied().filter(|n| seen.insert(*n)).collect();
    let missing: Vec<u64> = (1..=last).filter(|number| !seen.contains(number)).collect();
    assert!(missing.is_empty(), "acknowledged and lost: {missing:?}");
    assert!(first_times.is_sorted(), "out of order: {first_times:?}");
}
