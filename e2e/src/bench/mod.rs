//! The figures: each is measured, printed with what was counted, and never asserted.

mod edits;
mod users;

use std::path::PathBuf;

use anyhow::Result;

/// What to measure, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// The folder with the release binaries mqtt-operator and mqtt-broker.
    #[arg(long, default_value = "target/release")]
    pub binaries: PathBuf,
    /// Only the parts whose names contain one of these words (comma-separated): start, edits, users.
    #[arg(long, default_value = "")]
    pub only: String,
    /// How many edits of a rule are timed.
    #[arg(long, default_value_t = 100)]
    pub edits: usize,
    /// Numbers of users in the memory runs.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 10_000])]
    pub users: Vec<usize>,
}

impl BenchArgs {
    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.split(',').any(|word| part.contains(word))
    }

    fn operator(&self) -> PathBuf {
        self.binaries.join("mqtt-operator")
    }
}

/// Runs the parts that were asked for.
///
/// # Errors
/// A broker or operator could not be started or did not become ready.
pub async fn run(args: BenchArgs) -> Result<bool> {
    if args.wants("start") || args.wants("edits") {
        edits::run(&args).await?;
    }
    if args.wants("users") {
        for count in &args.users {
            users::run(&args, *count).await?;
        }
    }
    Ok(true)
}

/// The value below which a share `q` (0..=1) of `sorted` lies; `sorted` is not empty.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}
