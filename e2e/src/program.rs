//! Runs programs as a person would, with what they printed in the error when they fail.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// It could not be started or ended with another status than 0; the text holds both outputs.
pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    run_with_input(program, arguments, "")
}

/// As [`run`], with `input` on standard input.
///
/// # Errors
/// As [`run`].
pub fn run_with_input(program: &str, arguments: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that doesn't read its input closes it; that is no failure.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}\n{stdout}{stderr}", arguments.join(" "), output.status);
    }
    Ok(stdout)
}

/// Asks again and again until `probe` gives something, at most for `within`.
///
/// # Errors
/// It never did; the text holds the last reason that `probe` gave.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut probe: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        let error = match probe().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        if started.elapsed() > within {
            return Err(error.context(format!("{what}: not within {within:?}")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
