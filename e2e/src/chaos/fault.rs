//! Which faults come, drawn by a seed. Pure.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use super::random::Random;

/// Brokers of the cluster.
pub(super) const BROKERS: usize = 3;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Kind {
    /// `kill -9`, and a start later.
    Kill,
    /// All brokers at once.
    KillAll,
    /// SIGSTOP, for longer than an election takes, and SIGCONT.
    Stop,
    /// SIGTERM, and a start later.
    Terminate,
    /// No link to the other brokers; clients still reach it.
    Isolate,
    /// Neither brokers nor clients reach it.
    CutOff,
    /// Two brokers don't reach each other.
    Sever,
    /// What one broker sends to another is lost, not what comes back.
    OneWay,
    /// The broker's disk is full.
    DiskFull,
}

impl Kind {
    /// Whether it needs a network of its own.
    pub(super) const fn needs_network(self) -> bool {
        matches!(self, Self::Isolate | Self::CutOff | Self::Sever | Self::OneWay)
    }

    /// Whether the broker that it hits reaches none of the others.
    pub(super) const fn parts(self) -> bool {
        matches!(self, Self::Isolate | Self::CutOff)
    }

    /// Whether the leader may be chosen for it, whichever broker that is.
    const fn may_choose_leader(self) -> bool {
        !matches!(self, Self::KillAll | Self::DiskFull)
    }
}

/// One fault, before it is known which broker leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The broker that it hits, unless `hits_leader` and one leads.
    pub(super) node: usize,
    pub(super) hits_leader: bool,
    /// How far the other broker of a pair is from the first: 1 or 2.
    pub(super) other: usize,
}

/// Faults that are there at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) faults: Vec<Fault>,
    /// How long they last.
    pub(super) hold: Duration,
    /// Whether the brokers are given the time to be ready again before the next round.
    pub(super) settles: bool,
    /// Time without a fault after that.
    pub(super) pause: Duration,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, other) = (self.node, self.pair());
        match self.kind {
            Kind::Kill => write!(f, "kill -9 of broker {node}"),
            Kind::KillAll => write!(f, "kill -9 of all brokers"),
            Kind::Stop => write!(f, "SIGSTOP of broker {node}"),
            Kind::Terminate => write!(f, "SIGTERM of broker {node}"),
            Kind::Isolate => write!(f, "broker {node} without links to the others"),
            Kind::CutOff => write!(f, "broker {node} cut off from brokers and clients"),
            Kind::Sever => write!(f, "no link between broker {node} and broker {other}"),
            Kind::OneWay => write!(f, "nothing of broker {node} reaches broker {other}"),
            Kind::DiskFull => write!(f, "the disk of broker {node} is full"),
        }
    }
}

impl Fault {
    /// The other broker of a pair.
    pub(super) const fn pair(&self) -> usize {
        (self.node + self.other) % BROKERS
    }

    /// The brokers that are not well under it.
    pub(super) fn nodes(&self) -> Vec<usize> {
        match self.kind {
            Kind::KillAll => (0..BROKERS).collect(),
            Kind::Sever | Kind::OneWay => vec![self.node, self.pair()],
            _ => vec![self.node],
        }
    }
}

/// The rounds of a seed, with `count` faults in all, of the kinds that are allowed.
pub(super) fn plan(seed: u64, count: usize, kinds: &[Kind]) -> Vec<Round> {
    let mut random = Random::new(seed, 1);
    let (mut rounds, mut planned) = (Vec::new(), 0);
    while planned < count && !kinds.is_empty() {
        let first = draw(&mut random, kinds);
        let mut faults = vec![first];
        // Where all brokers are dead nothing else can go wrong.
        if planned + 1 < count && random.once_in(4) && first.kind != Kind::KillAll {
            let second = second(&mut random, kinds, first);
            faults.extend(Some(second).filter(|second| second.kind != Kind::KillAll));
        }
        planned += faults.len();
        rounds.push(Round {
            hold: hold(&mut random, &faults),
            faults,
            settles: random.once_in(2),
            pause: random.millis(300..2_500),
        });
    }
    rounds
}

/// From shorter than an election to much longer; for a minority also for longer than it may serve clients.
fn hold(random: &mut Random, faults: &[Fault]) -> Duration {
    if faults.iter().any(|fault| fault.kind.parts()) && random.once_in(2) {
        return random.millis(12_000..14_000);
    }
    match random.below(4) {
        0 => random.millis(200..1_000),
        1 | 2 => random.millis(1_500..4_000),
        _ => random.millis(4_000..8_000),
    }
}

fn draw(random: &mut Random, kinds: &[Kind]) -> Fault {
    // All at once is rarer: it leaves nothing to fail over to.
    let mut kind = kinds[random.below(kinds.len())];
    if kind == Kind::KillAll && !random.once_in(2) {
        kind = kinds[random.below(kinds.len())];
    }
    let hits_leader = random.once_in(3) && kind.may_choose_leader();
    Fault { kind, node: random.below(BROKERS), hits_leader, other: 1 + random.below(BROKERS - 1) }
}

/// Another fault beside the first, on another broker.
fn second(random: &mut Random, kinds: &[Kind], first: Fault) -> Fault {
    let mut fault = draw(random, kinds);
    fault.node = (first.node + 1 + random.below(BROKERS - 1)) % BROKERS;
    fault.hits_leader = false;
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_as_many_as_were_asked_for_and_every_kind() {
        let kinds = Kind::value_variants();
        let rounds = plan(7, 300, kinds);
        assert_eq!(rounds, plan(7, 300, kinds));
        assert_ne!(rounds, plan(8, 300, kinds));
        let faults: Vec<Fault> = rounds.iter().flat_map(|round| round.faults.clone()).collect();
        assert_eq!(faults.len(), 300);
        for kind in kinds {
            assert!(faults.iter().any(|fault| fault.kind == *kind), "{kind:?}");
        }
        assert!(faults.iter().any(|fault| fault.hits_leader));
    }

    #[test]
    fn what_ci_runs_has_minorities_that_must_be_fenced_and_is_over_soon() {
        let rounds = plan(1, 30, Kind::value_variants());
        let is_long = |round: &&Round| {
            let isolates = round.faults.iter().any(|fault| fault.kind == Kind::Isolate);
            isolates && round.hold >= Duration::from_secs(12)
        };
        assert!(rounds.iter().filter(is_long).count() >= 2);
        let time: Duration = rounds.iter().map(|round| round.hold + round.pause).sum();
        assert!(time < Duration::from_secs(140), "{time:?}");
    }

    #[test]
    fn two_faults_at_once_hit_two_brokers_and_a_pair_is_two() {
        for round in plan(3, 300, Kind::value_variants()) {
            if let [one, other] = round.faults.as_slice() {
                assert_ne!(one.node, other.node);
                assert!(one.kind != Kind::KillAll && other.kind != Kind::KillAll);
            }
            for fault in round.faults {
                assert_ne!(fault.node, fault.pair());
            }
        }
    }
}
