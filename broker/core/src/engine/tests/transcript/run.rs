//! Replays the lines of a transcript that say what clients do, and writes it whole.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use broker_policy::scram::{ClientFirst, ScramChallenge};
use broker_policy::{AclType, Policy, ScramCredential};

use super::script::parse_packet;
use super::show::show;
use crate::codec::packet::connect_version;
use crate::codec::{DecodeLimits, Decoded, ReasonCode, Sender, decode};
use crate::engine::tests::rig::{Rig, policy};
use crate::engine::{Effect, EngineConfig, ExchangeOutcome, SharedSubscriptionStrategy};
use crate::types::{ConnectionId, ProtocolVersion};

/// The user of RFC 7677 section 3, and the broker's part of the nonce there.
const SALT: [u8; 16] = [
    0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81,
];
const NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

struct Replay<'a> {
    rig: Rig,
    /// By the names that the transcript gives them.
    clients: BTreeMap<String, (ConnectionId, Option<ProtocolVersion>)>,
    challenges: HashMap<ConnectionId, ScramChallenge>,
    out: String,
    place: &'a str,
}

/// The transcript as it happens now. Lines that say what the broker does are read over.
pub(super) fn replay(stated: &str, place: &str) -> String {
    let config: Vec<&str> =
        stated.lines().filter_map(|line| line.strip_prefix("broker ")).collect();
    let (config, policy) = configured(&config.join(" "), place);
    let mut replay = Replay {
        rig: Rig::with(config, policy),
        clients: BTreeMap::new(),
        challenges: HashMap::new(),
        out: String::new(),
        place,
    };
    for line in stated.lines() {
        let is_generated = line.starts_with([' ', '+'])
            || line
                .split_once(' ')
                .is_some_and(|(_, what)| what.starts_with("< ") || what == "closed");
        if !is_generated {
            replay.step(line);
        }
    }
    replay.out
}

/// What a `broker` line says.
fn configured(text: &str, place: &str) -> (EngineConfig, Policy) {
    let mut config = EngineConfig {
        shared_subscription_strategy: SharedSubscriptionStrategy::RoundRobin,
        ..EngineConfig::default()
    };
    let mut policy_of = policy(&["user"], &[]);
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u32>().unwrap_or_else(|e| panic!("{place}: {word}: {e}"));
        match key {
            "keep_alive_max" => config.keep_alive_seconds_max = number() as u16,
            "session_expiry_max" => config.session_expiry_seconds_max = number(),
            "packet_bytes_max" => config.packet_bytes_max = number(),
            "receive_maximum" => config.receive_maximum = number() as u16,
            "alias_max" => config.topic_alias_maximum = number() as u16,
            "alias_max_outbound" => config.topic_alias_maximum_outbound = number() as u16,
            "response_information" => config.response_information = Some(value.into()),
            "denies" => {
                let acls = [
                    (AclType::PublishClientSend, value, false),
                    (AclType::SubscribeLiteral, value, false),
                ];
                policy_of = policy(&["user"], &acls);
            }
            _ => panic!("{place}: the broker has no {key}"),
        }
    }
    (config, policy_of)
}

