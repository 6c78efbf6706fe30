//! A load generator for MQTT brokers that costs little beside them, and the comparison of this broker with Mosquitto.
#![expect(clippy::print_stdout, reason = "reports go to standard output")]

pub mod brokers;
pub mod cluster;
pub mod compare;
pub mod connection;
pub mod idle;
pub mod interest;
pub mod load;
pub mod output;
pub mod process;
pub mod stamp;
pub mod stream;
pub mod subscribe;
pub mod tally;
pub mod target;
pub mod window;
pub mod wire;

#[cfg(test)]
mod window_test;
#[cfg(test)]
mod wire_test;
