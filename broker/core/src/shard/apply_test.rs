use crate::shard::testing::*;
use crate::shard::*;
use crate::types::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use crate::types::{Millis, NodeId, PacketId};

const DONE: OperationOutcome = OperationOutcome::Done;

#[test]
fn a_message_waits_for_each_session_that_matches_until_it_is_acknowledged() {
    let mut machine = Machine::new();
    let (a, b) = (machine.attach("a"), machine.attach("b"));
    machine.subscribe(session("a", a), "t/+", AtLeastOnce);
    machine.subscribe(session("b", b), "t/1", ExactlyOnce);
    machine.one(detach(session("b", b), 0));
    assert_eq!(machine.publish("t/1", "one", ExactlyOnce), DONE);
    assert_eq!(machine.publish("t/2", "two", AtLeastOnce), DONE);
    assert_eq!(machine.publish("t/1", "zero", AtMostOnce), DONE);
    assert_eq!(machine.waiting("a"), [(1, "one".to_owned()), (2, "two".to_owned())]);
    assert_eq!(machine.payloads("b"), ["one"]);
    assert_eq!(machine.store.totals().messages, 3);
    machine.one(Operation::Acknowledge { session: session("a", a), seqs: vec![2] });
    assert_eq!(machine.waiting("a"), [(1, "one".to_owned())]);
    machine.one(Operation::Acknowledge { session: session("a", a), seqs: vec![1] });
    assert!(machine.waiting("a").is_empty());
    assert_eq!(machine.publish("t/2", "three", AtLeastOnce), DONE);
    assert_eq!(machine.waiting("a"), [(3, "three".to_owned())]);
}

#[test]
fn a_batch_that_reaches_the_log_twice_is_applied_once_and_answers_the_same() {
    let mut machine = Machine::new();
    let a = machine.attach("a");
    machine.subscribe(session("a", a), "t", AtLeastOnce);
    machine.limits.messages_max = 0;
    machine.limits.in_flight_max = 1;
    let message = message("t", "x", AtLeastOnce);
    let form = || Operation::Publish {
        publisher: None,
        shards: ALL_SHARDS,
        groups: Vec::new(),
        is_retained: false,
        message: MessageForm::of(&message),
    };
    let batch = machine.batch(&[form(), form()]);
    let first = machine.apply(&batch);
    assert_eq!(first.outcomes, [DONE, OperationOutcome::Full]);
    assert_eq!(first.ready.len(), 1, "one wake for one session");
    let state = machine.encoded();
    let again = machine.apply(&batch);
    assert_eq!(again.outcomes, first.outcomes);
    assert!(again.ready.is_empty());
    assert_eq!(machine.encoded(), state);
    machine.run(&[]);
    assert_eq!(machine.apply(&batch).outcomes, [OperationOutcome::Stale; 2], "it was answered");
}

#[test]
fn what_an_earlier_connection_proposes_changes_nothing() {
    let mut machine = Machine::new();
    let first = machine.attach("a");
    machine.subscribe(session("a", first), "t", AtLeastOnce);
    machine.publish("t", "x", AtLeastOnce);
    let (second, present) = machine.attach_with("a", false, None);
    assert!(present && second > first);
    let state = |machine: &Machine| machine.payloads("a");
    let stale = session("a", first);
    for operation in [
        Operation::Acknowledge { session: stale, seqs: vec![1] },
        Operation::Subscribe { session: stale, subscriptions: vec![] },
        Operation::Unsubscribe { session: stale, filters: vec!["t"] },
        detach(stale, 1),
    ] {
        assert_eq!(machine.one(operation), OperationOutcome::Stale);
    }
    let late = message("t", "late", AtLeastOnce);
    let publisher = Some(PublisherForm { session: stale, packet_id: None });
    assert_eq!(machine.publish_from(publisher, &late), OperationOutcome::Stale);
    assert_eq!(state(&machine), ["x"]);
    assert_eq!(machine.store.view("a", first), None);
    assert_eq!(machine.store.view("a", second).unwrap().sent_to, 1, "it may have been sent");
}

