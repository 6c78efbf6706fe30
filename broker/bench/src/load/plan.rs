//! Who publishes to whom. Pure.

use std::ops::Range;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

/// The shape of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// Each publisher has a topic and a subscriber of its own.
    Pairs,
    /// The publishers share out evenly among the subscribers: many to one.
    FanIn,
    /// The subscribers share out evenly among the publishers: one to many.
    FanOut,
}

/// Messages on their way to one subscriber at most, unless a window is asked for: below the queue limits of brokers.
const TO_SUBSCRIBER_MAX: usize = 500;
/// The same in bytes: below Dunlin's limit of what waits for one socket, above which QoS 0 is dropped.
const TO_SUBSCRIBER_BYTES_MAX: usize = 512 << 10;
/// Messages of one publisher on their way at most, unless a window is asked for.
const WINDOW: usize = 100;

/// Groups of connections; a group has one topic, and every message of its publishers goes to all its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Number of groups, at least 1.
    pub groups: usize,
    /// Publishers of each group, at least 1.
    pub publishers: usize,
    /// Subscribers of each group, at least 1.
    pub subscribers: usize,
}

impl Plan {
    /// Deals connections out to groups.
    ///
    /// # Errors
    /// The numbers don't divide.
    pub fn new(topology: Topology, publishers: usize, subscribers: usize) -> Result<Self> {
        ensure!(publishers > 0 && subscribers > 0, "--publishers and --subscribers start at 1");
        let (groups, many) = match topology {
            Topology::Pairs => {
                ensure!(
                    publishers == subscribers,
                    "pairs need as many --publishers as --subscribers ({publishers}, {subscribers})"
                );
                (publishers, publishers)
            }
            Topology::FanIn => (subscribers, publishers),
            Topology::FanOut => (publishers, subscribers),
        };
        ensure!(
            many % groups == 0,
            "{many} can't be shared out evenly among {groups}: choose a multiple of {groups}"
        );
        Ok(Self { groups, publishers: publishers / groups, subscribers: subscribers / groups })
    }

    /// All connections.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.groups * (self.publishers + self.subscribers)
    }

    /// The window of one publisher that keeps every queue of the broker short.
    #[must_use]
    pub fn window(&self, packet_bytes: usize) -> u32 {
        let messages = TO_SUBSCRIBER_MAX.min(TO_SUBSCRIBER_BYTES_MAX / packet_bytes.max(1));
        (messages / self.publishers).clamp(1, WINDOW) as u32
    }

    /// The groups of each thread; a group is never cut.
    #[must_use]
    pub fn threads(&self, threads: usize) -> Vec<Range<usize>> {
        let threads = threads.clamp(1, self.groups);
        let bound = |n: usize| self.groups * n / threads;
        (0..threads).map(|n| bound(n)..bound(n + 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topologies_deal_connections_out_to_groups() {
        let plan = |topology, publishers, subscribers| {
            let plan = Plan::new(topology, publishers, subscribers).unwrap();
            (plan.groups, plan.publishers, plan.subscribers)
        };
        assert_eq!(plan(Topology::Pairs, 10, 10), (10, 1, 1));
        assert_eq!(plan(Topology::FanIn, 20, 1), (1, 20, 1));
        assert_eq!(plan(Topology::FanIn, 40, 2), (2, 20, 1));
        assert_eq!(plan(Topology::FanOut, 1, 50), (1, 1, 50));
    }

    #[test]
    fn numbers_that_do_not_divide_are_refused_with_what_to_change() {
        let refused = |topology, publishers, subscribers| {
            Plan::new(topology, publishers, subscribers).unwrap_err().to_string()
        };
        assert!(refused(Topology::Pairs, 10, 9).contains("as many --publishers"));
        assert!(refused(Topology::FanIn, 20, 3).contains("multiple of 3"));
        assert!(refused(Topology::FanOut, 0, 5).contains("start at 1"));
    }

    #[test]
    fn the_window_keeps_what_waits_for_one_subscriber_below_the_brokers_limits() {
        let pairs = Plan { groups: 10, publishers: 1, subscribers: 1 };
        let fan_in = Plan { groups: 1, publishers: 20, subscribers: 1 };
        assert_eq!(pairs.window(80), 100);
        assert_eq!(fan_in.window(80), 25);
        assert_eq!(fan_in.window(8 << 10), 3);
        assert_eq!(fan_in.window(16 << 20), 1);
    }

    #[test]
    fn every_group_has_exactly_one_thread() {
        let plan = Plan { groups: 5, publishers: 1, subscribers: 1 };
        assert_eq!(plan.threads(2), [0..2, 2..5]);
        assert_eq!(plan.threads(9).len(), 5);
        let one = plan.threads(1);
        assert_eq!((one.len(), one[0].clone()), (1, 0..5));
    }
}
