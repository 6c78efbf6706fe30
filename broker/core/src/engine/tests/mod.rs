//! Tests of the engine: bytes and answers in, packets and effects out, time as told.

mod bus;
mod conformance;
mod connect;
mod deliver;
mod describe;
mod durable;
mod durable_shared;
mod outbound_alias;
mod pair;
mod policy;
mod protocol_error;
mod publish;
mod reason;
mod retained;
mod rig;
mod robustness;
mod session;
mod shared;
mod shared_property;
mod shared_strategy;
mod shared_two_engines;
mod state;
mod subscribe;
mod two_engines;
mod v31;
mod will;
