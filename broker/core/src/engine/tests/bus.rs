//! Engines of several nodes, one worker each, that carry interest and messages between them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rig::*;
use crate::engine::*;
use crate::types::{ConnectionId, NodeId, QoS};

pub(super) struct Bus {
    pub(super) rigs: Vec<Rig>,
    /// Interest changes under way, with who makes them.
    interest: VecDeque<(usize, InterestSeq, Vec<InterestChange>)>,
}

/// Numbers that are no worker's.
fn destination(engine: usize) -> Destination {
    Destination::new(32 + engine as u8).unwrap()
}

impl Bus {
    pub(super) fn new(engines: usize, strategy: SharedSubscriptionStrategy) -> Self {
        let rig = |number: usize| {
            let config = EngineConfig {
                seed: number as u64,
                node: NodeId(number as u64),
                shared_subscription_strategy: strategy,
                ..EngineConfig::default()
            };
            let mut rig = Rig::with(config, open_policy());
            rig.answers.interest = false;
            rig
        };
        Self { rigs: (0..engines).map(rig).collect(), interest: VecDeque::new() }
    }

    /// The same with one replicated state for durable sessions.
    pub(super) fn durable(engines: usize, strategy: SharedSubscriptionStrategy) -> Self {
        let mut bus = Self::new(engines, strategy);
        let (store, log) = (Arc::default(), Arc::default());
        for (number, rig) in bus.rigs.iter_mut().enumerate() {
            rig.join(NodeId(number as u64), Arc::clone(&store), Arc::clone(&log));
        }
        bus
    }

    /// Carries everything until there is nothing to carry.
    pub(super) fn carry(&mut self) {
        while self.carry_interest() | self.carry_messages() | self.carry_ready() {}
    }

    /// Tells engines of what the operations of others made ready.
    fn carry_ready(&mut self) -> bool {
        let states = self.rigs.iter_mut().filter_map(|rig| rig.state.as_mut());
        let ready: Vec<_> = states.flat_map(|state| std::mem::take(&mut state.elsewhere)).collect();
        for ready in &ready {
            let rig = &mut self.rigs[ready.holder.node.0 as usize];
            rig.engine.sessions_ready(rig.now, Some(std::slice::from_ref(&ready.client_id)));
            rig.settle();
        }
        !ready.is_empty()
    }

    /// Tells all others of one interest change.
    pub(super) fn carry_interest(&mut self) -> bool {
        self.collect();
        let Some((from, seq, changes)) = self.interest.pop_front() else { return false };
        for to in (0..self.rigs.len()).filter(|to| *to != from) {
            let node = Some(NodeId(from as u64));
            let changes = changes.iter().map(|c| c.clone().at(destination(from), node));
            self.rigs[to].engine.set_remote_interest(changes);
        }
        let rig = &mut self.rigs[from];
        rig.engine.interest_confirmed(rig.now, seq);
        rig.settle();
        true
    }

    /// Hands over all batches of all engines.
    pub(super) fn carry_messages(&mut self) -> bool {
        let mut has_moved = false;
        for from in 0..self.rigs.len() {
            for to in (0..self.rigs.len()).filter(|to| *to != from) {
                loop {
                    let batch = self.rigs[from].engine.take_forward(destination(to));
                    if batch.is_empty() {
                        break;
                    }
                    has_moved = true;
                    let rig = &mut self.rigs[to];
                    rig.engine.deliver(rig.now, &batch);
                    rig.settle();
                }
            }
        }
        has_moved
    }

    fn collect(&mut self) {
        for (from, rig) in self.rigs.iter_mut().enumerate() {
            rig.settle();
            for effect in std::mem::take(&mut rig.effects) {
                if let Effect::Interest { seq, changes } = effect {
                    self.interest.push_back((from, seq, changes));
                }
            }
        }
    }

    pub(super) fn subscribe(&mut self, engine: usize, at: ConnectionId, filter: &str, qos: QoS) {
        self.rigs[engine].send(at, &subscribe(1, filter, qos));
        self.carry();
        let expected = [format!("SUBACK #1 {:#04x}", qos.as_u8())];
        assert_eq!(self.rigs[engine].received(at), expected);
    }

    /// Subscribes and tells the others; messages under way stay there.
    pub(super) fn subscribe_first(&mut self, engine: usize, at: ConnectionId, filter: &str) {
        self.rigs[engine].send(at, &subscribe(1, filter, AtLeastOnce));
        while self.carry_interest() {}
    }

    pub(super) fn lose(&mut self, engine: usize, at: ConnectionId) {
        self.rigs[engine].lose(at);
        self.carry();
    }
}
