//! What a broker that stands alone tells over plain HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use super::DEADLINE;

/// Status and body of a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no answer: {head:?}")))?;
    Ok((status, body.to_owned()))
}

/// A number, by its name without the prefix and with its label, as `queued{unit="bytes"}`.
pub(crate) fn number(address: SocketAddr, name: &str) -> u64 {
    let (status, page) = get(address, "/metrics").unwrap();
    assert_eq!(status, 200, "{page}");
    number_in(&page, name)
}

/// The same on a page that was read.
pub(crate) fn number_in(page: &str, name: &str) -> u64 {
    let name = format!("mqtt_broker_{name} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{name}is not in\n{page}")).parse().unwrap()
}
