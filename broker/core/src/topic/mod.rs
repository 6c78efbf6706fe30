//! Topic Names and Topic Filters: validation, matching, and the trees that match many at once.
//!
//! Pure. Spec: MQTT 5.0 sections 4.7 and 4.8.

mod error;
mod filter;
mod filter_trie;
mod level_index;
mod level_text;
mod name;
mod rewrite;
#[cfg(test)]
mod topic_test;
mod topic_tree;

pub use broker_policy::topic::{LEVELS_MAX, matches};
pub use error::TopicError;
pub(crate) use filter::is_shared;
pub use filter::{ShareName, TopicFilter};
pub use filter_trie::FilterTrie;
pub use name::TopicName;
pub use rewrite::{Rewrite, RewriteAction, rewrite};
pub use topic_tree::TopicTree;
