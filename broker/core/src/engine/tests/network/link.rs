//! One Network Connection: bytes on their way, in both directions.

use std::collections::VecDeque;

use super::Chance;
use crate::types::Millis;

/// Longest time that bytes are on their way, in milliseconds; rarely a hundred times as long.
const DELAY_MILLIS: u64 = 40;

/// Bytes in one direction: pieces arrive one after the other.
#[derive(Default)]
pub(super) struct Pipe {
    pieces: VecDeque<(Millis, Vec<u8>)>,
    last: Millis,
}

impl Pipe {
    /// Sends bytes, in pieces of any size.
    pub(super) fn push(&mut self, now: Millis, chance: &mut Chance, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let piece = if chance.once_in(3) {
                1 + chance.below(bytes.len() as u64) as usize
            } else {
                bytes.len()
            };
            let slow = if chance.once_in(100) { 50 } else { 1 };
            let at = now.plus(chance.below(DELAY_MILLIS) * slow);
            self.last = self.last.max(at);
            self.pieces.push_back((self.last, bytes[..piece].to_vec()));
            bytes = &bytes[piece..];
        }
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.pieces.front().map(|(at, _)| *at)
    }

    /// What has arrived.
    pub(super) fn arrived(&mut self, now: Millis) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some((_, piece)) = self.pieces.pop_front_if(|(at, _)| *at <= now) {
            bytes.extend(piece);
        }
        bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Cuts it: of what is on its way so many bytes arrive still.
    pub(super) fn cut(&mut self, chance: &mut Chance) {
        let all: usize = self.pieces.iter().map(|(_, piece)| piece.len()).sum();
        let mut left = chance.below(all as u64 + 1) as usize;
        for (_, piece) in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.pieces.retain(|(_, piece)| !piece.is_empty());
    }
}

/// A connection.
pub(super) struct Link {
    pub(super) to_broker: Pipe,
    pub(super) to_client: Pipe,
    /// Whose it is.
    pub(super) client: usize,
    /// The client has given it up, or was told of its end.
    pub(super) is_left: bool,
    /// When the broker hears of that.
    pub(super) noticed_at: Option<Millis>,
    /// The broker has closed it: its last bytes are on their way.
    pub(super) is_closed: bool,
    /// When the broker got bytes last.
    pub(super) heard_at: Millis,
}

impl Link {
    pub(super) fn new(client: usize, now: Millis) -> Self {
        Self {
            to_broker: Pipe::default(),
            to_client: Pipe::default(),
            client,
            is_left: false,
            noticed_at: None,
            is_closed: false,
            heard_at: now,
        }
    }

    /// When something is next to happen on it.
    pub(super) fn next(&self) -> Option<Millis> {
        let to_client = if self.is_left { None } else { self.to_client.next() };
        [self.to_broker.next(), to_client, self.noticed_at].into_iter().flatten().min()
    }
}
