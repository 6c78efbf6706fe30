//! Places for connections that nothing is known of: the newest keep theirs.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use tokio::sync::oneshot;

use crate::sync::lock;

/// At most so many connections; where one more comes, the oldest has to go. So whoever opens many
/// and leaves them can't keep others out.
pub(super) struct Places {
    max: usize,
    /// Oldest first. Dropping a sender takes the place away.
    taken: Mutex<VecDeque<oneshot::Sender<Infallible>>>,
}

impl Places {
    /// Room for `max` connections, at least one.
    pub(super) const fn new(max: usize) -> Self {
        Self { max, taken: Mutex::new(VecDeque::new()) }
    }

    /// A place, if need be the one of the oldest connection.
    pub(super) fn take(&self) -> Place {
        let (sender, receiver) = oneshot::channel();
        let mut taken = lock(&self.taken);
        if taken.len() >= self.max {
            taken.retain(|sender| !sender.is_closed());
        }
        while taken.len() >= self.max && taken.pop_front().is_some() {}
        taken.push_back(sender);
        Place(receiver)
    }
}

/// A connection's place, until it is dropped.
pub(super) struct Place(oneshot::Receiver<Infallible>);

impl Place {
    /// Waits until a newer connection has the place.
    pub(super) async fn lost(&mut self) {
        let _ = (&mut self.0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the place is taken away by now.
    fn is_lost(place: &mut Place) -> bool {
        !matches!(place.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn the_oldest_goes_when_all_places_are_taken_and_nobody_before() {
        let places = Places::new(2);
        let (mut a, b, mut c);
        a = places.take();
        b = places.take();
        assert!(!is_lost(&mut a));
        drop(b);
        c = places.take();
        assert!(!is_lost(&mut a) && !is_lost(&mut c));
        let mut d = places.take();
        assert!(is_lost(&mut a) && !is_lost(&mut c) && !is_lost(&mut d));
    }
}
