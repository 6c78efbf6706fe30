//! A node's registry, case by case. Sessions are numbers.

use super::*;
use crate::claim::{GRANT_MILLIS_MAX, Holding};
use crate::types::{ClientId, ConnectionId, Millis, NodeId};

const SELF: NodeId = NodeId(1);
const LEADER: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);
const TERM: u64 = 5;

type Claims = NodeClaims<u32>;

fn claim(seq: u64) -> Claim {
    Claim { term: TERM, seq }
}

fn x() -> ClientId {
    ClientId::new("x")
}

fn place(connection: u64) -> Place {
    Place { worker: WorkerIndex(0), connection: ConnectionId(connection) }
}

/// A registry that is linked to the leader and another node; its first request is number 10.
fn claims() -> Claims {
    let mut claims = Claims::new(Millis(0), SELF, RequestId(10));
    claims.link_up(LEADER);
    claims.link_up(OTHER);
    claims.leader_changed(Millis(0), Some((LEADER, TERM)));
    assert_eq!(claims.take_actions().len(), 1, "it reports to the leader");
    claims
}

fn grant(claims: &mut Claims, request: u64, seq: u64, previous: &[NodeId]) {
    let granted = FromArbiter::Granted {
        request: RequestId(request),
        client_id: x(),
        claim: claim(seq),
        previous: previous.to_vec(),
    };
    claims.handle_arbiter(Millis(0), LEADER, granted);
}

fn answer(connection: u64, answer: ClaimAnswer<u32>) -> NodeAction<u32> {
    NodeAction::Answer { place: place(connection), client_id: x(), answer }
}

fn live(connection: u64, seq: u64, session: Option<u32>) -> NodeAction<u32> {
    answer(connection, ClaimAnswer::Granted { claim: claim(seq), session })
}

fn to_leader(message: ToArbiter) -> NodeAction<u32> {
    NodeAction::ToArbiter { leader: LEADER, message }
}

fn released(seq: u64) -> NodeAction<u32> {
    to_leader(ToArbiter::Release { client_id: x(), claim: claim(seq) })
}

fn to_peer(node: NodeId, message: ToPeer<u32>) -> NodeAction<u32> {
    NodeAction::ToPeer { node, message }
}

fn taken(seq: u64, session: Option<u32>) -> ToPeer<u32> {
    ToPeer::TakenOver { client_id: x(), claim: claim(seq), session }
}

fn take(seq: u64) -> ToPeer<u32> {
    ToPeer::TakeOver { client_id: x(), claim: claim(seq), clean_start: false }
}

/// A registry where connection 1 holds the identifier under claim 1.
fn holding() -> Claims {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    grant(&mut claims, 10, 1, &[]);
    assert!(claims.take_actions().contains(&live(1, 1, None)));
    claims
}

fn ticket(actions: &[NodeAction<u32>]) -> Ticket {
    let ticket = |action: &NodeAction<u32>| match action {
        NodeAction::TakeOver { ticket, .. } => Some(*ticket),
        _ => None,
    };
    actions.iter().find_map(ticket).expect("a worker is asked to let go")
}

#[test]
fn a_first_connection_is_live_with_the_grant() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    let request = ToArbiter::Request { term: TERM, request: RequestId(10), client_id: x() };
    assert_eq!(claims.take_actions(), [to_leader(request)]);
    grant(&mut claims, 10, 1, &[]);
    let settled = ToArbiter::Settled { client_id: x(), claim: claim(1), cleared: vec![SELF] };
    assert_eq!(claims.take_actions(), [live(1, 1, None), to_leader(settled)]);
}

#[test]
fn a_connection_that_has_gone_takes_nothing_from_a_live_one() {
    let mut claims = holding();
    claims.claim(Millis(0), place(2), &x(), false);
    claims.take_actions();
    claims.withdraw(place(3), &x());
    assert_eq!(claims.take_actions(), []);
    claims.withdraw(place(2), &x());
    assert_eq!(claims.take_actions(), [answer(2, ClaimAnswer::Withdrawn)]);
    grant(&mut claims, 11, 3, &[SELF, OTHER]);
    assert_eq!(claims.take_actions(), [released(3)]);
    assert_eq!(claims.held().count(), 1);
}

#[test]
fn a_connection_is_live_only_when_all_before_it_have_let_go() {
    let mut claims = holding();
    claims.claim(Millis(0), place(2), &x(), false);
    claims.take_actions();
    grant(&mut claims, 11, 3, &[SELF, OTHER]);
    let actions = claims.take_actions();
    assert_eq!(actions[0], to_peer(OTHER, take(3)));
    let ticket = ticket(&actions);
    assert_eq!(actions.len(), 2);
    claims.extracted(ticket, Some(77));
    assert_eq!(claims.take_actions(), []);
    claims.handle_peer(OTHER, taken(3, None));
    let settled =
        ToArbiter::Settled { client_id: x(), claim: claim(3), cleared: vec![SELF, OTHER] };
    assert_eq!(claims.take_actions(), [live(2, 3, Some(77)), to_leader(settled)]);
}

