//! The end of a pass: effects are carried out, sockets written, batches sent.

use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;

use broker_core::codec::ReasonCode;
use broker_core::engine::{AuthOutcome, AuthProof, AuthRequest, Effect};
use broker_core::types::{ClientId, ConnectionId};
use broker_policy::realm::name_of;
use broker_policy::{PasswordHash, RefusalReason, VerificationCost};
use zeroize::Zeroizing;

use super::authentication::{Decision, decide, reason_code};
use super::connection::{close_in_time, linger, write_when_there_is_room};
use super::socket::{Phase, Socket};
use super::state::Worker;
use crate::node::ToHub;

/// Buffers that live as long as the task.
#[derive(Default)]
struct Pass {
    effects: Vec<Effect>,
    touched: Vec<ConnectionId>,
}

/// Ends passes for as long as it is polled.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut pass = Pass::default();
    loop {
        worker.flush.wait().await;
        worker.end(&mut pass);
    }
}

impl Worker {
    fn end(self: &Rc<Self>, pass: &mut Pass) {
        loop {
            self.engine.borrow_mut().take_effects(&mut pass.effects);
            let has_effects = !pass.effects.is_empty();
            for effect in pass.effects.drain(..) {
                self.carry_out(effect);
            }
            // Effects first: what they append goes out with the same write.
            if has_effects {
                continue;
            }
            self.engine.borrow_mut().take_touched(&mut pass.touched);
            if pass.touched.is_empty() {
                break;
            }
            for connection in pass.touched.drain(..) {
                if let Some(socket) = self.socket(connection) {
                    self.write(&socket);
                }
            }
        }
        self.forward();
        let engine = self.engine.borrow();
        self.handle.counters.publish(engine.counters());
        let waiting = self.hub.waiting()
            + self.workers.iter().flatten().map(|other| other.waiting()).sum::<usize>();
        self.handle.counters.set_forwards_waiting(waiting);
        if let Some(next) = engine.next_timeout() {
            self.timer.arm(next);
        }
        self.end_pass();
    }

    /// Writes what the engine and TLS hold for the socket, as far as it goes without waiting.
    pub(super) fn write(self: &Rc<Self>, socket: &Rc<Socket>) {
        if socket.phase() == Phase::Gone || socket.awaits_room() {
            return;
        }
        let connection = socket.connection;
        loop {
            let engine = self.engine.borrow();
            let output = engine.output(connection);
            let written = if output.is_empty() {
                if !socket.has_pending() {
                    break;
                }
                socket.flush_pending().map(|()| 0)
            } else {
                socket.try_write(output)
            };
            drop(engine);
            match written {
                Ok(0) => {}
                Ok(bytes) => {
                    self.engine.borrow_mut().output_written(self.now(), connection, bytes);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return write_when_there_is_room(self, socket);
                }
                Err(_) => {
                    return self.forget(socket);
                }
            }
        }
        if socket.phase() == Phase::Closing {
            self.forget(socket);
            linger(self, socket);
        }
    }

    fn carry_out(self: &Rc<Self>, effect: Effect) {
        let worker = self.id();
        match effect {
            Effect::Close { connection } => {
                if let Some(socket) = self.socket(connection) {
                    socket.set_phase(Phase::Closing);
                    close_in_time(self, &socket);
                    self.write(&socket);
                }
            }
            Effect::Authenticate { connection, request } => {
                self.authenticate(connection, *request);
            }
            Effect::BeginExchange { connection, request } => {
                self.begin_exchange(connection, *request);
            }
            Effect::ContinueExchange { connection, data } => {
                self.continue_exchange(connection, &data);
            }
            Effect::Resume { connection } => {
                if let Some(socket) = self.socket(connection) {
                    socket.resume();
                }
            }
            Effect::Claim { connection, client_id, clean_start } => {
                self.hub.push(ToHub::Claim { worker, connection, client_id, clean_start });
            }
            Effect::Withdraw { connection, client_id } => {
                self.hub.push(ToHub::Withdraw { worker, connection, client_id });
            }
            Effect::Release { client_id, claim } => {
                self.hub.push(ToHub::Release { worker, client_id, claim });
            }
            Effect::Interest { seq, changes } => {
                self.hub.push(ToHub::Interest { worker, seq, changes });
            }
            Effect::Propose { proposal, change } => {
                self.hub.push(ToHub::Propose { worker, proposal, change });
            }
            Effect::ProposeSessions { proposal, operations, reach } => {
                let operations = operations.into();
                self.hub.push(ToHub::ProposeSessions { worker, proposal, operations, reach });
            }
        }
    }