#[test]
fn a_qos_2_message_that_comes_again_before_its_release_is_kept_once() {
    let mut machine = Machine::new();
    let (a, p) = (machine.attach("a"), machine.attach("p"));
    machine.subscribe(session("a", a), "t", ExactlyOnce);
    let message = message("t", "x", ExactlyOnce);
    let packet_id = PacketId::new(9);
    let publisher = Some(PublisherForm { session: session("p", p), packet_id });
    assert_eq!(machine.publish_from(publisher, &message), DONE);
    assert_eq!(machine.publish_from(publisher, &message), DONE);
    assert_eq!(machine.payloads("a"), ["x"]);
    let (p, _) = machine.attach_with("p", false, None);
    assert_eq!(machine.store.view("p", p).unwrap().inbound_qos2, [packet_id.unwrap()]);
    let publisher = Some(PublisherForm { session: session("p", p), packet_id });
    assert_eq!(machine.publish_from(publisher, &message), DONE);
    assert_eq!(machine.payloads("a"), ["x"]);
    let packet_ids = vec![packet_id.unwrap()];
    machine.one(Operation::Release { session: session("p", p), packet_ids });
    assert_eq!(machine.publish_from(publisher, &message), DONE);
    assert_eq!(machine.payloads("a"), ["x", "x"], "another message of that identifier");
}

#[test]
fn a_received_qos_2_message_leaves_pubrel_to_be_sent_until_it_is_complete() {
    let mut machine = Machine::new();
    let a = machine.attach("a");
    machine.subscribe(session("a", a), "#", ExactlyOnce);
    machine.publish("t", "x", ExactlyOnce);
    machine.publish("t", "y", AtLeastOnce);
    machine.one(Operation::Receive { session: session("a", a), seqs: vec![1, 2] });
    assert_eq!(machine.waiting("a"), [(1, "-".to_owned()), (2, "y".to_owned())]);
    let bytes = machine.store.totals().bytes;
    assert_eq!(bytes, message("t", "y", AtLeastOnce).bytes() as u64);
    machine.restore();
    assert_eq!(machine.waiting("a"), [(1, "-".to_owned()), (2, "y".to_owned())]);
    machine.one(Operation::Acknowledge { session: session("a", a), seqs: vec![1] });
    assert_eq!(machine.payloads("a"), ["y"]);
}

#[test]
fn a_full_session_refuses_and_the_others_keep_the_message() {
    let mut machine = Machine::new();
    machine.limits.messages_max = 1;
    machine.limits.in_flight_max = 0;
    let (a, b) = (machine.attach("a"), machine.attach("b"));
    machine.subscribe(session("a", a), "t", AtLeastOnce);
    assert_eq!(machine.publish("t", "1", AtLeastOnce), DONE);
    assert_eq!(machine.publish("t", "2", AtLeastOnce), OperationOutcome::Full);
    machine.subscribe(session("b", b), "t", AtLeastOnce);
    assert_eq!(machine.publish("t", "3", AtLeastOnce), DONE);
    assert_eq!(
        (machine.payloads("a"), machine.payloads("b")),
        (vec!["1".into()], vec!["3".into()])
    );
    assert_eq!(machine.store.totals().full, 2);
    machine.limits.messages_max = 10;
    machine.limits.bytes_total_max = machine.store.totals().bytes;
    assert_eq!(machine.publish("t", "4", AtLeastOnce), OperationOutcome::Full);
    machine.limits.sessions_max = 2;
    let attach = |client_id, clean_start| Operation::Attach {
        client_id,
        username: None,
        worker: 0,
        clean_start,
        expiry_seconds: 1,
        will: None,
        subscriptions: Vec::new(),
    };
    assert_eq!(machine.one(attach("c", false)), OperationOutcome::Full);
    let again = machine.one(attach("a", true));
    assert!(matches!(again, OperationOutcome::Attached { session_present: false, .. }));
}

