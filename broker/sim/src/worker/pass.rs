//! The end of a pass: effects are carried out, output is sent, batches are handed over.

use std::collections::BTreeMap;

use broker::node::{ToHub, ToWorker, WorkerId};
use broker_core::codec::ReasonCode;
use broker_core::engine::{AuthOutcome, AuthProof, AuthRequest, Claim, Destination, Effect};
use broker_core::types::{ClientId, ConnectionId};
use broker_policy::{AuthDecision, Credential};
use bytes::Bytes;
use openraft_rt_sim::SimInstant;

use super::Worker;
use crate::environment::{now, sleep_until, spawn};
use crate::event::Event;
use crate::random::Random;

impl Worker {
    /// Carries out what the engine asks for, and writes what it has to say.
    pub(super) fn end_pass(&mut self) {
        let (mut effects, mut touched) = (Vec::new(), Vec::new());
        loop {
            self.engine.take_effects(&mut effects);
            if !effects.is_empty() {
                effects.drain(..).for_each(|effect| self.carry_out(effect));
                continue;
            }
            self.engine.take_touched(&mut touched);
            if touched.is_empty() {
                break;
            }
            touched.drain(..).for_each(|id| self.write(id));
        }
        self.forward();
        self.note_held();
    }

    fn write(&mut self, id: ConnectionId) {
        let now = self.now();
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let output = Bytes::copy_from_slice(self.engine.output(id));
        if !output.is_empty() {
            let soonest = now_after(&mut self.parts.random);
            let at = socket.last.map_or(soonest, |last| last.max(soonest));
            socket.last = Some(at);
            let bytes = socket.bytes.clone();
            let length = output.len();
            spawn(async move {
                sleep_until(at).await;
                // A client that has gone misses nothing.
                drop(bytes.try_send(output));
            });
            self.engine.output_written(now, id, length);
        }
        if self.sockets.get(&id).is_some_and(|socket| socket.is_closing) {
            self.forget(now, id);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let (now, worker) = (self.now(), self.parts.worker);
        match effect {
            Effect::Close { connection } => {
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.is_closing = true;
                }
                self.write(connection);
            }
            Effect::Authenticate { connection, request } => {
                self.engine.authenticated(now, connection, authenticate(&request));
            }
            // No client of the simulation begins one.
            Effect::BeginExchange { .. } | Effect::ContinueExchange { .. } => {}
            Effect::Resume { connection } => {
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.is_paused = false;
                    let waiting = std::mem::take(&mut socket.waiting);
                    self.receive(now, connection, &waiting);
                }
            }
            Effect::Claim { connection, client_id, clean_start } => {
                self.tell_hub(ToHub::Claim { worker, connection, client_id, clean_start });
            }
            Effect::Withdraw { connection, client_id } => {
                self.tell_hub(ToHub::Withdraw { worker, connection, client_id });
            }
            Effect::Release { client_id, claim } => {
                self.tell_hub(ToHub::Release { worker, client_id, claim });
            }
            Effect::Interest { seq, changes } => {
                self.tell_hub(ToHub::Interest { worker, seq, changes });
            }
            Effect::Propose { proposal, change } => {
                self.tell_hub(ToHub::Propose { worker, proposal, change });
            }
            Effect::ProposeSessions { proposal, operations, reach } => {
                let operations = operations.into();
                self.tell_hub(ToHub::ProposeSessions { worker, proposal, operations, reach });
            }
        }
    }

    pub(super) fn tell_hub(&self, message: ToHub) {
        if self.parts.hub.try_send(message).is_err() && !self.parts.life.is_over() {
            self.parts.history.violate("the hub takes nothing more".to_owned());
        }
    }

    fn forward(&mut self) {
        let mut pending = self.engine.pending_forwards();
        while pending != 0 {
            let number = pending.trailing_zeros();
            pending &= pending - 1;
            let destination = u8::try_from(number).ok().and_then(Destination::new);
            let Some(destination) = destination else { continue };
            loop {
                let batch = self.engine.take_forward(destination);
                if batch.is_empty() {
                    break;
                }
                match WorkerId::from_destination(destination) {
                    None => self.tell_hub(ToHub::Forward { destination, batch }),
                    Some(other) => {
                        if let Some(other) = self.parts.workers.get(usize::from(other.0)) {
                            // A worker that has ended has ended with the process.
                            drop(other.inbox.try_send(ToWorker::DeliverLocal { batch }));
                        }
                    }
                }
            }
        }
    }

    /// Notes whose sessions are here.
    fn note_held(&mut self) {
        let held: BTreeMap<ClientId, Claim> =
            self.engine.claims().map(|(client, claim)| (client.clone(), claim)).collect();
        if held == self.held {
            return;
        }
        let (node, worker) = (self.parts.node, self.parts.worker.0);
        for client in self.held.keys().filter(|client| !held.contains_key(*client)) {
            let client = client.to_shared();
            self.parts.history.note(Event::LetGo { node, worker, client });
        }
        for (client, claim) in &held {
            if self.held.get(client) != Some(claim) {
                let (client, claim) = (client.to_shared(), *claim);
                self.parts.history.note(Event::Holds { node, worker, client, claim });
            }
        }
        self.held = held;
    }
}

/// When bytes arrive that leave now.
fn now_after(random: &mut Random) -> SimInstant {
    now() + random.millis(1, 10)
}

/// The simulated listener believes who clients say they are.
fn authenticate(request: &AuthRequest) -> AuthOutcome {
    let username = request.username.as_deref();
    let client_id = request.client_id.as_str();
    match request.policy.authenticate(username, client_id, Credential::Believed) {
        AuthDecision::Accepted => {
            AuthOutcome::Accepted { username: request.username.clone(), proof: AuthProof::None }
        }
        _ => AuthOutcome::Refused { reason_code: ReasonCode::NotAuthorized },
    }
}
