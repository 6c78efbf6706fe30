//! A publisher and a subscriber that answer each other through a broker that only copies.

use std::cell::RefCell;

use crate::load::{Receiver, Sender, Windows};
use crate::stamp::Stamp;
use crate::tally::Tally;
use crate::window::Window;
use crate::wire::{
    DISCONNECT, Frame, PUBACK, PUBCOMP, PUBREC, PUBREL, PublishTemplate, Version, acknowledge,
    next_frame,
};

const TOPIC: &str = "bench/load/0";

fn frames(bytes: &[u8]) -> Vec<Frame<'_>> {
    let (mut found, mut unread) = (Vec::new(), bytes);
    while let Some((frame, length)) = next_frame(unread).unwrap() {
        found.push(frame);
        unread = &unread[length..];
    }
    assert!(unread.is_empty());
    found
}

fn sender(qos: u8, receive_maximum: u16) -> Sender {
    Sender::new(PublishTemplate::new(Version::V5, TOPIC, qos, 64), qos, 0, receive_maximum)
}

fn windows(size: u32, receivers: u32) -> Windows {
    Windows::from([RefCell::new(Window::new(size, receivers, false))])
}

/// What a broker answers a publisher or subscriber, packet by packet.
fn answer(qos: u8, to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames(to) {
        let id = || frame.acknowledgement().unwrap().0;
        match frame.first {
            PUBREC => acknowledge(PUBREL, id(), &mut out),
            PUBREL => acknowledge(PUBCOMP, id(), &mut out),
            PUBACK | PUBCOMP => {}
            _ if qos == 0 => {}
            _ => {
                let id = frame.delivery(Version::V5).unwrap().packet_id;
                acknowledge(if qos == 1 { PUBACK } else { PUBREC }, id, &mut out);
            }
        }
    }
    out
}

#[test]
fn every_qos_goes_through_its_whole_handshake_and_frees_the_window() {
    for qos in 0..=2 {
        let (mut sender, windows) = (sender(qos, 100), windows(4, 1));
        let mut receiver = Receiver::new(Version::V5, windows.clone());
        let mut tally = Tally::new().unwrap();
        for round in 0..3 {
            let mut published = Vec::new();
            assert_eq!(sender.fill(&mut windows[0].borrow_mut(), 1_000, &mut published), 4);
            assert_eq!(windows[0].borrow().room(), 0, "QoS {qos}, round {round}");
            let (mut to_publisher, mut to_subscriber) = (answer(qos, &published), published);
            let mut delivered = 0;
            while !to_publisher.is_empty() || !to_subscriber.is_empty() {
                let mut out = Vec::new();
                for frame in frames(&to_publisher) {
                    sender.handle(frame, &mut out).unwrap();
                }
                to_publisher = answer(qos, &out);
                out.clear();
                for frame in frames(&to_subscriber) {
                    delivered += receiver.handle(frame, Some(5_000), &mut tally, &mut out).unwrap();
                }
                to_subscriber = answer(qos, &out);
            }
            assert_eq!((delivered, sender.unacknowledged()), (4, 0), "QoS {qos}");
            assert_eq!(windows[0].borrow().room(), 4, "QoS {qos}");
        }
        assert!((tally.latency().p50 - 4.0).abs() < 0.1, "{:?}", tally.latency());
        assert_eq!(tally.duplicates + tally.foreign + windows[0].borrow().lost(), 0);
    }
}

#[test]
fn a_publisher_keeps_to_the_brokers_receive_maximum() {
    let mut out = Vec::new();
    let mut window = Window::new(100, 1, false);
    assert_eq!(sender(1, 20).fill(&mut window, 0, &mut out), 20);
    let mut window = Window::new(100, 1, false);
    assert_eq!(sender(0, 20).fill(&mut window, 0, &mut out), 100);
}

#[test]
fn a_refused_message_and_a_disconnect_are_errors_that_name_the_reason() {
    let mut sender = sender(1, 20);
    let (mut out, mut window) = (Vec::new(), Window::new(1, 1, false));
    sender.fill(&mut window, 0, &mut out);
    let refused = Frame { first: PUBACK, body: &[0, 1, 0x87] };
    let error = sender.handle(refused, &mut out).unwrap_err();
    assert!(error.to_string().contains("0x87"), "{error}");
    let mut receiver = Receiver::new(Version::V5, windows(1, 1));
    let closed = Frame { first: DISCONNECT, body: &[0x8E] };
    let mut tally = Tally::new().unwrap();
    let error = receiver.handle(closed, None, &mut tally, &mut out).unwrap_err();
    assert!(error.to_string().contains("0x8e"), "{error}");
}

#[test]
fn losses_duplicates_and_messages_of_others_are_told_apart() {
    let windows = windows(10, 1);
    let mut receiver = Receiver::new(Version::V5, windows.clone());
    let (mut tally, mut out) = (Tally::new().unwrap(), Vec::new());
    for _ in 0..5 {
        windows[0].borrow_mut().send(0);
    }
    let mut deliver = |sequence, publisher| {
        let template = PublishTemplate::new(Version::V5, TOPIC, 0, 64);
        let mut bytes = Vec::new();
        template.append(0, Stamp { sent_nanos: 0, sequence, publisher }, &mut bytes);
        receiver.handle(frames(&bytes)[0], None, &mut tally, &mut out).unwrap()
    };
    assert_eq!(deliver(0, 0), 1);
    assert_eq!(deliver(0, 0), 0);
    assert_eq!(deliver(3, 0), 1);
    assert_eq!(deliver(4, 1), 0);
    let short = Frame { first: 0x30, body: &[0, 1, b'a', 0, 1, 2] };
    assert_eq!(receiver.handle(short, None, &mut tally, &mut out).unwrap(), 0);
    assert_eq!((tally.duplicates, tally.foreign, windows[0].borrow().lost()), (1, 2, 2));
    assert_eq!(windows[0].borrow().in_flight(), 1);
}
