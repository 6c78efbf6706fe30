//! Whether clients may come in: set by the hub, watched by the listeners and the admin API.

use tokio::sync::watch;

/// Whether clients may come in, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// The node serves: member of a cluster with a known leader, its policy applied.
    Open,
    /// It does not, for this reason, written for people. Listeners are closed.
    Closed {
        /// For `/readyz` and the log.
        reason: String,
    },
}

/// The side that decides.
#[derive(Debug)]
pub struct GateHandle(watch::Sender<GateState>);

/// The side that obeys.
#[derive(Debug, Clone)]
pub struct Gate(watch::Receiver<GateState>);

impl GateHandle {
    /// A gate that is closed for `reason`.
    #[must_use]
    pub fn closed(reason: &str) -> (Self, Gate) {
        let (sender, receiver) = watch::channel(GateState::Closed { reason: reason.to_owned() });
        (Self(sender), Gate(receiver))
    }

    /// Sets the state; wakes who waits only when it differs.
    pub fn set(&self, state: GateState) {
        self.0.send_if_modified(|current| {
            let differs = *current != state;
            if differs {
                *current = state;
            }
            differs
        });
    }
}

impl Gate {
    /// The state now.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.0.borrow().clone()
    }

    /// Whether clients may come in now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.0.borrow(), GateState::Open)
    }

    /// Waits until the gate is open (`true`) or closed (`false`). Cancel-safe. Never returns once
    /// the side that decides is gone and the state is another.
    pub async fn wait_for(&mut self, open: bool) {
        let is_wanted = |state: &GateState| matches!(state, GateState::Open) == open;
        if self.0.wait_for(is_wanted).await.map(drop).is_err() {
            std::future::pending::<()>().await;
        }
    }
}
