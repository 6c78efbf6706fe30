//! MQTT in WebSocket messages: frames in, packets' bytes out, and the other way. No IO: what is to
//! be sent is gathered. Spec: MQTT 5.0 section 6, RFC 6455 section 5.
//!
//! What a frame holds is handed on as it arrives, however long the frame and the message: nothing is
//! kept for it, and MQTT's own limits hold, with MQTT's own answers.

use std::io;

use bytes::{Buf as _, BufMut as _, BytesMut};

use super::Side;

/// Payload of the frames sent: small enough that what a slow client leaves waiting is bounded.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Room kept for the next frames while nothing waits.
const SPARE_BYTES_MAX: usize = 4 * 1024;
/// What may wait for a client that does not read: a frame of its own, and answers to its pings.
const PENDING_BYTES_MAX: usize = FRAME_BYTES_MAX + 32 * 1024;
/// Payload unmasked at a time; most devices' frames are smaller.
const PIECE_BYTES: usize = 4 * 1024;
/// The longest header of a client's frame: two bytes, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a frame that is not data. RFC 6455 section 5.5.
const CONTROL_BYTES_MAX: u64 = 125;

/// First byte of the frames sent: whole messages.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PONG: u8 = 0x8A;

/// What a frame is for. RFC 6455 section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Close,
    Ping,
    Pong,
}

/// A frame whose header is read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: Kind,
    /// Bytes of payload that have not arrived.
    left: u64,
    /// For the next byte first.
    mask: [u8; 4],
}

/// A WebSocket connection behind its handshake.
#[derive(Debug, Default)]
pub(in crate::worker) struct WebSocket {
    /// The header of the next frame, as far as it is there.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// A message has begun whose last frame has not come.
    is_in_message: bool,
    /// Payload of a control frame, as far as it is there.
    control: Vec<u8>,
    has_closed: bool,
    has_sent_close: bool,
    /// Frames that wait for the transport below.
    out: BytesMut,
}

impl WebSocket {
    /// Takes bytes from the client and hands out what the messages hold. Answers to pings and to a
    /// Close are gathered.
    ///
    /// # Errors
    /// The client broke the protocol, or sent text. [MQTT-6.0.0-1]
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> io::Result<Side> {
        loop {
            if self.has_closed {
                return Ok(Side::Closed);
            }
            match self.frame {
                None => match self.read_header(&mut bytes)? {
                    Some(frame) => self.frame = Some(frame),
                    None => return Ok(Side::Open),
                },
                Some(Frame { left: 0, kind, .. }) => {
                    self.frame = None;
                    self.end_frame(kind);
                }
                Some(_) if bytes.is_empty() => return Ok(Side::Open),
                Some(mut frame) => {
                    self.read_payload(&mut frame, &mut bytes, &mut take);
                    self.frame = Some(frame);
                }
            }
        }
    }

