use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use broker_core::cluster_state::{CommandBatch, RetainedLimits};
use openraft::entry::RaftEntry;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Membership};

use super::*;
use crate::cluster::meta::type_config::{
    Entry, LogId, MemberNode, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::alias::CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

fn membership() -> Membership<u64, MemberNode> {
    let node = |name: &str| MemberNode { name: name.to_owned() };
    let nodes = BTreeMap::from([(1, node("a")), (2, node("b")), (3, node("c"))]);
    Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], nodes).unwrap()
}

fn entries() -> Vec<Entry> {
    let batch = CommandBatch::new(RetainedLimits::default(), [&Bytes::from_static(b"\x02abc")]);
    vec![
        Entry::new_blank(log_id(1, 0)),
        Entry::new(log_id(2, 300), EntryPayload::Normal(batch)),
        Entry::new(log_id(2, 301), EntryPayload::Membership(membership())),
    ]
}

/// The bytes are what they were when the form was fixed, and mean what they meant.
#[track_caller]
fn fixed<T: Layout + Debug>(value: &T, expected: &str) {
    let bytes = encode(value).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected, "{value:?}");
    let decoded: T = decode("test", &bytes).unwrap();
    assert_eq!(format!("{decoded:?}"), format!("{value:?}"));
    for length in 0..bytes.len() {
        assert!(decode::<T>("test", &bytes[..length]).is_err(), "{length} bytes of {value:?}");
    }
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    let error = decode::<T>("test", &newer).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn what_is_on_disk_keeps_its_form() {
    fixed(&log_id(3, 200), "0103c801");
    fixed(&Vote::new(3, 9), "01030900");
    fixed(&Vote::new_committed(300, 9), "01ac020901");
    let [blank, commands, membership_entry] = <[Entry; 3]>::try_from(entries()).unwrap();
    fixed(&blank, "01010000");
    fixed(
        &commands,
        "0102ac0201150140420f00000000000000004000000000026162 63".replace(' ', "").as_str(),
    );
    fixed(&membership_entry, "0102ad020202010102010203010161020162030163");
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(2, 301)),
        last_membership: StoredMembership::new(Some(log_id(2, 300)), membership()),
    };
    fixed(&meta, "010102ad020102ac0202010102010203010161020162030163");
    fixed(&SnapshotMeta::default(), "0100000000");
}

#[test]
fn what_is_on_the_wire_keeps_its_form() {
    let vote = Vote::new_committed(3, 9);
    let append = AppendEntriesRequest::<TypeConfig> {
        vote,
        prev_log_id: Some(log_id(1, 0)),
        entries: vec![Entry::new_blank(log_id(3, 1))],
        leader_commit: None,
    };
    fixed(&append, "0103090101010001030100 00".replace(' ', "").as_str());
    fixed(&AppendEntriesResponse::<TypeConfig>::Success, "0100");
    let partial = AppendEntriesResponse::<TypeConfig>::PartialSuccess(Some(log_id(3, 1)));
    fixed(&partial, "0101010301");
    fixed(&AppendEntriesResponse::<TypeConfig>::Conflict, "0102");
    fixed(&AppendEntriesResponse::<TypeConfig>::HigherVote(vote), "0103030901");
    fixed(&VoteRequest::<TypeConfig>::new(vote, None), "010309010000");
    fixed(&VoteResponse::<TypeConfig>::new(vote, Some(log_id(3, 1)), true), "0103090101010301");
    fixed(&Some(SnapshotResponse::<TypeConfig>::new(vote)), "0101030901");
    fixed(&TransferLeaderRequest::<TypeConfig>::new(vote, 7, None), "010309010700");
    fixed::<TransferLeaderResponse<TypeConfig>>(&Ok(()), "0100");
    let changed = TransferLeaderError::VoteChanged { expected: vote, actual: vote };
    fixed::<TransferLeaderResponse<TypeConfig>>(&Err(changed), "0101030901030901");
    let behind = TransferLeaderError::LogNotFlushed { expected: Some(log_id(3, 1)), actual: None };
    fixed::<TransferLeaderResponse<TypeConfig>>(&Err(behind), "010201030100");
}
