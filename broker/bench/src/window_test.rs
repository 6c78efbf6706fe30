//! A publisher's window.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use crate::window::{DUE_MAX, Window};

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn send(window: &mut Window, count: u64) {
    for _ in 0..count {
        window.send(0);
    }
}

#[test]
fn a_message_is_done_when_all_its_receivers_have_it() {
    let mut window = Window::new(2, 3, false);
    send(&mut window, 2);
    assert_eq!(window.room(), 0);
    window.received(0);
    window.received(1);
    window.received(0);
    assert_eq!(window.room(), 0);
    window.received(0);
    assert_eq!((window.room(), window.in_flight()), (1, 1));
    window.received(1);
    window.received(1);
    assert_eq!((window.room(), window.lost()), (2, 0));
}

#[test]
fn sequence_numbers_go_on_when_the_window_is_used_again() {
    let mut window = Window::new(3, 1, false);
    for sequence in 0..10 {
        assert_eq!(window.send(7), (sequence, 7));
        window.received(sequence);
    }
    assert_eq!((window.done(), window.room()), (10, 3));
}

#[test]
fn what_a_later_message_overtook_is_lost_and_the_window_goes_on() {
    let mut window = Window::new(4, 2, false);
    send(&mut window, 3);
    for sequence in 0..3 {
        window.received(sequence);
    }
    window.missed(0, 2);
    window.received(2);
    assert_eq!((window.room(), window.lost(), window.done()), (4, 2, 3));
}

#[test]
fn what_is_given_up_is_lost_once_and_may_still_arrive() {
    let mut window = Window::new(4, 2, false);
    send(&mut window, 2);
    window.received(0);
    window.give_up();
    assert_eq!((window.room(), window.lost()), (4, 3));
    send(&mut window, 1);
    window.received(0);
    window.missed(0, 2);
    assert_eq!((window.room(), window.lost()), (3, 3));
}

#[test]
fn a_number_that_was_never_sent_changes_nothing() {
    let mut window = Window::new(4, 1, false);
    send(&mut window, 1);
    window.received(4);
    window.received(9);
    window.missed(1, u64::MAX);
    assert_eq!((window.room(), window.lost()), (3, 0));
}

#[test]
fn the_publisher_is_woken_when_there_is_room_and_only_then() {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut window = Window::new(1, 2, false);
    send(&mut window, 1);
    window.park(&waker);
    window.received(0);
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
    window.received(0);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_publisher_waits_until_half_its_window_is_free() {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let mut window = Window::new(10, 1, false);
    send(&mut window, 10);
    window.park(&Waker::from(Arc::clone(&count)));
    for sequence in 0..4 {
        window.received(sequence);
    }
    assert_eq!((window.room(), count.0.load(Ordering::Relaxed)), (0, 0));
    window.received(4);
    assert_eq!((window.room(), count.0.load(Ordering::Relaxed)), (5, 1));
}

#[test]
fn at_a_rate_only_what_is_due_is_sent_and_waiting_counts_as_latency() {
    let mut window = Window::new(1, 1, true);
    assert_eq!(window.room(), 0);
    window.grant(5);
    window.grant(6);
    assert_eq!(window.room(), 1);
    assert_eq!(window.send(5), (0, 5));
    window.received(0);
    assert_eq!(window.send(100), (1, 6));
}

#[test]
fn a_broker_that_does_not_keep_up_makes_messages_be_skipped_not_pile_up() {
    let mut window = Window::new(1, 1, true);
    for _ in 0..DUE_MAX + 3 {
        window.grant(1);
    }
    assert_eq!(window.skipped(), 3);
}
