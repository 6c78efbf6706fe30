//! Scenarios run one after the other on one cluster; the report ends with the line "N passed, N failed".

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Counts what passed and what did not.
#[derive(Debug, Default)]
pub struct Report {
    passed: u32,
    failed: Vec<String>,
    only: Vec<String>,
}

impl Report {
    /// A report of the scenarios whose names contain one of the words in `only` (comma-separated; empty: all).
    #[must_use]
    pub fn new(only: &str) -> Self {
        let only = only.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Self { only, ..Self::default() }
    }

    /// Runs one scenario, at most for `within`, and prints how it went. Returns whether it passed.
    pub async fn scenario(
        &mut self,
        name: &str,
        within: Duration,
        steps: impl Future<Output = Result<()>>,
    ) -> bool {
        if !self.only.is_empty() && !self.only.iter().any(|word| name.contains(word.as_str())) {
            println!("---- {name}: left out");
            return true;
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
                true
            }
            Err(error) => {
                println!("FAIL {name} ({seconds:.1} s)\n     {error:#}");
                self.failed.push(name.to_owned());
                false
            }
        }
    }

    /// Prints the closing lines; whether everything passed.
    pub fn close(&self) -> bool {
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{} passed, {} failed", self.passed, self.failed.len());
        self.failed.is_empty()
    }
}
