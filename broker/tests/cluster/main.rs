//! Nodes of a cluster within one process: real links over TLS on loopback, real disks.

mod certificates;
mod faults;
mod links;
mod meta;
mod node;
mod retained;
mod storage;
