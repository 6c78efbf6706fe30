//! The versions that brokers speak to each other, and how two of them agree on one. Pure.
//!
//! A link has one version, that of all its frames: the newest that both ends speak. What the log and
//! the snapshots hold is another matter: the cluster's feature level says so.

use broker_core::cluster_state::FEATURE_LEVEL_MAX;

/// The version of the handshake's own frames, which never changes.
pub(super) const HANDSHAKE: u16 = 1;

/// The first version whose frames say which version they are of.
pub(super) const NAMED_IN_FRAMES: u16 = 2;

/// What a broker speaks and knows; each end of a link tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaks {
    /// Versions of the link protocol, from and to.
    pub wire: (u16, u16),
    /// Highest feature level that it can read.
    pub feature_level_max: u16,
    /// Version of the program, for people.
    pub program: String,
}

impl Default for Speaks {
    fn default() -> Self {
        Self {
            wire: (1, NAMED_IN_FRAMES),
            feature_level_max: FEATURE_LEVEL_MAX,
            program: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl Speaks {
    /// The version of a link between the two; `None`: they have none in common.
    #[must_use]
    pub fn agree(&self, other: &Self) -> Option<u16> {
        let (newest, oldest) = (self.wire.1.min(other.wire.1), self.wire.0.max(other.wire.0));
        (newest >= oldest).then_some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_brokers_speak_the_newest_version_that_both_know_or_none() {
        let speaks = |from, to| Speaks { wire: (from, to), ..Speaks::default() };
        let cases = [
            ((1, 2), (1, 2), Some(2)),
            ((1, 1), (1, 2), Some(1)),
            ((2, 4), (1, 3), Some(3)),
            ((1, 1), (2, 3), None),
        ];
        for (one, other, agreed) in cases {
            let (one, other) = (speaks(one.0, one.1), speaks(other.0, other.1));
            assert_eq!(one.agree(&other), agreed);
            assert_eq!(other.agree(&one), agreed);
        }
    }
}
