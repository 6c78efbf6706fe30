//! What the tests of the whole product share: MQTT over TLS with a client that others wrote, programs run as a person would
//! run them, scenarios and their report.
#![expect(clippy::print_stdout, reason = "the report of a test run goes to standard output")]

pub mod bench;
pub mod chaos;
pub mod device;
pub mod exactly_once;
pub mod kind;
pub mod local;
pub mod optional;
pub mod program;
pub mod scenario;
pub mod tunnel;
