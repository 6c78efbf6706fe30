//! `mqtt-operator local` as people use it: the program itself, real brokers where they are built, broken ones from scripts.

#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

mod broken_programs;
mod inspection;
mod lifecycle;
mod manifests;
mod secrecy;
