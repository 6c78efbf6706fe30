//! The targets hold for their own corpus, and the runner finds what is there to be found.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::time::Duration;

use broker_fuzz::allocation::CountingAllocator;
use broker_fuzz::{Limits, TARGETS, Target, replay, run};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// One after the other, as panics are taken for the whole process. The corpus, then so many inputs
/// made of it: `make fuzz` goes on from there.
#[test]
fn targets_hold_for_their_corpus_and_the_runner_finds_what_does_not_hold() {
    const EXECUTIONS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    for target in TARGETS {
        let seeds = (target.seeds)().len() as u64;
        assert!(seeds > 5, "{} has {seeds} inputs to begin with", target.name);
        let limits = Limits { time: Duration::MAX, executions: seeds + EXECUTIONS, seed: 7 };
        let report = run(target, limits, folder.path()).unwrap();
        assert!(report.failure.is_none(), "{}: {:?}", target.name, report.failure);
        assert_eq!(report.executions, limits.executions);
    }
    a_planted_mistake_is_found_shrunk_and_replayed(folder.path());
}

/// Fails for an input that no seed is near to.
const PLANTED: Target = Target {
    name: "planted",
    check: |input| assert!(!input.windows(2).any(|pair| pair == b"x7"), "there it is"),
    seeds: || vec![b"an input that is fine, and long".to_vec()],
    words: &[b"x"],
    bytes_max: 100,
};

fn a_planted_mistake_is_found_shrunk_and_replayed(folder: &std::path::Path) {
    let limits = Limits { time: Duration::MAX, executions: 1_000_000, seed: 1 };
    let report = run(&PLANTED, limits, folder).unwrap();
    let failure = report.failure.unwrap();
    assert!(failure.message.contains("there it is"), "{}", failure.message);
    let input = std::fs::read(&failure.file).unwrap();
    assert_eq!(input, b"x7", "the input is not shrunk");
    assert!(replay(&PLANTED, &input).unwrap().contains("there it is"));
    assert_eq!(replay(&PLANTED, b"x8"), None);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [failure.file], "the file of the input under trial is left behind");
}
