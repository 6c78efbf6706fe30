//! The header that a proxy puts in front of a connection to say where the client is. IO.
//!
//! Source: HAProxy's PROXY protocol, versions 1 and 2. It stands before TLS and before anything
//! else; bytes behind it are left in the socket.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest line of version 1, its end included.
const LINE_BYTES_MAX: usize = 107;
/// The fixed part of version 2.
const FIXED_BYTES: usize = 16;
/// The longest variable part of version 2 that is read: addresses and some hundred bytes of
/// additions are usual.
const VARIABLE_BYTES_MAX: usize = 4096;
/// Both versions are longer, and their first bytes tell them apart.
const FIRST_BYTES: usize = 12;

/// Reads the header; `None` where the proxy speaks for itself (a health check) or does not know.
///
/// # Errors
/// The connection broke, or what came first is no such header.
pub(super) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; FIRST_BYTES];
    stream.read_exact(&mut header).await?;
    if header == *v2::PROTOCOL_PREFIX {
        read_version_2(stream, header).await
    } else if header.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        read_version_1(stream, header).await
    } else {
        Err(io::Error::other(
            "no PROXY protocol header: the listener expects one from the proxy in front of it",
        ))
    }
}

async fn read_version_1(
    stream: &mut (impl AsyncRead + Unpin),
    mut line: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    // A byte at a time: what follows belongs to the client.
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(io::Error::other("the PROXY protocol line has no end"));
        }
        line.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(line.as_slice()).map_err(io::Error::other)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    })
}

async fn read_version_2(
    stream: &mut (impl AsyncRead + Unpin),
    mut header: Vec<u8>,
) -> io::Result<Option<SocketAddr>> {
    header.resize(FIXED_BYTES, 0);
    stream.read_exact(&mut header[FIRST_BYTES..]).await?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    if length > VARIABLE_BYTES_MAX {
        let text =
            format!("a PROXY protocol header of {length} bytes, {VARIABLE_BYTES_MAX} at most");
        return Err(io::Error::other(text));
    }
    header.resize(FIXED_BYTES + length, 0);
    stream.read_exact(&mut header[FIXED_BYTES..]).await?;
    let header = v2::Header::try_from(header.as_slice())
        .map_err(|error| io::Error::other(format!("{error:?}")))?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a header says, and the bytes left behind it.
    fn read(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut rest = bytes;
            let found = read_header(&mut rest).await;
            (found, rest.to_vec())
        })
    }

    fn version_2(command: u8, family: u8, variable: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(variable.len()).unwrap().to_be_bytes());
        header.extend_from_slice(variable);
        header
    }

    #[test]
    fn both_versions_name_the_client_and_leave_its_bytes() {
        let (found, rest) = read(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883\r\n\x10\x00");
        assert_eq!(found.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, [0x10, 0x00]);
        let (found, rest) = read(b"PROXY UNKNOWN\r\n\x10");
        assert_eq!((found.unwrap(), rest), (None, vec![0x10]));
        let mut bytes =
            version_2(1, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x22, 0xB3]);
        bytes.push(0x10);
        let (found, rest) = read(&bytes);
        assert_eq!(found.unwrap(), Some("192.0.2.7:4711".parse().unwrap()));
        assert_eq!(rest, [0x10]);
    }

    #[test]
    fn a_proxys_own_connection_names_nobody() {
        assert_eq!(read(&version_2(0, 0x00, &[])).0.unwrap(), None);
    }

    #[test]
    fn anything_else_is_an_error_and_nothing_is_read_without_end() {
        let message = |bytes: &[u8]| read(bytes).0.unwrap_err().to_string();
        assert!(message(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x00\x00\x00").contains("no PROXY"));
        let endless = [b"PROXY ".as_slice(), &[b'x'; 200]].concat();
        assert!(message(&endless).contains("no end"));
        assert!(read(b"PROXY TCP4 nonsense\r\n").0.is_err());
        let long = version_2(1, 0x11, &vec![0; VARIABLE_BYTES_MAX + 1]);
        assert!(message(&long).contains("at most"));
        assert!(read(b"PROXY TCP4").0.is_err(), "cut short");
    }
}
