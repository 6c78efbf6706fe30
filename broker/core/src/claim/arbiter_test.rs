//! The arbiter, case by case.

use super::*;
use crate::types::{ClientId, Millis, NodeId};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);
const C: NodeId = NodeId(3);
const TERM: u64 = 5;

fn claim(seq: u64) -> Claim {
    Claim { term: TERM, seq }
}

fn client(name: &str) -> ClientId {
    ClientId::new(name)
}

fn report(held: &[(&str, Claim, bool)]) -> ToArbiter {
    let holding = |(id, claim, settled): &(&str, Claim, bool)| Holding {
        client_id: client(id),
        claim: *claim,
        settled: *settled,
    };
    ToArbiter::Report {
        term: TERM,
        first: true,
        last: true,
        requests_below: RequestId(100),
        held: held.iter().map(holding).collect(),
    }
}

fn request(number: u64, id: &str) -> ToArbiter {
    ToArbiter::Request { term: TERM, request: RequestId(number), client_id: client(id) }
}

fn granted(number: u64, id: &str, seq: u64, previous: &[NodeId]) -> FromArbiter {
    FromArbiter::Granted {
        request: RequestId(number),
        client_id: client(id),
        claim: claim(seq),
        previous: previous.to_vec(),
    }
}

fn settled(id: &str, claim: Claim, cleared: &[NodeId]) -> ToArbiter {
    ToArbiter::Settled { client_id: client(id), claim, cleared: cleared.to_vec() }
}

fn revoke(id: &str, claim: Claim) -> FromArbiter {
    FromArbiter::Revoke { client_id: client(id), claim }
}

/// An arbiter that three nodes have reported to.
fn arbiter(held_by_a: &[(&str, Claim, bool)]) -> Arbiter {
    let mut arbiter = Arbiter::new(Millis(0), TERM, [A, B, C]);
    assert_eq!(arbiter.take_output().len(), 3, "each is asked to report");
    arbiter.handle(Millis(0), A, report(held_by_a));
    for node in [B, C] {
        arbiter.handle(Millis(0), node, report(&[]));
    }
    assert_eq!(arbiter.take_output(), []);
    arbiter
}

#[test]
fn claims_rise_and_name_who_held_the_identifier_before() {
    let mut arbiter = arbiter(&[]);
    arbiter.handle(Millis(0), A, request(100, "x"));
    arbiter.handle(Millis(0), A, settled("x", claim(1), &[A]));
    arbiter.handle(Millis(0), B, request(100, "x"));
    arbiter.handle(Millis(0), C, request(100, "y"));
    let expected = [
        (A, granted(100, "x", 1, &[])),
        (B, granted(100, "x", 2, &[A])),
        (C, granted(100, "y", 3, &[])),
    ];
    assert_eq!(arbiter.take_output(), expected);
}

#[test]
fn a_grant_waits_until_the_one_before_is_settled() {
    let mut arbiter = arbiter(&[]);
    for node in [A, B, C] {
        arbiter.handle(Millis(0), node, request(100, "x"));
    }
    assert_eq!(arbiter.take_output(), [(A, granted(100, "x", 1, &[]))]);
    arbiter.handle(Millis(1), A, settled("x", claim(1), &[A]));
    assert_eq!(arbiter.take_output(), [(B, granted(100, "x", 2, &[A]))]);
    let due = Millis(SETTLE_MILLIS_MAX + 1);
    assert_eq!(arbiter.next_timeout(), Some(due), "the first is not waited for any more");
    arbiter.handle_timeout(Millis(SETTLE_MILLIS_MAX));
    assert_eq!(arbiter.take_output(), []);
    arbiter.handle_timeout(Millis(SETTLE_MILLIS_MAX + 1));
    assert_eq!(arbiter.take_output(), [(C, granted(100, "x", 3, &[A, B]))]);
}

#[test]
fn a_grant_that_is_released_makes_way_for_the_next() {
    let mut arbiter = arbiter(&[]);
    arbiter.handle(Millis(0), A, request(100, "x"));
    arbiter.handle(Millis(0), B, request(100, "x"));
    arbiter.take_output();
    let released = ToArbiter::Release { client_id: client("x"), claim: claim(1) };
    arbiter.handle(Millis(0), A, released);
    assert_eq!(arbiter.take_output(), [(B, granted(100, "x", 2, &[]))]);
}