    fn authenticate(self: &Rc<Self>, connection: ConnectionId, request: AuthRequest) {
        let Some(socket) = self.socket(connection) else { return };
        let Some(proofs) = self.proofs.get(usize::from(socket.listener.0)).copied() else { return };
        let decision = decide(proofs, self.realm_of(socket.listener), &request);
        match decision {
            Decision::Done(outcome) => self.accept(connection, &request.client_id, outcome),
            Decision::Refused(reason) => self.refuse(connection, &request, reason),
            Decision::Password { username, hash } => {
                self.check_password(connection, request, username, hash);
            }
        }
    }

    fn check_password(
        self: &Rc<Self>,
        connection: ConnectionId,
        mut request: AuthRequest,
        username: Arc<str>,
        hash: PasswordHash,
    ) {
        let password = Zeroizing::new(request.password.take().unwrap_or_default().into_vec());
        let counters = &self.handle.counters;
        let accepted =
            AuthOutcome::Accepted { username: Some(username), proof: AuthProof::Password };
        if hash.cost() == VerificationCost::Inline {
            counters.password_verified();
            return if hash.verify(&password) {
                self.accept(connection, &request.client_id, accepted);
            } else {
                self.refuse(connection, &request, RefusalReason::WrongPassword);
            };
        }
        if self.shared.passwords.remembers(&hash, &password) {
            counters.password_remembered();
            return self.accept(connection, &request.client_id, accepted);
        }
        let Ok(verified) = self.shared.passwords.verify(hash, password) else {
            counters.authentication_shed();
            let reason_code = ReasonCode::ServerBusy;
            return self.answer(connection, AuthOutcome::Refused { reason_code });
        };
        counters.password_verified();
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // No answer: the process ends.
            if verified.await.unwrap_or(false) {
                worker.accept(connection, &request.client_id, accepted);
            } else {
                worker.refuse(connection, &request, RefusalReason::WrongPassword);
            }
        });
    }

    fn refuse(&self, connection: ConnectionId, request: &AuthRequest, reason: RefusalReason) {
        self.handle.counters.authentication_refused();
        tracing::debug!(
            address = self.address(connection),
            client_id = %request.client_id,
            username = request.username.as_deref(),
            reason = reason.as_str(),
            "client refused"
        );
        self.answer(
            connection,
            AuthOutcome::Refused { reason_code: reason_code(reason, self.shared.engine.profile) },
        );
    }

    /// The client is who it says: it comes in if its user may have a connection more.
    fn accept(&self, connection: ConnectionId, client_id: &ClientId, outcome: AuthOutcome) {
        let Some(socket) = self.socket(connection) else { return };
        tracing::debug!(address = self.address(connection), %client_id, "client has proved itself");
        let outcome = match &outcome {
            AuthOutcome::Accepted { username: Some(username), .. }
                if name_of(Some(username)).is_some()
                    && !self.may_enter(&socket, username, client_id) =>
            {
                AuthOutcome::Refused { reason_code: ReasonCode::QuotaExceeded }
            }
            _ => outcome,
        };
        self.answer(connection, outcome);
    }

    /// Whether this user may have the connection beside the others.
    pub(super) fn may_enter(
        &self,
        socket: &Socket,
        username: &Arc<str>,
        client_id: &ClientId,
    ) -> bool {
        let policy = Arc::clone(self.engine.borrow().policy());
        let quota = policy.client(username).and_then(|client| client.quotas.connections);
        socket.place.log_in(username, client_id, quota)
    }

    fn answer(&self, connection: ConnectionId, outcome: AuthOutcome) {
        self.engine.borrow_mut().authenticated(self.now(), connection, outcome);
        self.flush.set();
    }
}
