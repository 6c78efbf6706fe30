//! What tests of this crate, unit and integration, put in the place of real brokers. In no product: it is compiled for tests and
//! behind the feature `test-support` only.

mod fake_brokers;

pub use fake_brokers::FakeBrokers;
