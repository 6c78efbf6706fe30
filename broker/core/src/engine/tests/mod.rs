//! Tests of the engine: bytes and answers in, packets and effects out, time as told.

mod connect;
mod deliver;
mod describe;
mod pair;
mod policy;
mod publish;
mod retained;
mod rig;
mod robustness;
mod session;
mod subscribe;
mod two_engines;
mod will;
