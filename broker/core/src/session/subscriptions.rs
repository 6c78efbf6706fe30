//! A session's Subscriptions, in a list, found by filter. Pure.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use super::{Subscription, SubscriptionState};

/// Up to so many are looked through one by one, which is as fast and takes no memory.
const LOOKED_THROUGH_MAX: usize = 32;

/// What has a Topic Filter.
pub(crate) trait Filtered {
    fn filter(&self) -> &Arc<str>;
}

impl Filtered for Subscription {
    fn filter(&self) -> &Arc<str> {
        &self.filter
    }
}

impl Filtered for SubscriptionState {
    fn filter(&self) -> &Arc<str> {
        &self.filter
    }
}

/// Subscriptions with different filters.
#[derive(Debug, Clone)]
pub(crate) struct Subscriptions<T> {
    list: Vec<T>,
    /// The place of each filter, where there are many.
    #[expect(clippy::box_collection, reason = "most sessions have none, and pay for a pointer")]
    places: Option<Box<HashMap<Arc<str>, usize>>>,
}

impl<T> Default for Subscriptions<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: None }
    }
}

impl<T> Deref for Subscriptions<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.list
    }
}

impl<T: PartialEq> PartialEq for Subscriptions<T> {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl<T: Filtered> Subscriptions<T> {
    /// Where the Subscription with this filter is.
    pub(crate) fn position(&self, filter: &str) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(filter).copied(),
            None => self.list.iter().position(|subscription| **subscription.filter() == *filter),
        }
    }

    /// Adds one whose filter is new.
    pub(crate) fn push(&mut self, subscription: T) {
        if let Some(places) = &mut self.places {
            places.insert(Arc::clone(subscription.filter()), self.list.len());
        }
        self.list.push(subscription);
        if self.places.is_none() && self.list.len() > LOOKED_THROUGH_MAX {
            let filters = self.list.iter().map(|subscription| Arc::clone(subscription.filter()));
            self.places = Some(Box::new(filters.zip(0..).collect()));
        }
    }

    /// Puts one in the place of another with the same filter, which is given back.
    pub(crate) fn replace(&mut self, at: usize, subscription: T) -> T {
        std::mem::replace(&mut self.list[at], subscription)
    }

    /// Takes one out; the last one gets its place.
    pub(crate) fn swap_remove(&mut self, at: usize) -> T {
        let removed = self.list.swap_remove(at);
        if let Some(places) = &mut self.places {
            places.remove(removed.filter());
            if let Some(moved) = self.list.get(at) {
                places.insert(Arc::clone(moved.filter()), at);
            }
        }
        removed
    }
}

impl<T: Filtered> From<Vec<T>> for Subscriptions<T> {
    fn from(list: Vec<T>) -> Self {
        let mut subscriptions = Self::default();
        list.into_iter().for_each(|subscription| subscriptions.push(subscription));
        subscriptions
    }
}

impl<T> IntoIterator for Subscriptions<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::packet::SubscriptionOptions;

    fn subscription(number: usize) -> SubscriptionState {
        let filter = format!("filter/{number}").into();
        SubscriptionState { filter, options: SubscriptionOptions::default(), id: None }
    }

    #[test]
    fn each_is_found_by_its_filter_however_many_come_and_go() {
        let mut subscriptions = Subscriptions::default();
        for number in 0..100 {
            subscriptions.push(subscription(number));
        }
        for number in (0..100).step_by(3) {
            let at = subscriptions.position(&format!("filter/{number}")).unwrap();
            assert_eq!(subscriptions.swap_remove(at), subscription(number));
        }
        subscriptions.push(subscription(3));
        for number in 0..100 {
            let at = subscriptions.position(&format!("filter/{number}"));
            let found = at.map(|at| subscriptions[at].clone());
            let is_there = number == 3 || number % 3 != 0;
            assert_eq!(found, is_there.then(|| subscription(number)));
        }
    }
}
