//! TLS driven by hand: ciphertext in, plaintext out, records to the socket. IO only in `flush`.

use std::io::{self, Read as _, Write as _};

use rustls::ServerConnection;

use super::Side;
use super::stream::{NoWait, Stream};

/// Feeds ciphertext to the TLS connection and hands out the plaintext.
pub(super) fn decrypt(
    tls: &mut ServerConnection,
    mut raw: &[u8],
    plaintext: &mut [u8],
    mut take: impl FnMut(&[u8]),
) -> io::Result<Side> {
    while !raw.is_empty() {
        if tls.read_tls(&mut raw)? == 0 {
            break;
        }
        tls.process_new_packets().map_err(io::Error::other)?;
        if drain_plaintext(tls, plaintext, &mut take)? == Side::Closed {
            return Ok(Side::Closed);
        }
    }
    Ok(Side::Open)
}

/// Hands out the plaintext that the TLS connection holds.
pub(super) fn drain_plaintext(
    tls: &mut ServerConnection,
    plaintext: &mut [u8],
    take: &mut impl FnMut(&[u8]),
) -> io::Result<Side> {
    loop {
        match tls.reader().read(plaintext) {
            Ok(0) => return Ok(Side::Closed),
            Ok(bytes) => take(&plaintext[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Side::Open),
            Err(error) => return Err(error),
        }
    }
}

/// Encrypts and writes what goes without waiting; what was taken and not written waits in `tls`.
///
/// # Errors
/// `WouldBlock` when nothing could be taken; anything else means that the socket is broken.
pub(super) fn encrypt(
    stream: &Stream,
    tls: &mut ServerConnection,
    bytes: &[u8],
) -> io::Result<usize> {
    flush(stream, tls)?;
    let taken = tls.writer().write(bytes)?;
    match flush(stream, tls) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(taken),
        other => other.map(|()| taken),
    }
}

/// Writes TLS records until none is left or the socket takes no more.
pub(super) fn flush(stream: &Stream, tls: &mut ServerConnection) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(&mut NoWait(stream))?;
    }
    Ok(())
}