#[test]
fn a_node_that_does_not_answer_costs_a_second_and_is_not_called_cleared() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    grant(&mut claims, 10, 2, &[OTHER]);
    claims.take_actions();
    claims.handle_timeout(Millis(TAKE_OVER_MILLIS_MAX - 1));
    assert_eq!(claims.take_actions(), []);
    claims.handle_timeout(Millis(TAKE_OVER_MILLIS_MAX));
    let settled = ToArbiter::Settled { client_id: x(), claim: claim(2), cleared: vec![SELF] };
    assert_eq!(claims.take_actions(), [live(1, 2, None), to_leader(settled)]);
}

#[test]
fn a_broken_link_ends_the_waiting_for_its_node() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    grant(&mut claims, 10, 2, &[OTHER]);
    claims.take_actions();
    claims.link_down(OTHER);
    assert!(claims.take_actions().contains(&live(1, 2, None)));
}

#[test]
fn what_is_held_is_handed_over_to_a_newer_claim_only() {
    let mut claims = holding();
    claims.handle_peer(OTHER, take(1));
    assert_eq!(claims.take_actions(), [to_peer(OTHER, taken(1, None))]);
    claims.handle_peer(OTHER, take(2));
    let ticket = ticket(&claims.take_actions());
    claims.extracted(ticket, Some(77));
    assert_eq!(claims.take_actions(), [to_peer(OTHER, taken(2, Some(77)))]);
    assert!(claims.is_empty());
}

#[test]
fn a_grant_that_another_nodes_newer_claim_has_overtaken_is_refused() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    claims.take_actions();
    claims.handle_peer(OTHER, take(3));
    assert_eq!(claims.take_actions(), [to_peer(OTHER, taken(3, None))]);
    grant(&mut claims, 10, 2, &[]);
    assert_eq!(claims.take_actions(), [answer(1, ClaimAnswer::Superseded), released(2)]);
}

#[test]
fn a_grant_above_the_claim_that_came_by_is_accepted() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    claims.handle_peer(OTHER, take(3));
    grant(&mut claims, 10, 4, &[]);
    assert!(claims.take_actions().contains(&live(1, 4, None)));
}

#[test]
fn a_second_connection_takes_the_place_of_one_that_waits() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), false);
    claims.take_actions();
    claims.claim(Millis(0), place(2), &x(), false);
    assert_eq!(claims.take_actions(), [answer(1, ClaimAnswer::Superseded)]);
    grant(&mut claims, 10, 1, &[]);
    assert!(claims.take_actions().contains(&live(2, 1, None)));
}

#[test]
fn a_clean_start_gets_no_session() {
    let mut claims = claims();
    claims.claim(Millis(0), place(1), &x(), true);
    grant(&mut claims, 10, 2, &[OTHER]);
    let asked = ToPeer::TakeOver { client_id: x(), claim: claim(2), clean_start: true };
    assert!(claims.take_actions().contains(&to_peer(OTHER, asked)));
    claims.handle_peer(OTHER, taken(2, Some(77)));
    assert!(claims.take_actions().contains(&live(1, 2, None)));
}

#[test]
fn after_an_election_everything_is_reported_and_asked_for_again() {
    let mut claims = holding();
    let y = ClientId::new("y");
    claims.claim(Millis(0), place(2), &y, false);
    claims.take_actions();
    claims.leader_changed(Millis(1), None);
    claims.leader_changed(Millis(2), Some((OTHER, TERM + 1)));
    let held = vec![Holding { client_id: x(), claim: claim(1), settled: true }];
    let report = ToArbiter::Report {
        term: TERM + 1,
        first: true,
        last: true,
        requests_below: RequestId(12),
        held,
    };
    let request =
        ToArbiter::Request { term: TERM + 1, request: RequestId(12), client_id: y.clone() };
    let to_other = |message| NodeAction::ToArbiter { leader: OTHER, message };
    assert_eq!(claims.take_actions(), [to_other(report), to_other(request)]);

    // A grant of the old term comes late: it names a request that is not asked any more.
    let late = FromArbiter::Granted {
        request: RequestId(11),
        client_id: y.clone(),
        claim: claim(9),
        previous: Vec::new(),
    };
    claims.handle_arbiter(Millis(3), LEADER, late);
    let refused = ToArbiter::Release { client_id: y, claim: claim(9) };
    assert_eq!(claims.take_actions(), [to_other(refused)]);
}