#[test]
fn sessions_end_when_they_expire_and_wills_leave_after_their_delay() {
    let mut machine = Machine::new();
    let watcher = machine.attach("watcher");
    machine.subscribe(session("watcher", watcher), "will", AtLeastOnce);
    let gone = message("will", "gone", AtLeastOnce);
    let will = |delay_seconds| WillForm {
        message: MessageForm::of(&gone),
        message_expiry_seconds: Some(60),
        delay_seconds,
    };
    let (a, _) = machine.attach_with("a", false, Some(will(10)));
    machine.one(detach(session("a", a), 0));
    assert_eq!(machine.store.next_due(), Some(machine.now.plus_seconds(10)));
    let expire = || Operation::Expire { sessions_max: 10 };
    assert_eq!(machine.run(&[expire()]).live.len(), 0);
    machine.now = machine.now.plus_seconds(10);
    let applied = machine.run(&[expire()]);
    assert_eq!(applied.live.len(), 1);
    assert_eq!((applied.live[0].node, applied.live[0].start), (NodeId(7), 1));
    assert_eq!(machine.payloads("watcher"), ["gone"]);
    // One that comes back in time takes its will with it.
    let (a, present) = machine.attach_with("a", false, Some(will(10)));
    assert!(present);
    machine.one(detach(session("a", a), 0));
    let (a, _) = machine.attach_with("a", false, None);
    machine.now = machine.now.plus_seconds(20);
    assert!(machine.run(&[expire()]).live.is_empty());
    machine.one(detach(session("a", a), 0));
    machine.now = machine.now.plus_seconds(3600);
    machine.one(expire());
    assert!(!machine.store.contains("a"));
    assert_eq!(machine.store.next_due(), None, "the watcher is connected");
    // A will without delay, and a client that says goodbye.
    let (b, _) = machine.attach_with("b", false, Some(will(0)));
    assert_eq!(machine.run(&[detach(session("b", b), 0)]).live.len(), 1);
    let (b, _) = machine.attach_with("b", false, Some(will(0)));
    let session = session("b", b);
    let goodbye =
        Operation::Detach { session, sent_to: 0, is_will_dropped: true, expiry_seconds: Some(0) };
    assert!(machine.run(&[goodbye]).live.is_empty());
    assert!(!machine.store.contains("b"), "it asked for no session");
}

#[test]
fn a_process_that_starts_anew_has_left_its_connections() {
    let mut machine = Machine::new();
    let gone = message("will", "gone", AtMostOnce);
    let will = WillForm {
        message: MessageForm::of(&gone),
        message_expiry_seconds: None,
        delay_seconds: 0,
    };
    machine.attach_with("a", false, Some(will));
    assert_eq!(machine.store.processes(), [(NodeId(7), 1)]);
    machine.start = 2;
    let applied = machine.run(&[]);
    assert_eq!(applied.live.len(), 1, "the will of a connection that broke");
    assert!(machine.store.processes().is_empty());
    assert_eq!(machine.store.next_due(), Some(machine.now.plus_seconds(3600)));
    machine.start = 1;
    let state = machine.encoded();
    assert_eq!(machine.one(Operation::Discard { client_id: "a" }), OperationOutcome::Stale);
    assert_eq!(machine.encoded(), state, "an earlier process is not listened to");
}

#[test]
fn a_group_gives_each_message_to_one_member_and_a_leaving_ones_to_others() {
    let mut machine = Machine::new();
    let (a, b, c) = (machine.attach("a"), machine.attach("b"), machine.attach("c"));
    for (client, attachment) in [("a", a), ("b", b), ("c", c)] {
        machine.subscribe(session(client, attachment), "$share/g/t", AtLeastOnce);
    }
    machine.one(detach(session("c", c), 0));
    for payload in ["1", "2", "3", "4"] {
        assert_eq!(machine.publish("t", payload, AtLeastOnce), DONE);
    }
    assert_eq!(machine.payloads("a"), ["1", "3"]);
    assert_eq!(machine.payloads("b"), ["2", "4"]);
    assert!(machine.payloads("c").is_empty(), "others are connected");
    // `a` goes: what it has not acknowledged goes to who is there, sent or not.
    machine.one(detach(session("a", a), 1));
    assert!(machine.payloads("a").is_empty());
    assert_eq!(machine.payloads("b"), ["2", "4", "1", "3"]);
    machine.one(Operation::Discard { client_id: "a" });
    machine.restore();
    machine.one(Operation::Unsubscribe { session: session("b", b), filters: vec!["$share/g/t"] });
    machine.publish("t", "5", AtLeastOnce);
    assert_eq!(machine.payloads("c"), ["5"], "the only member is away");
}

