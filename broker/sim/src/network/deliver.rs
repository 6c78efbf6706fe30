//! Frames on their way.

use std::sync::Arc;

use broker::cluster::{AnswerSink, FrameKind, LinkEvent, PeerHandler, Replier};
use broker_core::types::NodeId;
use bytes::Bytes;
use openraft::AsyncRuntime;
use openraft_rt_sim::SimRuntime;

use super::link::{End, Frame};
use super::{DELAY, Network, State};
use crate::count::Count;
use crate::environment::{elapsed, now, spawn};

/// Takes answers to the link that their requests came on.
struct Answers {
    network: Network,
    serial: u64,
}

impl AnswerSink for Answers {
    fn answer(&self, call: u64, answer: Result<&[u8], &str>) {
        let answer = answer.map(Bytes::copy_from_slice).map_err(str::to_owned);
        self.network.push(self.serial, End::Acceptor, Frame::Answer { call, answer });
    }
}

impl State {
    /// A frame has come through to a node.
    fn note_arrival(&mut self, node: NodeId, serial: u64, number: u64, frame: &Frame) {
        let latest = self.arrived.entry(node).or_default();
        if number < *latest {
            self.tally.count(Count::FramesOvertaken);
        }
        *latest = number.max(*latest);
        self.digest.add_number(elapsed().as_nanos() as u64);
        self.digest.add_number(serial);
        self.digest.add_number(number);
        match frame {
            Frame::Message { kind, call, body } => {
                if *kind == FrameKind::SNAPSHOT_PART {
                    self.tally.count(Count::SnapshotsSent);
                }
                self.digest.add_number(u64::from(*kind));
                self.digest.add_number(*call);
                self.digest.add(body);
            }
            Frame::Answer { call, answer } => {
                self.digest.add_number(*call);
                match answer {
                    Ok(body) => self.digest.add(body),
                    Err(reason) => self.digest.add(reason.as_bytes()),
                }
            }
        }
    }

    fn delay(&mut self, direction: (NodeId, NodeId)) -> std::time::Duration {
        let slow = self.slow.get(&direction).copied().unwrap_or(0);
        self.random.millis(DELAY.0, DELAY.1 + slow)
    }
}

impl Network {
    /// Sends a frame; false when this end of the link is closed.
    pub(super) fn push(&self, serial: u64, from: End, frame: Frame) -> bool {
        let at = self.with(|state| {
            let direction = state.links.get(&serial).filter(|link| link.is_open(from));
            let direction = direction.map(|link| link.direction(from))?;
            let soonest = now() + state.delay(direction);
            let lane = state.links.get_mut(&serial)?.lane(from);
            let at = lane.last.map_or(soonest, |last| last.max(soonest));
            lane.last = Some(at);
            state.sent += 1;
            Some((at, state.sent))
        });
        let Some((at, number)) = at else { return false };
        let network = self.clone();
        spawn(async move {
            SimRuntime::sleep_until(at).await;
            network.arrive(serial, from, frame, number);
        });
        true
    }

    /// A frame has come through, unless the direction is blocked.
    fn arrive(&self, serial: u64, from: End, frame: Frame, number: u64) {
        let frame = self.with(|state| {
            let link = state.links.get_mut(&serial)?;
            let direction = link.direction(from);
            let is_blocked = state.blocked.contains(&direction);
            let lane = link.lane(from);
            if is_blocked || !lane.held.is_empty() {
                lane.held.push_back(frame);
                state.tally.count(Count::FramesHeld);
                return None;
            }
            state.note_arrival(direction.1, serial, number, &frame);
            Some(frame)
        });
        if let Some(frame) = frame {
            self.hand_over(serial, from, frame);
        }
    }

