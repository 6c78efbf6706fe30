//! Seeds that every test run simulates.

use broker_sim::run;

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    let (first, second, other) = (run(7), run(7), run(8));
    assert_eq!(first.violation, None);
    assert!(first.trace == second.trace, "the traces of one seed differ");
    assert!(first.trace != other.trace, "the traces of two seeds are the same");
    assert!(first.trace.lines().count() > 500, "{}", first.trace);
}