#[test]
fn qos_2_that_was_sent_stays_with_its_member_and_ends_with_it() {
    let mut machine = Machine::new();
    let (a, b) = (machine.attach("a"), machine.attach("b"));
    machine.subscribe(session("a", a), "$share/g/t", ExactlyOnce);
    for payload in ["1", "2", "3"] {
        machine.publish("t", payload, ExactlyOnce);
    }
    machine.subscribe(session("b", b), "$share/g/t", ExactlyOnce);
    machine.one(Operation::Receive { session: session("a", a), seqs: vec![1] });
    machine.one(detach(session("a", a), 2));
    assert_eq!(machine.payloads("a"), ["-", "2"], "received, and perhaps received");
    assert_eq!(machine.payloads("b"), ["3"]);
    let again = machine.attach("a");
    assert_eq!(machine.payloads("a"), ["-", "2"]);
    machine.publish("t", "4", ExactlyOnce);
    machine.publish("t", "5", ExactlyOnce);
    assert_eq!(machine.payloads("a"), ["-", "2", "4"]);
    // The session of a client that is connected ends: anything may have been sent.
    machine.one(detach(session("b", b), 9));
    let applied = machine.run(&[Operation::Discard { client_id: "a" }]);
    assert!(applied.live.is_empty(), "to nobody else");
    assert_eq!((machine.payloads("b").len(), again), (2, 3));
}

#[test]
fn what_nobody_takes_stays_with_the_member_that_leaves() {
    let mut machine = Machine::new();
    let (a, b) = (machine.attach("a"), machine.attach("b"));
    machine.limits.messages_max = 1;
    machine.limits.in_flight_max = 0;
    machine.subscribe(session("a", a), "$share/g/t", AtLeastOnce);
    machine.publish("t", "1", AtLeastOnce);
    machine.subscribe(session("b", b), "$share/g/t", AtLeastOnce);
    machine.publish("t", "2", AtLeastOnce);
    machine.one(detach(session("a", a), 0));
    assert_eq!(machine.payloads("a"), ["1"], "`b` has no room");
    assert_eq!(machine.payloads("b"), ["2"]);
}

#[test]
fn a_choice_is_made_by_what_the_operation_says() {
    let picks = |pick: Pick| {
        let mut machine = Machine::new();
        for client in ["a", "b", "c", "d"] {
            let attachment = machine.attach(client);
            machine.subscribe(session(client, attachment), "$share/g/t", AtLeastOnce);
        }
        machine.one(detach(session("b", 2), 0));
        let groups = vec![GroupForm { key: "$share/g/t", pick, has_live: false }];
        let message = message("t", "x", AtLeastOnce);
        for _ in 0..6 {
            machine.one(Operation::PublishShared {
                publisher: None,
                shards: 0,
                groups: groups.clone(),
                is_retained: false,
                message: MessageForm::of(&message),
            });
        }
        ["a", "b", "c", "d"].map(|client| machine.payloads(client).len())
    };
    assert_eq!(picks(Pick::Next), [2, 0, 2, 2]);
    assert_eq!(picks(Pick::At(1)), [0, 0, 6, 0]);
    assert_eq!(picks(Pick::At(5)), [0, 0, 0, 6]);
    assert_eq!(picks(Pick::Sticky), [6, 0, 0, 0]);
    assert_eq!(picks(Pick::Near(NodeId(7))), [2, 0, 2, 2]);
}