    fn hand_over(&self, serial: u64, from: End, frame: Frame) {
        match frame {
            Frame::Answer { call, answer } => {
                let waiting = self.with(|state| {
                    let link = state.links.get_mut(&serial)?;
                    link.is_open(from.other()).then(|| link.calls.remove(&call))?
                });
                if let Some(waiting) = waiting {
                    // Who asked may have given up.
                    drop(waiting.send(answer));
                }
            }
            Frame::Message { kind, call, body } => {
                let found = self.with(|state| {
                    let link = state.links.get(&serial)?;
                    let receiver = from.other();
                    let (node, sender) = (link.node(receiver), link.node(from));
                    let port = state.nodes.get(&node).filter(|_| link.is_open(receiver))?;
                    let handler = port.handlers.iter().find(|(kinds, _)| kinds.contains(&kind))?;
                    Some((Arc::clone(&handler.1), sender))
                });
                let Some((handler, sender)) = found else { return };
                let replier = match call {
                    0 => Replier::silent(),
                    call => Replier::new(Arc::new(Answers { network: self.clone(), serial }), call),
                };
                handler.peer_frame(sender, kind, body, replier);
            }
        }
    }

    /// Sends on what partitions that are over have held up.
    pub(super) fn release(&self) {
        let released = self.with(|state| {
            let mut released = Vec::new();
            for (serial, link) in &mut state.links {
                for from in [End::Dialler, End::Acceptor] {
                    if !state.blocked.contains(&link.direction(from)) {
                        let held = std::mem::take(&mut link.lane(from).held);
                        released.extend(held.into_iter().map(|frame| (*serial, from, frame)));
                    }
                }
            }
            released
        });
        for (serial, from, frame) in released {
            self.push(serial, from, frame);
        }
    }

    /// One end closes; the other one hears of it, or finds out by silence.
    pub(super) fn close(&self, serial: u64, end: End) {
        let closed = self.with(|state| {
            let link = state.links.get_mut(&serial)?;
            if !link.is_open(end) {
                return None;
            }
            link.shut(end);
            let (node, peer) = link.direction(end);
            let is_other_open = link.is_open(end.other());
            let is_blocked = state.blocked.contains(&(node, peer));
            if !is_other_open {
                state.links.remove(&serial);
            }
            let time = match is_blocked {
                true => state.random.millis(100, 900),
                false => state.delay((node, peer)),
            };
            Some((node, peer, is_other_open.then_some(time)))
        });
        let Some((node, peer, other)) = closed else { return };
        if let Some(time) = other {
            let network = self.clone();
            spawn(async move {
                SimRuntime::sleep(time).await;
                network.close(serial, end.other());
            });
        }
        let name = self.name(peer);
        let event = match end {
            End::Dialler => LinkEvent::Down { node: peer, name },
            End::Acceptor if self.is_accepted(node, peer) => return,
            End::Acceptor => LinkEvent::AcceptedClosed { node: peer, name },
        };
        self.tell(node, &event);
    }

    pub(super) fn name(&self, node: NodeId) -> String {
        let name = self.with(|state| state.nodes.get(&node).map(|port| port.name.to_string()));
        name.unwrap_or_default()
    }

    /// Tells a node of a link.
    pub(super) fn tell(&self, node: NodeId, event: &LinkEvent) {
        let handlers: Vec<Arc<dyn PeerHandler>> = self.with(|state| {
            let port = state.nodes.get(&node).filter(|port| !port.life.is_over());
            let handlers = port.map(|port| port.handlers.iter());
            handlers.into_iter().flatten().map(|(_, handler)| Arc::clone(handler)).collect()
        });
        for handler in handlers {
            handler.link_event(event);
        }
    }

    /// Whether a link that the peer dialled is open at this node.
    pub(super) fn is_accepted(&self, node: NodeId, peer: NodeId) -> bool {
        self.with(|state| {
            let of_peer = |link: &&super::Link| link.acceptor == node && link.dialler == peer;
            state.links.values().filter(of_peer).any(|link| link.is_acceptor_open)
        })
    }
}
