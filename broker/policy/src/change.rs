//! A change that leads from one policy revision to another. Pure data.

use serde::{Deserialize, Serialize};

use crate::digest::Revision;
use crate::record::{InvalidRecord, Record, RecordKey};

/// Records to put in and to take out, with the revisions before and after. It is applied whole or
/// not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyChange {
    /// The revision it is for.
    pub from: Revision,
    /// The revision it leads to.
    pub to: Revision,
    /// Records to add or to replace.
    pub upserts: Vec<Record>,
    /// Keys of records to remove.
    pub removals: Vec<RecordKey>,
}

impl PolicyChange {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }

    /// How many records it touches.
    pub fn len(&self) -> usize {
        self.upserts.len() + self.removals.len()
    }
}

/// Why a change was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The policy has moved on; compare again and send a new change.
    #[error("the change leads from revision {from:?}, but the policy is at {current:?}")]
    WrongBase {
        /// Where the policy is.
        current: Revision,
        /// Where the change leads from.
        from: Revision,
    },
    /// The change does not do what it says.
    #[error("the change leads to revision {reached:?}, not to {to:?} as it says")]
    WrongResult {
        /// Where it leads.
        reached: Revision,
        /// Where it says that it leads.
        to: Revision,
    },
    /// A record may not enter a policy.
    #[error("the change holds an invalid record")]
    Invalid {
        /// What is wrong with it.
        source: InvalidRecord,
    },
}
