//! Normative statements of MQTT that no other test shows; `docs/conformance.md` lists them all.

mod connect;
mod properties;
mod publish;
mod qos;
mod size;
mod subscribe;
mod v311;
