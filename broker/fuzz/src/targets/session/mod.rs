//! An engine fed with arbitrary packets of several clients, arbitrary answers of its driver, and
//! time: it answers in well formed packets, holds no more than its limits, and nothing is left when
//! everybody is gone.
//!
//! The input is a script: an operation, a client, a length, and as many bytes.

mod driver;

use broker_core::types::ConnectionId;

use super::{Target, framed, packets, unframed};
use crate::allocation::measure;
use driver::Driver;

pub(super) const TARGET: Target = Target {
    name: "session",
    check,
    seeds,
    words: &[
        b"\x00\x00\x00",
        b"\x03\x00\x00",
        b"\x04\x00\x00",
        b"\x05\x05\x00",
        b"\x06\x01\x00",
        b"\x0c\x00\x00",
        b"\x0c\x01\x00",
        b"\x06\x00\x00",
        // PUBLISH a, QoS 1 and 2, of 5.0.
        b"\x02\x00\x08\x32\0\x01a\0\x01\0x",
        b"\x02\x00\x08\x34\0\x01a\0\x02\0x",
        b"\x02\x00\x08\x31\0\x01a\0xyz",
        b"\x02\x00\x08\x82\0\x01\0\0\x01a\x02",
        b"\x02\x00\x08\x82\0\x01\0\0\x01#\x01",
        b"\x02\x00\x10\x82\0\x01\0\0\x0a$share/g/a\x01",
        b"\x02\x00\x03\x40\0\x01",
        b"\x02\x00\x03\x62\0\x01",
        b"\x02\x00\x01\xE0",
        // PUBLISH to a topic that is delayed and to one that is rewritten, QoS 1, of 5.0.
        b"\x02\x00\x17\x32\0\x10$delayed/1/b/x/y\0\x01\0z",
        b"\x02\x00\x0c\x32\0\x05b/x/y\0\x01\0z",
        // CONNECT by SCRAM-SHA-256, AUTH that goes on, and one that begins again.
        b"\0\0\0\x02\0\x1f\x10\0\x04MQTT\x05\x02\0\x3c\x10\x15\0\x0dSCRAM-SHA-256\0\x01m",
        b"\x02\x00\x13\xF0\x18\x10\x15\0\x0dSCRAM-SHA-256",
        b"\x02\x00\x13\xF0\x19\x10\x15\0\x0dSCRAM-SHA-256",
    ],
    bytes_max: 4096,
};

/// Clients at a time.
const CLIENTS: usize = 4;

/// Most memory that a script may make the engine hold: its queues and outputs are bounded, and the
/// longest script has 4 KiB of packets, each of which goes to four clients at most.
const PEAK_BYTES_MAX: usize = 8 * 1024 * 1024;

const OPEN: u8 = 0;
const BYTES: u8 = 1;
const PACKET: u8 = 2;
const READ: u8 = 3;
const LOSE: u8 = 4;
const WAIT: u8 = 5;
const ANSWER: u8 = 6;
const FORWARDED: u8 = 7;
const DRAIN: u8 = 8;
const CONNECT: u8 = 9;
const MANUAL: u8 = 10;
const POLICY: u8 = 11;
const PRESSURE: u8 = 12;

fn step(operation: u8, client: u8, bytes: &[u8]) -> Vec<u8> {
    [&[operation, client, bytes.len().min(255) as u8], &bytes[..bytes.len().min(255)]].concat()
}

/// Each packet of the byte vectors, sent by a client of its version to a broker that has a
/// subscriber; with answers at once and by and by.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (level, packet) in packets() {
        let Some((first, body)) = unframed(&packet) else { continue };
        let subscriber = [
            step(OPEN, 0, &[]),
            step(CONNECT, 0, &[5, 0, 1]),
            step(PACKET, 0, b"\x82\0\x01\0\0\x01#\x02"),
        ];
        let mut script = subscriber.concat();
        script.extend(step(OPEN, 1, &[]));
        if first >> 4 != 1 {
            script.extend(step(CONNECT, 1, &[level, 1, 3]));
        }
        script.extend(step(PACKET, 1, &[&[first], body].concat()));
        script.extend(step(READ, 0, &[]));
        script.extend(step(READ, 1, &[]));
        script.extend(step(WAIT, 1, &[]));
        seeds.push([&step(MANUAL, 0, &[])[..], &script].concat());
        seeds.push(script);
    }
    seeds
}

fn check(input: &[u8]) {
    let ((), taken) = measure(|| {
        let mut driver = Driver::new();
        let mut rest = input;
        while let [operation, client, length, more @ ..] = rest {
            let (bytes, more) = more.split_at(more.len().min(usize::from(*length)));
            rest = more;
            operate(&mut driver, *operation % (PRESSURE + 1), usize::from(*client), bytes);
        }
        driver.end();
    });
    assert!(taken.peak <= PEAK_BYTES_MAX, "it took {} bytes", taken.peak);
}

fn operate(driver: &mut Driver, operation: u8, client: usize, bytes: &[u8]) {
    let at: Option<ConnectionId> = driver.connection(client % CLIENTS);
    match (operation, at) {
        (OPEN, _) => driver.open(client % CLIENTS, client),
        (BYTES, Some(id)) => driver.send(id, bytes),
        (PACKET, Some(id)) => {
            if let Some((&first, body)) = bytes.split_first() {
                driver.send(id, &framed(first, body));
            }
        }
        (CONNECT, Some(id)) => driver.connect(id, bytes),
        (READ, Some(id)) => driver.read(id),
        (LOSE, Some(id)) => driver.lose(id),
        (WAIT, _) => driver.wait(1 << (client % 22)),
        (ANSWER, _) => driver.answer_oldest(client & 1 == 1),
        (FORWARDED, _) => driver.forwarded(bytes),
        (DRAIN, _) => driver.drain(client % CLIENTS),
        (MANUAL, _) => driver.answers_at_once = false,
        (POLICY, _) => driver.change_policy(client),
        (PRESSURE, _) => driver.press(client),
        _ => {}
    }
}