impl Replay<'_> {
    fn step(&mut self, line: &str) {
        writeln!(self.out, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') || line.starts_with("broker ") {
            return;
        }
        if let Some(time) = line.strip_prefix("advance ") {
            return self.advance(time);
        }
        let Some((name, what)) = line.split_once(' ') else { panic!("{}: {line}", self.place) };
        if what == "lost" {
            let (id, _) = self.clients.remove(name).unwrap();
            self.rig.lose(id);
        } else if let Some(packet) = what.strip_prefix("> ") {
            self.send(name, packet);
        } else {
            panic!("{}: {line}: name > PACKET, name lost or advance 5s is expected", self.place);
        }
        self.settle();
        self.hear("");
    }

    fn send(&mut self, name: &str, packet: &str) {
        if !self.clients.contains_key(name) {
            let id = self.rig.open();
            self.clients.insert(name.to_owned(), (id, None));
        }
        let (id, version) = self.clients.get_mut(name).unwrap();
        let bytes = parse_packet(packet, *version)
            .unwrap_or_else(|what| panic!("{}: {packet}: {what}", self.place));
        if version.is_none() {
            *version = connect_version(&bytes);
        }
        write_bytes(&mut self.out, name, &bytes);
        let id = *id;
        self.rig.send_bytes(id, &bytes);
    }

    fn advance(&mut self, time: &str) {
        let millis = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(millis), _) => millis.parse::<u64>().unwrap(),
            (None, Some(seconds)) => seconds.parse::<u64>().unwrap() * 1000,
            _ => panic!("{}: advance {time}: write 5s or 500ms", self.place),
        };
        let (begin, end) = (self.rig.now, self.rig.now.plus(millis));
        while let Some(at) = self.rig.engine.next_timeout().filter(|&at| at <= end) {
            self.rig.now = self.rig.now.max(at);
            self.rig.engine.handle_timeout(self.rig.now);
            self.rig.settle();
            let passed = self.rig.now.since(begin);
            self.hear(&format!("+{}.{:03}s", passed / 1000, passed % 1000));
        }
        self.rig.now = end;
    }

    /// Answers what the rig leaves to the test: exchanges of the user whose password is `pencil`.
    fn settle(&mut self) {
        while let Some(effect) = self.rig.effects.pop() {
            let (id, outcome) = match effect {
                Effect::BeginExchange { connection, request } => {
                    (connection, self.challenge(connection, &request.data))
                }
                Effect::ContinueExchange { connection, data } => {
                    (connection, self.proof(connection, &data))
                }
                _ => continue,
            };
            self.rig.engine.exchanged(self.rig.now, id, outcome);
            self.rig.settle();
        }
    }

    fn challenge(&mut self, id: ConnectionId, data: &[u8]) -> ExchangeOutcome {
        let Ok(first) = ClientFirst::read(data) else { return refused() };
        let credential = ScramCredential::derive(b"pencil", &SALT, 4096).unwrap();
        let (challenge, message) = first.challenge(credential, NONCE);
        self.challenges.insert(id, challenge);
        ExchangeOutcome::Continue { data: message.into_bytes().into() }
    }

    fn proof(&mut self, id: ConnectionId, data: &[u8]) -> ExchangeOutcome {
        match self.challenges.remove(&id).unwrap().finish(data) {
            Ok(message) => ExchangeOutcome::Proved {
                username: "user".into(),
                data: message.into_bytes().into(),
            },
            Err(_) => refused(),
        }
    }

    /// Writes what every client has got, after `when` if there is any.
    fn hear(&mut self, when: &str) {
        let before = self.out.len();
        let clients: Vec<_> = self
            .clients
            .iter()
            .map(|(name, (id, version))| (name.clone(), *id, *version))
            .collect();
        for (name, id, version) in clients {
            let bytes = self.rig.bytes(id);
            self.write_packets(&name, &bytes, version);
            self.rig.settle();
            if self.rig.is_closed(id) {
                writeln!(self.out, "{name} closed").unwrap();
                self.clients.remove(&name);
                self.rig.lose(id);
            }
        }
        if self.out.len() > before {
            if !when.is_empty() {
                self.out.insert_str(before, &format!("{when}\n"));
            }
            // What one client's end makes another one hear.
            self.hear("");
        }
    }

    fn write_packets(&mut self, name: &str, bytes: &[u8], version: Option<ProtocolVersion>) {
        let limits = DecodeLimits { sender: Sender::Server, ..DecodeLimits::default() };
        // A version that is refused is answered in the one that is nearest.
        let versions = version.map_or([ProtocolVersion::V311, ProtocolVersion::V5], |v| [v, v]);
        let mut rest = bytes;
        while !rest.is_empty() {
            let found = versions.iter().find_map(|&version| {
                decode(rest, Some(version), &limits).ok().map(|packet| (packet, version))
            });
            let Some((Decoded::Packet { packet, consumed }, version)) = found else {
                panic!("{}: {name} gets {rest:02x?}", self.place);
            };
            writeln!(self.out, "{name} < {}", show(&packet, version)).unwrap();
            write_bytes(&mut self.out, name, &rest[..consumed]);
            rest = &rest[consumed..];
        }
    }
}

const fn refused() -> ExchangeOutcome {
    ExchangeOutcome::Refused { reason_code: ReasonCode::NotAuthorized }
}

fn write_bytes(out: &mut String, name: &str, bytes: &[u8]) {
    /// Bytes of a line.
    const WIDTH: usize = 28;
    for line in bytes.chunks(WIDTH) {
        write!(out, "{:1$}", "", name.len() + 2).unwrap();
        line.iter().for_each(|byte| write!(out, " {byte:02x}").unwrap());
        out.push('\n');
    }
}
