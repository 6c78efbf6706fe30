//! `mqtt-operator local` as people use it: the program itself, real brokers where they are built, broken ones from scripts.

mod support;

mod broken_programs;
mod inspection;
mod lifecycle;
mod manifests;
