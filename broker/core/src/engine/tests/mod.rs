//! Tests of the engine: bytes and answers in, packets and effects out, time as told.

mod bus;
mod conformance;
mod connect;
mod deliver;
mod describe;
mod malformed;
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
mod subscribe;
mod sys;
mod two_engines;
mod v31;
mod will;
