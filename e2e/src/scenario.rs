//! Scenarios run one after the other on one cluster. The first failure prints what a person would look at, while it is still there,
//! and what follows is skipped. The report ends with the line "N passed, N failed".

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Counts what passed and what did not.
pub struct Report {
    passed: u32,
    failed: Vec<String>,
    skipped: u32,
    only: Vec<String>,
    diagnose: Box<dyn FnMut()>,
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped, only, diagnose: _ } = self;
        let counts = (passed, failed, skipped);
        f.debug_struct("Report")
            .field("counts", &counts)
            .field("only", only)
            .finish_non_exhaustive()
    }
}

impl Report {
    /// A report of the scenarios whose names contain one of the words in `only` (comma-separated; empty: all). `diagnose` prints
    /// what a person would look at; it is called once, right after the first failure.
    #[must_use]
    pub fn new(only: &str, diagnose: impl FnMut() + 'static) -> Self {
        let only = only.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { passed: 0, failed: Vec::new(), skipped: 0, only, diagnose: Box::new(diagnose) }
    }

    /// Runs one scenario, at most for `within`, and prints how it went; not when it is left out, and not after a failure.
    pub async fn scenario(
        &mut self,
        name: &str,
        within: Duration,
        steps: impl Future<Output = Result<()>>,
    ) {
        if !self.only.is_empty() && !self.only.iter().any(|word| name.contains(word.as_str())) {
            println!("---- {name}: left out");
            return;
        }
        self.required(name, within, steps).await;
    }

    /// As [`Report::scenario`], for what the others stand on: it is never left out.
    pub async fn required(
        &mut self,
        name: &str,
        within: Duration,
        steps: impl Future<Output = Result<()>>,
    ) {
        if !self.failed.is_empty() {
            println!("skip {name}");
            self.skipped += 1;
            return;
        }
        println!("==== {name}");
        let started = Instant::now();
        let outcome = match tokio::time::timeout(within, steps).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("not finished after {within:?}")),
        };
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("ok   {name} ({seconds:.1} s)");
                self.passed += 1;
            }
            Err(error) => {
                println!("FAIL {name} ({seconds:.1} s)\n     {error:#}");
                self.failed.push(name.to_owned());
                (self.diagnose)();
            }
        }
    }

    /// Prints the closing lines; whether everything that was to run passed.
    pub fn close(&self) -> bool {
        for name in &self.failed {
            println!("failed: {name}");
        }
        if self.skipped > 0 {
            println!("skipped after it: {}", self.skipped);
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        self.failed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(60);

    fn run(only: &str, names: [&str; 3], fails: &str) -> (bool, Vec<String>) {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let note = |what: &str| seen.borrow_mut().push(what.to_owned());
        let diagnosed = Rc::clone(&seen);
        let mut report = Report::new(only, move || diagnosed.borrow_mut().push("diagnosed".into()));
        let steps = async |name: &str| {
            note(name);
            anyhow::ensure!(name != fails, "it fails");
            Ok(())
        };
        let all = async {
            report.required(names[0], WITHIN, steps(names[0])).await;
            report.scenario(names[1], WITHIN, steps(names[1])).await;
            report.scenario(names[2], WITHIN, steps(names[2])).await;
            report.close()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let passed = runtime.expect("a runtime").block_on(all);
        let seen = seen.borrow().clone();
        (passed, seen)
    }

    #[test]
    fn a_failure_is_diagnosed_before_anything_else_is_done_and_the_rest_is_skipped() {
        let names = ["install", "upgrade", "removal"];
        assert_eq!(
            run("", names, "upgrade"),
            (false, vec!["install".into(), "upgrade".into(), "diagnosed".into()])
        );
        assert_eq!(run("", names, "nothing"), (true, names.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_was_not_asked_for_is_left_out_but_not_what_the_others_stand_on() {
        let names = ["install", "upgrade", "removal"];
        let (passed, seen) = run("upgr,x", names, "nothing");
        assert_eq!((passed, seen), (true, vec!["install".into(), "upgrade".into()]));
    }
}
