//! States as bytes, for tests.

use std::sync::Arc;

use bytes::Bytes;

use super::{ClusterState, SnapshotError, StateSnapshot};
use crate::stored::FileRange;

/// A snapshot as it is written.
pub(super) fn bytes_of(snapshot: &StateSnapshot) -> Bytes {
    let mut out = Vec::new();
    snapshot.write(&mut out).unwrap();
    out.into()
}

/// The state as it is written.
pub(super) fn written(state: &ClusterState) -> Bytes {
    bytes_of(&state.snapshot())
}

/// What stands in these bytes.
pub(super) fn read(bytes: Bytes) -> Result<StateSnapshot, SnapshotError> {
    let count = bytes.len() as u64;
    StateSnapshot::read(&FileRange::new(Arc::new(bytes), 0, count))
}
