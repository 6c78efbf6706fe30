//! Three brokers as processes, and groups whose members are spread over them.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use serde_json::Value;
use support::broker::Broker;
use support::client::{Client, PUBLISH};
use support::eventually;

const FILTER: &str = "$share/workers/jobs/+";

/// The numbers of the messages that a client has been sent.
fn numbers(client: &mut Client) -> Vec<u32> {
    client.send(&[0xC0, 0]);
    let mut numbers = Vec::new();
    loop {
        let packet = client.receive().expect("the broker has closed the connection");
        if packet.kind() != PUBLISH {
            return numbers;
        }
        let text = String::from_utf8(packet.body).unwrap();
        numbers.push(text.rsplit('\0').next().unwrap().parse().unwrap());
    }
}

/// Publishes that many messages, in turn on each broker.
fn publish(publishers: &mut [Client], messages: std::ops::Range<u32>) {
    for number in messages {
        let publisher = number as usize % publishers.len();
        publishers[publisher].publish("jobs/x", number.to_string().as_bytes());
    }
    for publisher in publishers {
        publisher.ping();
    }
}

/// Hears all members until they have been sent that many messages together; what each was sent.
fn hear(members: &mut [Client], count: usize) -> Vec<Vec<u32>> {
    let mut heard = vec![Vec::new(); members.len()];
    eventually("every message has arrived", || {
        for (member, heard) in members.iter_mut().zip(&mut heard) {
            heard.extend(numbers(member));
        }
        (heard.iter().map(Vec::len).sum::<usize>() >= count).then_some(())
    });
    heard
}

fn assert_once_each(heard: &[Vec<u32>], messages: std::ops::Range<u32>) {
    let mut all: Vec<u32> = heard.iter().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, messages.collect::<Vec<_>>());
}

#[test]
fn each_message_goes_to_one_member_on_whatever_broker_it_is_and_the_work_is_spread() {
    let brokers = Broker::cluster(3);
    let mut members = Vec::new();
    for number in 0..6 {
        let mut member = brokers[number % 3].plain(&format!("member-{number}"));
        member.subscribe(FILTER, 0);
        members.push(member);
    }
    let mut publishers: Vec<Client> =
        (0..).zip(&brokers).map(|(n, broker)| broker.plain(&format!("publisher-{n}"))).collect();
    // At once: everyone knows of every member whose SUBACK has left.
    publish(&mut publishers, 0..180);
    let heard = hear(&mut members, 180);
    assert_once_each(&heard, 0..180);
    for (member, heard) in heard.iter().enumerate() {
        assert_eq!(heard.len(), 30, "member {member}: {heard:?}");
    }
}

#[test]
fn the_others_of_a_group_go_on_when_members_leave_and_when_a_broker_is_lost() {
    let mut brokers = Broker::cluster(3);
    let mut members = Vec::new();
    for (number, broker) in brokers.iter().enumerate() {
        let mut member = broker.plain(&format!("member-{number}"));
        member.subscribe(FILTER, 0);
        members.push(member);
    }
    let mut publishers: Vec<Client> =
        (0..).zip(&brokers[..2]).map(|(n, b)| b.plain(&format!("publisher-{n}"))).collect();
    let left = members.remove(1);
    drop(left);
    eventually("its broker knows that the member has left", || {
        (brokers[1].status().sessions == 1).then_some(())
    });
    publish(&mut publishers, 0..60);
    let heard = hear(&mut members, 60);
    assert_once_each(&heard, 0..60);
    assert!(heard.iter().all(|heard| !heard.is_empty()), "{heard:?}");

    brokers[2].process.signal("KILL");
    brokers[2].process.wait();
    brokers.truncate(2);
    drop(members.pop());
    for broker in &brokers {
        eventually("the link is seen to break", || {
            let is_it = |line: &Value| line["message"] == "link down" && line["name"] == "fleet-2";
            broker.process.lines().iter().any(is_it).then_some(())
        });
    }
    // Nobody waits until the lost broker's interest is given up.
    publish(&mut publishers, 60..120);
    let heard = hear(&mut members, 60);
    assert_once_each(&heard, 60..120);
}