#[test]
fn long_reports_come_in_parts() {
    let mut claims = claims();
    for number in 0..=REPORT_PART_MAX as u64 {
        let client_id = ClientId::new(&number.to_string());
        claims.claim(Millis(0), place(number), &client_id, false);
        let granted = FromArbiter::Granted {
            request: RequestId(10 + number),
            client_id,
            claim: claim(1 + number),
            previous: Vec::new(),
        };
        claims.handle_arbiter(Millis(0), LEADER, granted);
    }
    claims.take_actions();
    claims.handle_arbiter(Millis(0), LEADER, FromArbiter::AskReport { term: TERM });
    let part = |action: NodeAction<u32>| match action {
        NodeAction::ToArbiter { message: ToArbiter::Report { first, last, held, .. }, .. } => {
            (first, last, held.len())
        }
        action => panic!("{action:?}"),
    };
    let parts: Vec<_> = claims.take_actions().into_iter().map(part).collect();
    assert_eq!(parts, [(true, false, REPORT_PART_MAX), (false, true, 1)]);
}

#[test]
fn without_a_leader_claims_wait_for_an_election_and_then_are_refused() {
    let mut claims = Claims::new(Millis(0), SELF, RequestId(10));
    claims.claim(Millis(1), place(1), &x(), false);
    assert_eq!(claims.take_actions(), []);
    assert_eq!(claims.next_timeout(), Some(Millis(1 + GRANT_MILLIS_MAX)));
    claims.handle_timeout(Millis(1 + GRANT_MILLIS_MAX));
    assert_eq!(claims.take_actions(), [answer(1, ClaimAnswer::Unavailable)]);
    claims.claim(Millis(2 + GRANT_MILLIS_MAX), place(2), &x(), false);
    assert_eq!(claims.take_actions(), [answer(2, ClaimAnswer::Unavailable)], "at once");
}

#[test]
fn a_revocation_closes_what_is_older_and_says_so() {
    let mut claims = holding();
    let revoke = |seq| FromArbiter::Revoke { client_id: x(), claim: claim(seq) };
    claims.handle_arbiter(Millis(0), LEADER, revoke(1));
    assert_eq!(claims.take_actions(), [], "its own claim is no newer one");
    claims.handle_arbiter(Millis(0), LEADER, revoke(2));
    let ticket = ticket(&claims.take_actions());
    claims.extracted(ticket, Some(77));
    assert_eq!(claims.take_actions(), [released(1)]);
}

#[test]
fn only_the_session_under_the_newest_claim_releases_it() {
    let mut claims = holding();
    claims.release(&x(), claim(9));
    assert_eq!(claims.take_actions(), []);
    claims.release(&x(), claim(1));
    assert_eq!(claims.take_actions(), [released(1)]);
    assert!(claims.is_empty());
}

/// A claim that the node granted itself.
fn alone(number: u64) -> Claim {
    Claim { term: 0, seq: number }
}

/// Cut off from the cluster for as long as it takes, and told to serve nevertheless.
fn cut_off(mut claims: Claims) -> (Claims, Millis) {
    claims.link_down(LEADER);
    claims.link_down(OTHER);
    claims.leader_changed(Millis(0), None);
    claims.set_alone(true);
    claims.take_actions();
    (claims, Millis(GRANT_MILLIS_MAX))
}

#[test]
fn a_node_that_is_alone_grants_by_itself_and_closes_its_own_older_connection() {
    let (mut claims, now) = cut_off(holding());
    claims.claim(now, place(2), &x(), true);
    let actions = claims.take_actions();
    assert_eq!(actions.len(), 1, "the older one is told to let go: {actions:?}");
    claims.extracted(ticket(&actions), None);
    // Its request was the second, from 10 on.
    let number = 12;
    let granted = ClaimAnswer::Granted { claim: alone(number), session: None };
    assert_eq!(claims.take_actions(), [answer(2, granted)]);
    // Back with the same leader: it forgets the claim that was replaced, and hears of this one.
    claims.set_alone(false);
    claims.link_up(LEADER);
    claims.leader_changed(now, Some((LEADER, TERM)));
    let actions = claims.take_actions();
    assert_eq!(actions[0], released(1));
    let NodeAction::ToArbiter { message: ToArbiter::Report { held, .. }, .. } = &actions[1] else {
        panic!("no report: {actions:?}")
    };
    assert_eq!(*held, [Holding { client_id: x(), claim: alone(number), settled: true }]);
}

#[test]
fn what_a_node_granted_alone_gives_way_to_what_the_cluster_granted_meanwhile() {
    let (mut claims, now) = cut_off(claims());
    claims.claim(now, place(1), &x(), true);
    claims.take_actions();
    claims.set_alone(false);
    claims.link_up(LEADER);
    claims.leader_changed(now, Some((LEADER, TERM)));
    claims.take_actions();
    let revoke = FromArbiter::Revoke { client_id: x(), claim: claim(1) };
    claims.handle_arbiter(now, LEADER, revoke);
    let actions = claims.take_actions();
    assert!(matches!(actions[..], [NodeAction::TakeOver { .. }]), "{actions:?}");
}

#[test]
fn a_node_that_is_fenced_grants_nothing() {
    let (mut claims, now) = cut_off(claims());
    claims.set_alone(false);
    claims.claim(now, place(1), &x(), true);
    assert_eq!(claims.take_actions(), [answer(1, ClaimAnswer::Unavailable)]);
}
