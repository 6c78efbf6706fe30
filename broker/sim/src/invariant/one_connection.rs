//! One live connection per Client Identifier: an older one outlives a newer grant only where it
//! can't be reached. Source: `broker_core::claim`.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_core::engine::Claim;
use broker_core::types::NodeId;

use super::Invariant;
use crate::event::{Client, Event};
use crate::network::Network;
use crate::oracle::Oracle;

/// How long both nodes must have been well for two holders to be a fault: longer than a new arbiter
/// takes to hear of all holders, and to have older ones closed.
const WELL: Duration = Duration::from_secs(5);

/// Who holds what.
pub(super) struct OneConnection {
    network: Network,
    holders: BTreeMap<Client, BTreeMap<(NodeId, u8), Claim>>,
}

impl OneConnection {
    pub(super) const fn new(network: Network) -> Self {
        Self { network, holders: BTreeMap::new() }
    }
}

impl Invariant for OneConnection {
    fn name(&self) -> &'static str {
        "one_connection"
    }

    fn observe(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Holds { node, worker, client, claim } => {
                let holders = self.holders.entry(client.clone()).or_default();
                holders.insert((*node, *worker), *claim);
                let is_well = |node| self.network.is_well(node, WELL);
                let other = holders.iter().find(|((other, at), _)| {
                    (other, at) != (node, worker) && is_well(*other) && is_well(*node)
                });
                match other {
                    None => Ok(()),
                    Some(((other, at), _)) => {
                        Err(format!("{client} is held by {node}/{worker} and by {other}/{at}"))
                    }
                }
            }
            Event::LetGo { node, worker, client } => {
                if let Some(holders) = self.holders.get_mut(client) {
                    holders.remove(&(*node, *worker));
                }
                Ok(())
            }
            Event::Ended { node, .. } => {
                for holders in self.holders.values_mut() {
                    holders.retain(|(holder, _), _| holder != node);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, _oracle: &Oracle) -> Result<(), String> {
        match self.holders.iter().find(|(_, holders)| holders.len() > 1) {
            None => Ok(()),
            Some((client, holders)) => {
                Err(format!("{client} is still held by {:?}", holders.keys()))
            }
        }
    }
}
