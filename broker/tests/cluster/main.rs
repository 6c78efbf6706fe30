//! Nodes of a cluster within one process: real links over TLS on loopback, real disks.

#![expect(clippy::unwrap_used, reason = "a test that can't go on must fail where it stands")]

mod certificates;
mod discovery;
mod discovery_api_server;
mod discovery_etcd_tls;
mod faults;
mod links;
mod meta;
mod node;
#[path = "../support/optional.rs"]
mod optional;
mod retained;
mod storage;
mod strangers;
mod versions;
