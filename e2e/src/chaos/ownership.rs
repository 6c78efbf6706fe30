//! One live connection per Client Identifier: a newer one ends the older ones, wherever they are. Pure. Spec: MQTT 5.0 section
//! 3.1.4, [MQTT-3.1.4-3].

use std::collections::BTreeMap;

use super::history::Event;

/// How long brokers must have been well for two live connections to be a fault, in microseconds: longer than a new arbiter takes to
/// hear of all connections, and to have older ones closed.
const WELL: u64 = 5_000_000;

/// A connection that was let in.
#[derive(Clone, Copy, Debug)]
struct Connection {
    number: u64,
    node: usize,
    since: u64,
}

/// A fault, from when to when.
#[derive(Clone, Debug)]
struct Span {
    nodes: Vec<usize>,
    began: u64,
    /// While it lasts: `None`.
    ended: Option<u64>,
}

/// Who was let in, and which brokers were well when.
#[derive(Debug, Default)]
pub(super) struct Ownership {
    connections: BTreeMap<String, Vec<Connection>>,
    faults: BTreeMap<usize, Span>,
}

impl Ownership {
    /// Looks at an event.
    ///
    /// # Errors
    /// An older connection lives on.
    pub(super) fn observe(&mut self, at: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Connected { client, connection, node, .. } => {
                let known = self.connections.entry(client.clone()).or_default();
                known.push(Connection { number: *connection, node: *node, since: at });
            }
            Event::FaultBegan { fault, nodes, .. } => {
                let span = Span { nodes: nodes.clone(), began: at, ended: None };
                self.faults.insert(*fault, span);
            }
            Event::FaultEnded { fault } => {
                if let Some(span) = self.faults.get_mut(fault) {
                    span.ended = Some(at);
                }
            }
            Event::Alive { client, connection, pinged_at } => {
                return self.is_alone(client, *connection, *pinged_at);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_alone(&self, client: &str, connection: u64, pinged_at: u64) -> Result<(), String> {
        let Some(known) = self.connections.get(client) else { return Ok(()) };
        let Some(own) = known.iter().find(|known| known.number == connection) else {
            return Ok(());
        };
        let newer = known.iter().find(|other| {
            other.number > own.number
                && other.since + WELL < pinged_at
                && self.is_well(&[own.node, other.node], pinged_at)
        });
        match newer {
            None => Ok(()),
            Some(newer) => Err(format!(
                "one_connection: connection {} of {client} to broker {} answers {:.1} s after \
                 connection {} to broker {} was let in",
                own.number,
                own.node,
                (pinged_at - newer.since) as f64 / 1e6,
                newer.number,
                newer.node
            )),
        }
    }

    /// Whether none of `nodes` had a fault in the time before `at`, and none began on any other, which may have led.
    fn is_well(&self, nodes: &[usize], at: u64) -> bool {
        let since = at.saturating_sub(WELL);
        !self.faults.values().any(|fault| {
            let is_concerned = fault.nodes.iter().any(|node| nodes.contains(node));
            let is_recent = fault.ended.is_none_or(|ended| ended >= since) && fault.began <= at;
            let begins = fault.began >= since && fault.began <= at;
            (is_concerned && is_recent) || begins
        })
    }
}
