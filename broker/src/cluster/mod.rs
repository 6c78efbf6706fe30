//! The cluster side of a broker: peer links and the meta group's consensus.
//!
//! Layer: above storage, below the hub and the admin API. IO; runs on the `cluster` thread. It
//! knows no MQTT rules: those are `broker_core`'s.

mod accept;
mod connection;
mod dial;
mod discovery;
mod environment;
mod frame;
mod handshake;
mod hello;
mod link_types;
mod links;
pub mod meta;
mod refusals;
mod replier;
mod version;

pub use broker_core::types::NodeId;
pub use discovery::{Discovery, Found};
pub(crate) use environment::spawn;
pub use environment::{Environment, GroupLog, PeerLinks, Process, SnapshotStorage, WallClock};
pub use frame::{FRAME_BODY_BYTES_MAX, FrameKind};
pub use link_types::{
    LinkError, LinkEvent, LinkTiming, LinksConfig, LinksStatus, LiveNode, PeerHandler, Refusal,
    RefusalKind,
};
pub use links::Links;
pub use replier::{AnswerSink, Replier};
pub use version::Speaks;