    /// Reads the rest of a frame's header; `None` when it is not all there.
    fn read_header(&mut self, bytes: &mut &[u8]) -> io::Result<Option<Frame>> {
        while let [next, rest @ ..] = *bytes {
            self.header.push(*next);
            *bytes = rest;
            if let [first, second, ..] = *self.header
                && self.header.len() == header_bytes(second)
            {
                let frame = self.frame_of(first, second)?;
                self.header.clear();
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn frame_of(&mut self, first: u8, second: u8) -> io::Result<Frame> {
        let broken = |text: &'static str| Err(io::Error::other(text));
        let (is_last, opcode) = (first & 0x80 != 0, first & 0x0F);
        if first & 0x70 != 0 {
            return broken("a WebSocket frame of an extension that was not agreed on");
        }
        if second & 0x80 == 0 {
            return broken("a WebSocket frame of a client without mask");
        }
        let (fields, mask) = self.header.split_at(self.header.len() - 4);
        let long = fields[2..].iter().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        let left = if fields.len() > 2 { long } else { u64::from(second & 0x7F) };
        if left > i64::MAX as u64 {
            return broken("a WebSocket frame longer than any may be");
        }
        let kind = match opcode {
            1 => return broken("a text message where MQTT takes binary ones"),
            // A packet may span messages, and a message may hold several packets. [MQTT-6.0.0-2]
            0 | 2 if self.is_in_message != (opcode == 0) => {
                return broken("a WebSocket message begins within another, or goes on without one");
            }
            0 | 2 => Kind::Data,
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return broken("a WebSocket frame of an unknown kind"),
        };
        match kind {
            Kind::Data => self.is_in_message = !is_last,
            _ if !is_last || left > CONTROL_BYTES_MAX => {
                return broken("a WebSocket control frame in pieces, or too long");
            }
            _ => self.control.clear(),
        }
        Ok(Frame { kind, left, mask: mask.try_into().unwrap_or_default() })
    }

    fn read_payload(&mut self, frame: &mut Frame, bytes: &mut &[u8], take: &mut impl FnMut(&[u8])) {
        let mut piece = [0; PIECE_BYTES];
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let (now, rest) = bytes.split_at(bytes.len().min(left).min(PIECE_BYTES));
        let piece = &mut piece[..now.len()];
        piece.copy_from_slice(now);
        for four in piece.chunks_mut(4) {
            four.iter_mut().zip(frame.mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        frame.mask.rotate_left(now.len() % 4);
        frame.left -= now.len() as u64;
        *bytes = rest;
        match frame.kind {
            Kind::Data => take(piece),
            Kind::Close | Kind::Ping | Kind::Pong => self.control.extend_from_slice(piece),
        }
    }

    /// Answers a frame that is for WebSocket itself.
    fn end_frame(&mut self, kind: Kind) {
        match kind {
            Kind::Data | Kind::Pong => {}
            Kind::Ping if self.has_sent_close => {}
            Kind::Ping => {
                let payload = std::mem::take(&mut self.control);
                self.put(PONG, &payload);
            }
            Kind::Close => {
                self.has_closed = true;
                let payload = std::mem::take(&mut self.control);
                if !std::mem::replace(&mut self.has_sent_close, true) {
                    // The client's own code comes back to it. RFC 6455 section 5.5.1.
                    self.put(CLOSE, payload.get(..2).unwrap_or_default());
                }
            }
        }
    }

    fn put(&mut self, first: u8, payload: &[u8]) {
        self.out.put_u8(first);
        match payload.len() {
            short @ 0..126 => self.out.put_u8(short as u8),
            long => match u16::try_from(long) {
                Ok(long) => {
                    self.out.put_u8(126);
                    self.out.put_u16(long);
                }
                Err(_) => {
                    self.out.put_u8(127);
                    self.out.put_u64(long as u64);
                }
            },
        }
        self.out.put_slice(payload);
    }

    /// Frames some of `bytes`; the number of those taken.
    ///
    /// # Errors
    /// The connection is closing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.has_sent_close {
            return Err(io::Error::other("the WebSocket connection is closing"));
        }
        let taken = bytes.len().min(FRAME_BYTES_MAX);
        self.put(BINARY, &bytes[..taken]);
        Ok(taken)
    }

    /// Gathers a Close, if none was.
    pub(super) fn close(&mut self) {
        if !std::mem::replace(&mut self.has_sent_close, true) {
            self.put(CLOSE, &[]);
        }
    }

    /// What waits to be sent.
    pub(super) fn pending(&self) -> &[u8] {
        &self.out
    }

    /// So much of what waited is on its way.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.out.advance(bytes.min(self.out.len()));
        if self.out.is_empty() && self.out.capacity() > SPARE_BYTES_MAX {
            self.out = BytesMut::new();
        }
    }

    /// Whether more waits than a client that reads ever leaves: one that only pings and never
    /// reads must not fill the memory.
    pub(super) fn is_overfull(&self) -> bool {
        self.out.len() > PENDING_BYTES_MAX
    }
}

/// How long a client's header with this second byte is.
const fn header_bytes(second: u8) -> usize {
    match second & 0x7F {
        126 => HEADER_BYTES_MAX - 6,
        127 => HEADER_BYTES_MAX,
        _ => HEADER_BYTES_MAX - 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame: masked with zeros, so that it can be read. Source: RFC 6455 section 5.2.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        frame
    }

    fn read(websocket: &mut WebSocket, bytes: &[u8]) -> (io::Result<Side>, Vec<u8>) {
        let mut taken = Vec::new();
        let side = websocket.read(bytes, |piece| taken.extend_from_slice(piece));
        (side, taken)
    }

    #[test]
    fn packets_may_span_messages_and_messages_arrive_in_pieces() {
        let mut websocket = WebSocket::default();
        let mut bytes = frame(0x82, b"ab");
        bytes.extend(frame(0x82, b"cd"));
        let mut taken = Vec::new();
        for byte in &bytes {
            let (side, piece) = read(&mut websocket, &[*byte]);
            assert_eq!(side.unwrap(), Side::Open);
            taken.extend(piece);
        }
        assert_eq!(taken, b"abcd");
        // A message in two frames.
        let mut bytes = frame(0x02, b"e");
        bytes.extend(frame(0x80, b"f"));
        assert_eq!(read(&mut websocket, &bytes).1, b"ef");
    }

    #[test]
    fn a_text_message_ends_the_connection() {
        let mut websocket = WebSocket::default();
        assert!(read(&mut websocket, &frame(0x81, b"ab")).0.is_err());
    }

    #[test]
    fn what_breaks_the_protocol_ends_the_connection() {
        let ends = |frames: &[&[u8]]| read(&mut WebSocket::default(), &frames.concat()).0.is_err();
        let data = |first| frame(first, b"a");
        assert!(ends(&[&[0x82, 1, 0, 0, 0, 0, b'a']]), "without mask");
        assert!(ends(&[&data(0xC2)]), "of an extension");
        assert!(ends(&[&data(0x83)]), "of an unknown kind");
        assert!(ends(&[&data(0x80)]), "goes on without a beginning");
        assert!(ends(&[&data(0x02), &data(0x82)]), "begins within another");
        assert!(ends(&[&data(0x09)]), "a ping in pieces");
        assert!(ends(&[&[0x89, 0x80 | 126, 0, 126, 0, 0, 0, 0]]), "a ping too long");
        let endless = [&[0x82, 0x80 | 127][..], &[0xFF; 8], &[0; 4]].concat();
        assert!(ends(&[&endless]), "longer than any may be");
        assert!(!ends(&[&data(0x02), &frame(0x89, b"p"), &data(0x80)]), "a ping comes between");
    }

    #[test]
    fn a_long_message_is_handed_on_as_it_arrives_whatever_its_mask() {
        let mut websocket = WebSocket::default();
        let payload: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let mask = [1u8, 2, 3, 4];
        let mut bytes = vec![0x82, 0x80 | 127];
        bytes.extend((payload.len() as u64).to_be_bytes());
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        let mut taken = Vec::new();
        for piece in bytes.chunks(4_999) {
            taken.extend(read(&mut websocket, piece).1);
        }
        assert_eq!(taken, payload);
        assert!(websocket.header.capacity() + websocket.control.capacity() < 64, "nothing is kept");
        let sixteen = [&[0x82, 0x80 | 126, 1, 0][..], &[0; 4], &[7; 256]].concat();
        assert_eq!(read(&mut websocket, &sixteen).1, [7; 256]);
        assert_eq!(read(&mut websocket, &frame(0x82, b"")).1, b"");
    }

    #[test]
    fn pings_of_a_client_that_does_not_read_are_too_much_at_some_point() {
        let mut websocket = WebSocket::default();
        let ping = frame(0x89, &[b'x'; 125]);
        let pings = (0..).take_while(|_| {
            let _ = read(&mut websocket, &ping);
            !websocket.is_overfull()
        });
        assert!(pings.count() < PENDING_BYTES_MAX / 125 + 1);
    }

    #[test]
    fn a_ping_is_answered_and_a_close_too() {
        let mut websocket = WebSocket::default();
        assert_eq!(read(&mut websocket, &frame(0x89, b"x")).0.unwrap(), Side::Open);
        assert_eq!(*websocket.pending(), [0x8A, 1, b'x']);
        websocket.sent(3);
        let (side, _) = read(&mut websocket, &frame(0x88, &1000_u16.to_be_bytes()));
        assert_eq!(side.unwrap(), Side::Closed);
        assert_eq!(websocket.pending()[0], 0x88);
    }

    #[test]
    fn what_is_written_goes_out_in_binary_frames_of_bounded_size() {
        let mut websocket = WebSocket::default();
        assert_eq!(websocket.write(b"abc").unwrap(), 3);
        assert_eq!(websocket.pending(), [0x82, 3, b'a', b'b', b'c']);
        websocket.sent(2);
        assert_eq!(websocket.pending(), b"abc");
        websocket.sent(3);
        let long = vec![0; FRAME_BYTES_MAX + 1];
        assert_eq!(websocket.write(&long).unwrap(), FRAME_BYTES_MAX);
        websocket.sent(usize::MAX);
        assert_eq!(websocket.out.capacity(), 0, "an idle connection keeps no large buffer");
    }
}