#[test]
fn a_message_identifier_is_the_same_at_each_delivery() {
    for seq in [1, 2, 65_535, 65_536, 131_071, 1 << 40] {
        let packet_id = packet_id_of(seq);
        assert_eq!(seq_of(packet_id, seq), Some(seq));
        assert_eq!(seq_of(packet_id, seq + 1000), Some(seq));
    }
    assert_eq!((packet_id_of(65_535).get(), packet_id_of(65_536).get()), (65_535, 1));
    assert_eq!(seq_of(packet_id_of(5), 4), None);
}

#[test]
fn bytes_that_are_no_operation_end_the_batch_and_change_nothing_else() {
    let mut machine = Machine::new();
    machine.attach("a");
    let mut batch = machine.batch(&[Operation::Discard { client_id: "a" }]);
    let mut bytes = batch.operations.to_vec();
    bytes.extend_from_slice(&[200, 1, 2]);
    batch.operations = bytes.into();
    assert_eq!(machine.apply(&batch).outcomes, [DONE, OperationOutcome::Malformed]);
    assert!(!machine.store.contains("a"));
}

#[test]
fn delayed_messages_survive_a_snapshot_and_go_to_sessions_in_their_order() {
    let mut machine = Machine::new();
    let a = machine.attach("a");
    machine.subscribe(session("a", a), "t", AtLeastOnce);
    for (seconds, payload) in [(9, "later"), (5, "first"), (5, "second")] {
        let message = message("t", payload, AtLeastOnce);
        let limits = DelayLimits { messages_max: 9, bytes_max: 999 };
        let outcome = machine.one(Operation::Delay(DelayForm {
            publisher: None,
            client_id: "p",
            username: None,
            seconds,
            limits,
            message: MessageForm::of(&message),
        }));
        assert_eq!(outcome, DONE);
    }
    machine.restore();
    assert_eq!(machine.store.totals().delayed_messages, 3);
    assert_eq!(machine.store.next_due(), Some(machine.now.plus_seconds(5)));
    machine.now = machine.now.plus_seconds(5);
    let applied = machine.run(&[Operation::Expire { sessions_max: 10 }]);
    assert_eq!(machine.payloads("a"), ["first", "second"]);
    assert_eq!(applied.live.len(), 2, "and to everybody else by way of the proposer's node");
    machine.restore();
    machine.now = machine.now.plus_seconds(4);
    machine.run(&[Operation::Expire { sessions_max: 10 }]);
    assert_eq!(machine.payloads("a"), ["first", "second", "later"]);
}

#[test]
fn time_is_the_proposers() {
    let mut machine = Machine::new();
    let a = machine.attach("a");
    machine.now = Millis(5_000_000);
    machine.one(detach(session("a", a), 0));
    assert_eq!(machine.store.next_due(), Some(Millis(5_000_000 + 3_600_000)));
}

#[test]
fn sessions_whose_clients_are_away_are_counted_with_their_subscriptions() {
    let mut machine = Machine::new();
    let away = |machine: &Machine| {
        let AwayTotals { sessions, subscriptions, shared_subscriptions } =
            machine.store.totals().away;
        (sessions, subscriptions, shared_subscriptions)
    };
    let (a, b) = (machine.attach("a"), machine.attach("b"));
    for filter in ["t", "u", "$share/g/t"] {
        machine.subscribe(session("a", a), filter, AtLeastOnce);
    }
    assert_eq!(away(&machine), (0, 0, 0));
    machine.one(detach(session("a", a), 0));
    assert_eq!(away(&machine), (1, 3, 1));
    machine.one(detach(session("b", b), 0));
    machine.restore();
    assert_eq!(away(&machine), (2, 3, 1));
    let a = machine.attach("a");
    assert_eq!(away(&machine), (1, 0, 0));
    // Taken over, by a clean start, and parted again.
    let a = { machine.attach_with("a", true, None).0.max(a) };
    assert_eq!(away(&machine), (1, 0, 0));
    machine.subscribe(session("a", a), "t", AtLeastOnce);
    machine.one(detach(session("a", a), 0));
    assert_eq!(away(&machine), (2, 1, 0));
    assert_eq!(machine.store.totals().expired, 0);
    machine.now = machine.now.plus_seconds(3600);
    machine.one(Operation::Expire { sessions_max: 10 });
    assert_eq!((away(&machine), machine.store.totals().expired), ((0, 0, 0), 2));
    machine.attach("c");
    machine.one(Operation::NodeGone { node: NodeId(7), start: 1 });
    assert_eq!(away(&machine), (1, 0, 0));
    machine.store.end_sessions_of(|_, _| true);
    assert_eq!(away(&machine), (0, 0, 0));
}

