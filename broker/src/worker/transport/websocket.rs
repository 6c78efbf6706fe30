//! MQTT in WebSocket messages: frames in, packets' bytes out, and the other way. No IO: what is to
//! be sent is gathered. Spec: MQTT 5.0 section 6, RFC 6455.

use std::io::{self, Read, Write};

use bytes::{Buf as _, BytesMut};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Side;

/// First room for a frame that has not arrived whole: most devices' frames are smaller.
const READ_BUFFER_BYTES: usize = 2 * 1024;
/// Payload of the frames sent: small enough that what a slow client leaves waiting is bounded.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Room kept for the next frames while nothing waits.
const SPARE_BYTES_MAX: usize = 4 * 1024;
/// What may wait for a client that does not read: a frame of its own, and answers to its pings.
const PENDING_BYTES_MAX: usize = FRAME_BYTES_MAX + 32 * 1024;

/// A WebSocket connection behind its handshake.
pub(in crate::worker) struct WebSocket {
    context: WebSocketContext,
    /// Frames that wait for the transport below.
    out: BytesMut,
}

/// What the WebSocket library reads and writes: bytes that are there, and those gathered.
struct Fed<'a> {
    input: &'a [u8],
    out: &'a mut BytesMut,
}

impl Read for Fed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Fed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WebSocket {
    /// A connection that takes messages of at most `message_bytes_max` bytes.
    pub(in crate::worker) fn new(message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        Self { context: WebSocketContext::new(Role::Server, Some(config)), out: BytesMut::new() }
    }

    /// Takes bytes from the client and hands out what the messages hold. Answers to pings and to a
    /// Close are gathered.
    ///
    /// # Errors
    /// The client broke the protocol, or sent text. [MQTT-6.0.0-1]
    pub(super) fn read(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<Side> {
        let mut fed = Fed { input: bytes, out: &mut self.out };
        loop {
            match self.context.read(&mut fed) {
                // A packet may span messages, and a message may hold several packets.
                // [MQTT-6.0.0-2]
                Ok(Message::Binary(payload)) => take(&payload),
                Ok(Message::Text(_)) => {
                    return Err(io::Error::other("a text message where MQTT takes binary ones"));
                }
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Side::Open);
                }
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(Side::Closed),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }

    /// Frames some of `bytes`; the number of those taken.
    ///
    /// # Errors
    /// The connection is closing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(FRAME_BYTES_MAX);
        let message = Message::Binary(bytes[..taken].to_vec().into());
        let mut fed = Fed { input: &[], out: &mut self.out };
        self.context
            .write(&mut fed, message)
            .and_then(|()| self.context.flush(&mut fed))
            .map_err(io::Error::other)?;
        Ok(taken)
    }

    /// Gathers a Close, if none was.
    pub(super) fn close(&mut self) {
        let mut fed = Fed { input: &[], out: &mut self.out };
        // A connection that is closed already needs none.
        let _ = self.context.close(&mut fed, None);
        let _ = self.context.flush(&mut fed);
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
        let mut websocket = WebSocket::new(1024);
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
        let mut websocket = WebSocket::new(1024);
        assert!(read(&mut websocket, &frame(0x81, b"ab")).0.is_err());
    }

    #[test]
    fn a_frame_without_mask_and_one_too_long_end_the_connection() {
        assert!(read(&mut WebSocket::new(1024), &[0x82, 1, b'a']).0.is_err());
        assert!(read(&mut WebSocket::new(3), &frame(0x82, b"abcd")).0.is_err());
    }

    #[test]
    fn pings_of_a_client_that_does_not_read_are_too_much_at_some_point() {
        let mut websocket = WebSocket::new(1024);
        let ping = frame(0x89, &[b'x'; 125]);
        let pings = (0..).take_while(|_| {
            let _ = read(&mut websocket, &ping);
            !websocket.is_overfull()
        });
        assert!(pings.count() < PENDING_BYTES_MAX / 125 + 1);
    }

    #[test]
    fn a_ping_is_answered_and_a_close_too() {
        let mut websocket = WebSocket::new(1024);
        assert_eq!(read(&mut websocket, &frame(0x89, b"x")).0.unwrap(), Side::Open);
        assert_eq!(*websocket.pending(), [0x8A, 1, b'x']);
        websocket.sent(3);
        let (side, _) = read(&mut websocket, &frame(0x88, &1000_u16.to_be_bytes()));
        assert_eq!(side.unwrap(), Side::Closed);
        assert_eq!(websocket.pending()[0], 0x88);
    }

    #[test]
    fn what_is_written_goes_out_in_binary_frames_of_bounded_size() {
        let mut websocket = WebSocket::new(1024);
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
