//! The replicated state of the meta group: policy records and retained messages.
//!
//! Layer: above `retained` and the policy crate, below storage and consensus. Pure and
//! deterministic: no clock, no randomness, no order that depends on a hash.
