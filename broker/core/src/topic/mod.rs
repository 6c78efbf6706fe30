//! Topic Names and Topic Filters: validation, matching, and the trees that match many at once.
//!
//! Pure. Spec: MQTT 5.0 sections 4.7 and 4.8.

mod error;
mod filter;
mod filter_trie;
mod level_index;
mod level_text;
mod matches;
mod name;
#[cfg(test)]
mod topic_test;
mod topic_tree;

pub use error::TopicError;
pub(crate) use filter::is_shared;
pub use filter::{ShareName, TopicFilter};
pub use filter_trie::FilterTrie;
pub use matches::matches;
pub use name::TopicName;
pub use topic_tree::TopicTree;

/// Most levels that a Topic Name or Topic Filter may have (`a/b` has two).
///
/// Bounds the work and the stack of a match; the specification allows 32,768.
pub const LEVELS_MAX: usize = 128;