/// [MQTT-3.1.3-9], and section 3.1.2.5 for a session that ends.
#[test]
fn a_take_over_sends_the_will_without_delay_or_of_a_session_that_ends_and_no_other() {
    let gone = message("will", "gone", AtLeastOnce);
    for (delay_seconds, clean_start, wills) in [(0, false, 1), (10, false, 0), (10, true, 1)] {
        let mut machine = Machine::new();
        let watcher = machine.attach("watcher");
        machine.subscribe(session("watcher", watcher), "will", AtLeastOnce);
        let will = WillForm {
            message: MessageForm::of(&gone),
            message_expiry_seconds: None,
            delay_seconds,
        };
        machine.attach_with("a", false, Some(will));
        machine.attach_with("a", clean_start, None);
        machine.now = machine.now.plus_seconds(20);
        machine.one(Operation::Expire { sessions_max: 10 });
        assert_eq!(machine.payloads("watcher").len(), wills, "{delay_seconds} {clean_start}");
    }
}

#[test]
fn a_session_whose_time_is_over_is_not_gone_on_with_though_nobody_has_looked() {
    let mut machine = Machine::new();
    let a = machine.attach("a");
    machine.one(detach(session("a", a), 0));
    machine.now = machine.now.plus_seconds(3599);
    let (a, is_present) = machine.attach_with("a", false, None);
    assert!(is_present);
    machine.subscribe(session("a", a), "t", AtLeastOnce);
    machine.one(detach(session("a", a), 0));
    machine.publish("t", "x", AtLeastOnce);
    machine.now = machine.now.plus_seconds(3600);
    assert!(!machine.attach_with("a", false, None).1);
    assert_eq!(machine.payloads("a"), [""; 0]);
}

/// [MQTT-4.8.2-4] [MQTT-4.8.2-5]
#[test]
fn what_a_member_that_ends_was_sent_with_qos_2_goes_to_nobody_else() {
    for (qos, was_sent, goes_on) in
        [(ExactlyOnce, true, false), (ExactlyOnce, false, true), (AtLeastOnce, true, true)]
    {
        let mut machine = Machine::new();
        let members = ["a", "b"].map(|id| (id, machine.attach(id)));
        for (id, attachment) in members {
            machine.subscribe(session(id, attachment), "$share/g/t", qos);
        }
        machine.publish("t", "x", qos);
        let has_it = |machine: &Machine, id| !machine.waiting(id).is_empty();
        let (holders, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|(id, _)| has_it(&machine, id));
        let ([(holder, attachment)], [(other, _)]) = (&holders[..], &others[..]) else { panic!() };
        machine.one(Operation::Detach {
            session: session(holder, *attachment),
            sent_to: if was_sent { machine.waiting(holder)[0].0 } else { 0 },
            is_will_dropped: false,
            expiry_seconds: Some(0),
        });
        assert!(!machine.store.contains(holder));
        assert_eq!(has_it(&machine, other), goes_on, "{qos:?} {was_sent}");
    }
}

#[test]
fn a_client_identifier_of_another_user_is_another_session() {
    let mut machine = Machine::new();
    let mut attach = |username| {
        machine.one(Operation::Attach {
            client_id: "a",
            username,
            worker: 3,
            clean_start: false,
            expiry_seconds: 3600,
            will: None,
            subscriptions: Vec::new(),
        })
    };
    for (username, is_present) in
        [(Some("pump"), false), (Some("pump"), true), (Some("gate"), false), (None, false)]
    {
        let OperationOutcome::Attached { session_present, .. } = attach(username) else { panic!() };
        assert_eq!(session_present, is_present, "{username:?}");
    }
}
