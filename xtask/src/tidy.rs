//! Checks of the tree that the compiler doesn't make: sizes of files, what the pure crates may know, what is left unfinished.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Lines that a file may have at most; the aim is 300.
const FILE_LINES_MAX: usize = 600;

/// Crates that know no socket, clock or runtime, and a package that their dependencies must not contain.
const PURE: [(&str, &str); 5] = [
    ("broker-core", "tokio"),
    ("broker-core", "openraft"),
    ("broker-policy", "tokio"),
    ("broker-config", "tokio"),
    ("broker-mosquitto", "tokio"),
];

/// Folders of pure code, and words that must not stand in it.
const LAYERS: [(&str, &[&str]); 5] = [
    (
        "broker/core/src",
        &["tokio::", "Instant::now", "SystemTime::now", "std::net::Tcp", "std::fs::"],
    ),
    ("broker/policy/src", &["tokio::", "Instant::now", "SystemTime::now", "std::fs::"]),
    ("broker/mosquitto/src", &["tokio::", "Instant::now", "SystemTime::now", "std::fs::"]),
    ("operator/core/src", &["kube::Client", "kube::Api", "tokio::", "Timestamp::now", "std::fs::"]),
    ("operator/api/src", &["kube::Client", "tokio::", "std::fs::"]),
];

/// Words that stand for unfinished work.
const UNFINISHED: [&str; 4] = ["todo!(", "unimplemented!(", "FIXME", "#[ignore"];

/// Runs every check and names each breach.
///
/// # Errors
/// At least one breach, or a file that can't be read.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut breaches = Vec::new();
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        sizes(&name, &text, &mut breaches);
        layers(&name, &text, &mut breaches);
    }
    for (package, forbidden) in PURE {
        if depends_on(root, package, forbidden)? {
            breaches.push(format!("{package} depends on {forbidden}: the crate is pure"));
        }
    }
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{}", breaches.join("\n"))
}

fn sizes(name: &str, text: &str, breaches: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        breaches
            .push(format!("{name}: {lines} lines, at most {FILE_LINES_MAX}: split it by concern"));
    }
}

fn layers(name: &str, text: &str, breaches: &mut Vec<String>) {
    if name.starts_with("xtask/") {
        return;
    }
    let is_test = name.contains("/tests/") || name.ends_with("_test.rs");
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    for (number, line) in code.lines().enumerate() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        for (folder, words) in LAYERS {
            if name.starts_with(folder) && !is_test {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    breaches.push(format!("{name}:{}: {word} in pure code", number + 1));
                }
            }
        }
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            breaches.push(format!("{name}:{}: {word}", number + 1));
        }
    }
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

fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["broker", "operator", "e2e", "xtask"].iter().map(|name| root.join(name)).collect();
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
