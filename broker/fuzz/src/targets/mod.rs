//! The targets: what is tried, and what must hold of it.

mod decode;
mod mosquitto_conf;
mod session;
mod topic_filter;

/// Something that takes bytes from outside.
#[derive(Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Panics when a property does not hold.
    pub check: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the inputs are made of.
    pub words: &'static [&'static [u8]],
    /// Longest input.
    pub bytes_max: usize,
}

/// Every target.
pub const TARGETS: &[Target] =
    &[decode::TARGET, topic_filter::TARGET, session::TARGET, mosquitto_conf::TARGET];

/// What a client must not send.
const MALFORMED: &str = include_str!("../../../core/tests/vectors/malformed.txt");
/// Well formed packets.
const GOLDEN: &str = include_str!("../../../core/tests/vectors/golden.txt");

/// The packets of the byte vectors: protocol level, bytes.
fn packets() -> Vec<(u8, Vec<u8>)> {
    let lines = |text: &'static str| text.lines().filter(|line| !line.starts_with('#'));
    let golden = lines(GOLDEN).filter_map(|line| line.split_once(' '));
    let malformed = lines(MALFORMED).filter_map(|line| {
        let mut fields = line.split('|').map(str::trim).skip(2);
        Some((fields.next()?, fields.nth(1)?))
    });
    golden
        .chain(malformed)
        .filter_map(|(version, hex)| {
            Some((version.chars().next()?.to_digit(10)? as u8, bytes(hex)))
        })
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A fixed header with the remaining length that fits, and the body.
fn framed(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    loop {
        let more = rest > 0x7F;
        out.push((rest & 0x7F) as u8 | if more { 0x80 } else { 0 });
        rest >>= 7;
        if !more {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// The packet without its fixed header's length: what [`framed`] puts together again.
fn unframed(packet: &[u8]) -> Option<(u8, &[u8])> {
    let (&first, rest) = packet.split_first()?;
    let length_bytes = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    Some((first, &rest[length_bytes..]))
}
