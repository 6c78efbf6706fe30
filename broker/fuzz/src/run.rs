//! The loop: choose an input, change it, try it, keep it if it reached something new. IO: it writes
//! the input under trial to a file, so that one that ends the process or never ends is known.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::coverage::{self, Reached};
use crate::mutate::mutate;
use crate::random::Random;
use crate::shrink::shrink;
use crate::targets::Target;

/// How long a run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At most this long.
    pub time: Duration,
    /// At most so many executions.
    pub executions: u64,
    /// What the random choices derive from.
    pub seed: u64,
}

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// Inputs tried.
    pub executions: u64,
    /// Inputs in the corpus at the end.
    pub inputs: usize,
    /// Edges of the program reached; 0 where it is not instrumented.
    pub edges: usize,
    /// The first input that failed.
    pub failure: Option<Failure>,
}

/// An input that failed.
#[derive(Debug)]
pub struct Failure {
    /// What the target said, with the place.
    pub message: String,
    /// Where the input is written.
    pub file: PathBuf,
}

/// A file of the run can't be had.
#[derive(Debug, thiserror::Error)]
#[error("write {}", path.display())]
pub struct RunError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

/// What the last panic said.
static PANIC: Mutex<String> = Mutex::new(String::new());
/// Executions so far: stands still when an input never ends.
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);

/// An execution that takes longer counts as one that never ends.
const HANG_SECONDS: u64 = 30;

/// Has panics told to the runner in place of the terminal.
fn take_panics() {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut text) = PANIC.lock() {
            *text = info.to_string();
        }
    }));
}

/// Tries one input; what the target says of it if it fails.
#[must_use]
pub fn replay(target: &Target, input: &[u8]) -> Option<String> {
    take_panics();
    let failure = attempt(target, input);
    drop(std::panic::take_hook());
    failure
}

fn attempt(target: &Target, input: &[u8]) -> Option<String> {
    let result = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    result.err().map(|_| PANIC.lock().map(|text| text.clone()).unwrap_or_default())
}

/// Runs a target; files go into `folder`.
///
/// # Errors
/// [`RunError`]: a file can't be written.
pub fn run(target: &Target, limits: Limits, folder: &Path) -> Result<Report, RunError> {
    let current = folder.join(format!("{}.current", target.name));
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let file = File::create(&current).map_err(failed(&current))?;
    take_panics();
    watch(target.name, current.clone());
    let mut runner = Runner::new(target, limits, file);
    let found = runner.search().map_err(failed(&current))?;
    let failure = match found {
        None => None,
        Some(input) => {
            let input = shrink(&input, |input| attempt(target, input).is_some());
            let message = attempt(target, &input).unwrap_or_default();
            let file = folder.join(format!("{}-{:016x}", target.name, name_of(&input)));
            std::fs::write(&file, &input).map_err(failed(&file))?;
            Some(Failure { message, file })
        }
    };
    drop(std::panic::take_hook());
    std::fs::remove_file(&current).map_err(failed(&current))?;
    Ok(Report {
        executions: runner.executions,
        inputs: runner.corpus.len(),
        edges: runner.reached.edges(),
        failure,
    })
}

/// A name for a file with this input. Source: FNV-1a.
fn name_of(input: &[u8]) -> u64 {
    input.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

/// Ends the process when an input never ends.
fn watch(name: &'static str, current: PathBuf) {
    std::thread::spawn(move || {
        let mut last = u64::MAX;
        loop {
            std::thread::sleep(Duration::from_secs(HANG_SECONDS));
            let now = EXECUTIONS.load(Ordering::Relaxed);
            if now == last {
                let path = current.display();
                eprintln!("{name}: an input has taken {HANG_SECONDS} s; it is in {path}");
                std::process::exit(1);
            }
            last = now;
        }
    });
}

struct Runner<'a> {
    target: &'a Target,
    limits: Limits,
    current: File,
    random: Random,
    corpus: Vec<Vec<u8>>,
    reached: Reached,
    executions: u64,
}

impl<'a> Runner<'a> {
    fn new(target: &'a Target, limits: Limits, current: File) -> Self {
        Self {
            target,
            limits,
            current,
            random: Random::new(limits.seed),
            corpus: Vec::new(),
            reached: Reached::default(),
            executions: 0,
        }
    }

    /// Runs to the limits, or to the first input that fails.
    fn search(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let started = Instant::now();
        for input in (self.target.seeds)() {
            if self.fails(&input)? {
                return Ok(Some(input));
            }
            self.reached.add();
            self.corpus.push(input);
        }
        let mut input = Vec::new();
        while self.executions < self.limits.executions && started.elapsed() < self.limits.time {
            self.vary(&mut input);
            if self.fails(&input)? {
                return Ok(Some(input));
            }
            if self.reached.add() {
                self.corpus.push(input.clone());
            }
        }
        Ok(None)
    }

    /// Half of the time it builds on what was found last: that is where the unknown is.
    fn vary(&mut self, input: &mut Vec<u8>) {
        const RECENT: usize = 50;
        let count = self.corpus.len();
        let at = match self.random.below(2) {
            0 => count.saturating_sub(1 + self.random.below(RECENT)),
            _ => self.random.below(count),
        };
        input.clear();
        input.extend_from_slice(self.corpus.get(at).map_or(&[], |input| &input[..]));
        let other = self.random.below(count);
        let other = self.corpus.get(other).map_or(&[][..], |input| &input[..]);
        let Target { words, bytes_max, .. } = self.target;
        mutate(input, other, words, *bytes_max, &mut self.random);
    }

    fn fails(&mut self, input: &[u8]) -> std::io::Result<bool> {
        self.current.set_len(input.len() as u64)?;
        self.current.write_all_at(input, 0)?;
        self.executions += 1;
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
        coverage::reset();
        Ok(attempt(self.target, input).is_some())
    }
}
