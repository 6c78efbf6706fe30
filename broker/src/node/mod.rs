//! What the threads of one broker say to each other, and what they share.
//!
//! Layer: above the core, below workers, hub, listeners and admin API. Types and counters; the
//! threads themselves live in `worker`, `hub` and `run`.

mod admission;
mod clock;
mod counters;
mod gate;
mod memory;
mod message;

pub use admission::{Admission, AdmissionLimits, AdmissionReading, Place};
pub use clock::Clock;
pub use counters::{ListenerCounters, ListenerReading, WorkerCounters, WorkerReading};
pub use gate::{Gate, GateHandle, GateState};
pub use memory::{MemoryCounters, MemoryReading};
pub use message::{
    AcceptedSocket, ClientSocket, ConnectionSlot, HUB_QUEUE_MESSAGES_MAX, InterestUpdateId,
    ListenerId, ToHub, ToWorker, WORKER_QUEUE_MESSAGES_MAX, WORKERS_MAX, WorkerHandle, WorkerId,
};
