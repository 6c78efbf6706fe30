//! Clients that do all that MQTT asks of them, and the engine, joined by a network that delays,
//! breaks at any byte and forgets to say so, under virtual time.
//!
//! Each case follows from a number, which a failure prints. `DUNLIN_NETWORK_SEED=7` runs that one,
//! `DUNLIN_NETWORK_CASES=10000` more of them.

mod client;
mod link;
mod world;

use world::World;

const CASES: u64 = 256;

/// Says which case it is when a test fails.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay this case with DUNLIN_NETWORK_SEED={}", self.0);
        }
    }
}

/// SplitMix64.
pub(super) struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[test]
fn over_a_bad_network_nothing_is_lost_doubled_out_of_order_or_too_much() {
    let seeds = match number("DUNLIN_NETWORK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DUNLIN_NETWORK_CASES").unwrap_or(CASES),
    };
    let mut totals = world::Happened::default();
    for seed in seeds.clone() {
        let case = Case(seed);
        totals.add(&World::new(seed).run());
        drop(case);
    }
    // The network was as bad as it should be.
    if seeds.end - seeds.start >= CASES {
        let world::Happened { cuts, unnoticed, silences, duplicates, resumed } = totals;
        let least = [cuts, unnoticed, silences, duplicates, resumed].into_iter().min();
        assert!(least >= Some(CASES / 4), "{totals:?}");
    }
}