#[test]
fn who_did_not_let_go_is_told_to_when_the_newer_claim_is_live() {
    let old = Claim { term: 4, seq: 9 };
    let mut arbiter = arbiter(&[("x", old, true)]);
    arbiter.handle(Millis(0), B, request(100, "x"));
    assert_eq!(arbiter.take_output(), [(B, granted(100, "x", 1, &[A]))]);
    arbiter.handle(Millis(0), B, settled("x", claim(1), &[B]));
    assert_eq!(arbiter.take_output(), [(A, revoke("x", claim(1)))]);
    arbiter.handle(Millis(0), A, report(&[("x", old, true)]));
    assert_eq!(arbiter.take_output(), [(A, revoke("x", claim(1)))], "and told again");
    let released = ToArbiter::Release { client_id: client("x"), claim: old };
    arbiter.handle(Millis(0), A, released);
    arbiter.handle(Millis(0), C, request(100, "x"));
    assert_eq!(arbiter.take_output(), [(C, granted(100, "x", 2, &[B]))]);
}

#[test]
fn a_late_report_of_an_older_claim_is_answered_by_revocation() {
    let mut arbiter = Arbiter::new(Millis(0), TERM, [A, B]);
    arbiter.take_output();
    arbiter.handle(Millis(0), B, report(&[]));
    arbiter.handle(Millis(0), B, request(100, "x"));
    assert_eq!(arbiter.take_output(), [], "it waits for the other node's report");
    arbiter.handle_timeout(Millis(RECOVERY_MILLIS_MAX));
    assert_eq!(arbiter.take_output(), [(B, granted(100, "x", 1, &[]))]);
    arbiter.handle(Millis(1_000), B, settled("x", claim(1), &[B]));
    arbiter.handle(Millis(2_000), A, report(&[("x", Claim { term: 4, seq: 1 }, true)]));
    assert_eq!(arbiter.take_output(), [(A, revoke("x", claim(1)))]);
}

#[test]
fn nothing_is_granted_before_all_live_nodes_have_reported() {
    let mut arbiter = Arbiter::new(Millis(0), TERM, [A, B]);
    arbiter.take_output();
    arbiter.handle(Millis(0), A, report(&[]));
    arbiter.handle(Millis(0), A, request(100, "x"));
    assert_eq!(arbiter.take_output(), []);
    arbiter.handle(Millis(0), B, report(&[("x", Claim { term: 4, seq: 3 }, true)]));
    assert_eq!(arbiter.take_output(), [(A, granted(100, "x", 1, &[B]))]);
}

#[test]
fn a_node_that_dies_during_recovery_is_not_waited_for() {
    let mut arbiter = Arbiter::new(Millis(0), TERM, [A, B]);
    arbiter.handle(Millis(0), A, report(&[]));
    arbiter.node_down(Millis(0), B);
    assert_eq!(arbiter.next_timeout(), None);
}

#[test]
fn a_node_must_report_after_each_break_before_it_may_ask() {
    let mut arbiter = arbiter(&[]);
    arbiter.node_down(Millis(0), A);
    arbiter.node_up(A);
    arbiter.handle(Millis(0), A, request(100, "x"));
    let denied = FromArbiter::Denied {
        term: TERM,
        request: RequestId(100),
        client_id: client("x"),
        denial: Denial::NotReported,
    };
    let asked = (A, FromArbiter::AskReport { term: TERM });
    assert_eq!(arbiter.take_output(), [asked, (A, denied)]);
}

#[test]
fn what_a_report_does_not_name_is_gone_unless_granted_since() {
    let mut arbiter = arbiter(&[("old", Claim { term: 4, seq: 1 }, true)]);
    arbiter.handle(Millis(0), A, request(99, "before"));
    arbiter.handle(Millis(0), A, request(100, "after"));
    assert_eq!(arbiter.len(), 3);
    arbiter.handle(Millis(0), A, report(&[]));
    assert_eq!(arbiter.len(), 1, "the grant that may be on its way stays");
}

#[test]
fn a_node_that_left_for_good_holds_nothing() {
    let mut arbiter = arbiter(&[("x", Claim { term: 4, seq: 1 }, true)]);
    arbiter.node_removed(Millis(0), A);
    assert!(arbiter.is_empty());
}

#[test]
fn words_to_another_term_are_not_heard() {
    let mut arbiter = arbiter(&[]);
    let stale =
        ToArbiter::Request { term: TERM - 1, request: RequestId(7), client_id: client("x") };
    arbiter.handle(Millis(0), A, stale);
    assert_eq!(arbiter.take_output(), []);
    assert!(arbiter.is_empty());
}
