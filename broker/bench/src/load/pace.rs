//! How many messages are due by now at a given rate, dealt to the publishers in turn. Pure.

use super::receiver::Windows;

/// The pace of one thread's publishers.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    granted: u64,
    turn: usize,
}

impl Pace {
    /// So many messages a second by all publishers of the thread together.
    #[must_use]
    pub(super) fn new(per_second: f64) -> Self {
        Self { per_second, granted: 0, turn: 0 }
    }

    /// Grants what has become due `now`, in nanoseconds from when publishing began; `at` is the same moment from the run's
    /// start.
    pub(super) fn grant(&mut self, now: u64, at: u64, groups: &[Windows]) {
        let due = (self.per_second * now as f64 / 1e9) as u64;
        let publishers: usize = groups.iter().map(|group| group.len()).sum();
        for _ in self.granted..due {
            let window = groups.iter().flat_map(|group| group.iter()).nth(self.turn);
            if let Some(window) = window {
                window.borrow_mut().grant(at);
            }
            self.turn = (self.turn + 1) % publishers.max(1);
        }
        self.granted = self.granted.max(due);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::window::Window;

    #[test]
    fn what_is_due_is_dealt_in_turn_and_only_once() {
        let group = || Windows::from([RefCell::new(Window::new(100, 1, true))]);
        let groups = [group(), group()];
        let room = |n: usize| groups[n][0].borrow().room();
        let mut pace = Pace::new(1000.0);
        pace.grant(5_000_000, 5_000_000, &groups);
        assert_eq!((room(0), room(1)), (3, 2));
        pace.grant(5_000_000, 5_000_000, &groups);
        assert_eq!((room(0), room(1)), (3, 2));
        pace.grant(10_000_000, 10_000_000, &groups);
        assert_eq!((room(0), room(1)), (5, 5));
    }
}
