//! A broker that reaches no other one is a minority: it sends its clients away, takes none, and acknowledges nothing. Pure.
//! Source: ARCHITECTURE.md, `partition_policy` is `fence`.

use std::collections::{BTreeMap, BTreeSet};

use super::history::Event;

/// How long a broker may go on alone, in microseconds: it waits for five seconds for another leader, then sends all clients away.
const FENCED_WITHIN: u64 = 10_000_000;

/// Who is alone, and what was sent to it too late.
#[derive(Debug, Default)]
pub(super) struct Fencing {
    /// Since when, by broker.
    alone: BTreeMap<usize, u64>,
    /// Where a client's connection leads.
    nodes: BTreeMap<(String, u64), usize>,
    /// Stream, number and broker of messages that were first sent to one that must be fenced.
    late: BTreeSet<(u32, u64, usize)>,
    /// How often a broker was alone for so long that it had to be fenced.
    pub(super) fenced: u64,
}

impl Fencing {
    /// Looks at an event.
    ///
    /// # Errors
    /// A broker that must be fenced serves a client.
    pub(super) fn observe(&mut self, at: u64, event: &Event) -> Result<(), String> {
        match event {
            Event::Parted { node } => {
                self.alone.entry(*node).or_insert(at);
            }
            Event::Rejoining { node } => {
                self.fenced += u64::from(self.alone_for(*node, at).is_some());
                self.alone.remove(node);
                self.late.retain(|(_, _, to)| to != node);
            }
            Event::Connected { client, connection, node, .. } => {
                self.nodes.insert((client.clone(), *connection), *node);
                return self.must_not(*node, at, || format!("lets {client} in"));
            }
            Event::Alive { client, connection, pinged_at } => {
                let Some(node) = self.nodes.get(&(client.clone(), *connection)) else {
                    return Ok(());
                };
                return self.must_not(*node, *pinged_at, || format!("has not sent {client} away"));
            }
            Event::Sent { stream, number, node, .. } if self.alone_for(*node, at).is_some() => {
                self.late.insert((*stream, *number, *node));
            }
            Event::Acknowledged { stream, number, node }
                if self.late.remove(&(*stream, *number, *node)) =>
            {
                let what = || format!("acknowledges message {number} of stream {stream}");
                return self.must_not(*node, at, what);
            }
            _ => {}
        }
        Ok(())
    }

    /// How long a broker has been alone at a time, where that is long enough.
    fn alone_for(&self, node: usize, at: u64) -> Option<u64> {
        let time = at.saturating_sub(*self.alone.get(&node)?);
        (time > FENCED_WITHIN).then_some(time)
    }

    fn must_not(&self, node: usize, at: u64, what: impl FnOnce() -> String) -> Result<(), String> {
        match self.alone_for(node, at) {
            None => Ok(()),
            Some(time) => {
                let seconds = time as f64 / 1e6;
                Err(format!("fenced: broker {node}, alone for {seconds:.1} s, {}", what()))
            }
        }
    }
}
