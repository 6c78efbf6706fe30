//! Checks of the tree that the compiler doesn't make: sizes of files, what the pure crates may know, what is left unfinished,
//! which dependencies nothing uses, what docs/ explains.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::dependencies;

/// Lines that a file may have at most; the aim is 300.
const FILE_LINES_MAX: usize = 500;

/// Files that are longer, each with what it may have at most. The list only shrinks: a file that has been split leaves it.
const LONG_FILES: [(&str, usize); 0] = [];

/// Crates that know no socket, clock or runtime, and a package that their dependencies must not contain.
const PURE: [(&str, &str); 5] = [
    ("broker-core", "tokio"),
    ("broker-core", "openraft"),
    ("broker-policy", "tokio"),
    ("broker-config", "tokio"),
    ("broker-mosquitto", "tokio"),
];

/// Folders of pure code, and words that must not stand in it.
const LAYERS: [(&str, &[&str]); 7] = [
    (
        "broker/core/src",
        &["tokio::", "Instant::now", "SystemTime::now", "std::net::Tcp", "std::fs::"],
    ),
    ("broker/policy/src", &["tokio::", "Instant::now", "SystemTime::now", "std::fs::"]),
    ("broker/config/src", &["tokio::", "Instant::now", "SystemTime::now", "std::fs::"]),
    ("broker/mosquitto/src", &["tokio::", "Instant::now", "SystemTime::now", "std::fs::"]),
    ("operator/core/src", &["kube::Client", "kube::Api", "tokio::", "Timestamp::now", "std::fs::"]),
    ("operator/api/src", &["kube::Client", "tokio::", "std::fs::"]),
    // Time and faults are the seed's.
    ("broker/sim/src", &["Instant::now", "SystemTime", "tokio::time", "std::fs::"]),
];

/// What must not stand in a file that calls itself pure.
const PURE_FILE: &[&str] =
    &["tokio::", "Instant::now", "SystemTime::now", "std::net::Tcp", "std::fs::"];

/// Words that stand for unfinished work.
const UNFINISHED: [&str; 4] = ["todo!(", "unimplemented!(", "FIXME", "#[ignore"];

/// Runs every check and names each breach.
///
/// # Errors
/// At least one breach, or a file that can't be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut breaches = Vec::new();
    let mut sources = Vec::new();
    let folders = ["broker", "operator", "e2e", "xtask"].map(|name| root.join(name));
    for file in rust_files(&folders)? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        sizes(&name, &text, &mut breaches);
        layers(&name, &text, &mut breaches);
        sources.push((name, text));
    }
    breaches.extend(crate::docs::breaches(root, &sources)?);
    for (package, forbidden) in PURE {
        if depends_on(root, package, forbidden)? {
            breaches.push(format!("{package} depends on {forbidden}: the crate is pure"));
        }
    }
    dependencies::check(root, &mut breaches)?;
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n"))
}

fn sizes(name: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    let exception = LONG_FILES.iter().find(|(file, _)| *file == name).map(|(_, max)| *max);
    let max = exception.unwrap_or(FILE_LINES_MAX);
    if lines > max {
        breaches.push(format!("{name}: {lines} lines, at most {max}: split it by concern"));
    } else if exception.is_some() && lines <= FILE_LINES_MAX {
        breaches.push(format!("{name}: short enough now, take it from the list of long files"));
    }
}

fn layers(name: &str, text: &str, breaches: &mut Vec<String>) {
    if name.starts_with("xtask/") {
        return;
    }
    let is_test = is_test(name);
    let own: &[&str] = if calls_itself_pure(text) { PURE_FILE } else { &[] };
    for (number, line) in code_of(text).lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        let folders = LAYERS.iter().filter(|(folder, _)| name.starts_with(folder));
        let words = folders.flat_map(|(_, words)| *words).chain(own);
        let mut found: Vec<_> = words.filter(|word| !is_test && has_word(line, word)).collect();
        found.dedup();
        for word in found {
            breaches.push(format!("{name}:{}: {word} in pure code", number + 1));
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            breaches.push(format!("{name}:{}: {word}", number + 1));
        }
    }
}

/// Whether a word begins in a line: `SimInstant::now` is not `Instant::now`.
fn has_word(line: &str, word: &str) -> bool {
    let is_part = |before: char| before.is_alphanumeric() || before == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(is_part))
}

/// Whether a file's head says that it is pure.
fn calls_itself_pure(text: &str) -> bool {
    let mut head = text.lines().take_while(|line| line.starts_with("//!"));
    head.any(|line| line.contains("Pure."))
}

/// Whether a file holds nothing but tests.
pub(crate) fn is_test(name: &str) -> bool {
    name.contains("/tests/") || name.ends_with("_test.rs")
}

/// A file's text without the module of tests at its end.
pub(crate) fn code_of(text: &str) -> &str {
    let mut modules = text.match_indices("\n#[cfg(test)]\nmod ");
    let is_inline = |at: usize, head: &str| {
        text[at + head.len()..].lines().next().is_some_and(|line| line.ends_with('{'))
    };
    let end = modules.find(|(at, head)| is_inline(*at, head)).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Whether `forbidden` is among the package's normal dependencies.
fn depends_on(root: &Path, package: &str, forbidden: &str) -> Result<bool> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["tree", "--quiet", "-p", package, "-e", "normal", "--prefix", "none"])
        .output()
        .context("cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree -p {package}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let tree = String::from_utf8_lossy(&output.stdout);
    Ok(tree.lines().any(|line| line.split(' ').next() == Some(forbidden)))
}

/// All Rust files below the folders, sorted.
pub(crate) fn rust_files(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = folders.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_calls_itself_pure_and_the_simulation_know_no_clock() {
        let breaches = |name: &str, text: &str| {
            let mut breaches = Vec::new();
            layers(name, text, &mut breaches);
            breaches.len()
        };
        let pure = "//! Frames.\n//! Pure.\n\nfn f() { std::time::Instant::now(); }\n";
        assert_eq!(breaches("broker/src/frame.rs", pure), 1);
        assert_eq!(breaches("broker/src/frame_test.rs", pure), 0);
        assert_eq!(breaches("broker/src/frame.rs", &pure.replace("Pure.", "IO.")), 0);
        assert_eq!(breaches("broker/sim/src/node.rs", "fn f() { SimInstant::now(); }\n"), 0);
        assert_eq!(breaches("broker/sim/src/node.rs", "use tokio::time::sleep;\n"), 1);
    }

    #[test]
    fn code_ends_at_a_module_of_tests_and_not_where_a_file_of_tests_is_named() {
        let text = "#[cfg(test)]\nmod a_test;\n\nfn code() {}\n#[cfg(test)]\nmod tests {\n}\n";
        let text = format!("//! Code.\n{text}");
        let code = code_of(&text);
        assert!(code.ends_with("fn code() {}"), "{code}");
    }
}
