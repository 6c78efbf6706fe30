//! Ports on loopback: remembered, so that they stay, and replaced when somebody else has them. IO: binds sockets to see.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use serde::{Deserialize, Serialize};

/// Ports tried after the wanted one.
const TRIES: u16 = 1_000;

/// The ports of one broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BrokerPorts {
    /// By listener.
    pub(crate) listeners: BTreeMap<String, u16>,
    /// Between brokers.
    pub(crate) peer: u16,
    /// The admin API.
    pub(crate) admin: u16,
}

impl BrokerPorts {
    /// A port of these that another program listens on.
    pub(crate) fn occupied(&self) -> Option<u16> {
        let mut all = self.listeners.values().copied().chain([self.peer, self.admin]);
        all.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_err())
    }
}

/// Hands out ports, none twice.
#[derive(Debug, Default)]
pub(crate) struct PortAllocator {
    taken: Vec<u16>,
}

impl PortAllocator {
    /// Marks a port as somebody's without looking whether it is free.
    pub(crate) fn reserve(&mut self, port: u16) {
        self.taken.push(port);
    }

    /// `remembered` when it is free, otherwise the first free one from `wanted` upwards, otherwise any.
    pub(crate) fn listener(&mut self, remembered: Option<u16>, wanted: u16) -> Option<u16> {
        let following = (0..TRIES).map_while(|step| wanted.checked_add(step));
        let port = remembered
            .into_iter()
            .chain(following)
            .find(|port| self.is_free(*port))
            .or_else(any)?;
        self.taken.push(port);
        Some(port)
    }

    /// `remembered` when it is free, otherwise any.
    pub(crate) fn any(&mut self, remembered: Option<u16>) -> Option<u16> {
        let port = remembered.filter(|port| self.is_free(*port));
        let port =
            port.or_else(|| (0..TRIES).find_map(|_| any().filter(|p| !self.taken.contains(p))))?;
        self.taken.push(port);
        Some(port)
    }

    fn is_free(&self, port: u16) -> bool {
        port != 0
            && !self.taken.contains(&port)
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
    }
}

fn any() -> Option<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    Some(listener.local_addr().ok()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_port_that_somebody_has_is_passed_over() {
        let (_listener, port) = occupied();
        let given = PortAllocator::default().listener(None, port).unwrap();
        assert_ne!(given, port);
    }

    #[test]
    fn a_remembered_port_stays_while_it_is_free() {
        let port = any().unwrap();
        assert_eq!(PortAllocator::default().listener(Some(port), 8_883), Some(port));
        assert_eq!(PortAllocator::default().any(Some(port)), Some(port));
        let (_listener, other) = occupied();
        assert_ne!(PortAllocator::default().any(Some(other)), Some(other));
    }

    #[test]
    fn a_brokers_port_that_another_program_has_is_named() {
        let (_listener, port) = occupied();
        let free = any().unwrap();
        let ports = |admin| BrokerPorts { listeners: BTreeMap::new(), peer: free, admin };
        assert_eq!(ports(port).occupied(), Some(port));
        assert_eq!(ports(any().unwrap()).occupied(), None);
    }

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = PortAllocator::default();
        let first = ports.listener(None, 20_000).unwrap();
        let second = ports.listener(None, 20_000).unwrap();
        assert_ne!(first, second);
        ports.reserve(second + 1);
        assert_ne!(ports.listener(None, 20_000), Some(second + 1));
    }
}
