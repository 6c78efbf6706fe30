//! Checks `docs/conformance.md`: every statement of MQTT that binds a server has a module that holds it and a test that
//! shows it, or stands among those that are not shown yet. IO: reads files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

mod document;

use document::{Document, Evidence, Key, Statement};

/// Where the statements are listed.
const DOCUMENT: &str = "docs/conformance.md";

/// How many statements each version has, those included that don't bind this server.
const STATEMENTS: [(&str, usize); 2] = [("5.0", 251), ("3.1.1", 142)];

/// Checks the document, and says how many statements are shown.
///
/// # Errors
/// A file can't be read, or the document says what is not so.
pub(crate) fn run(root: &Path) -> Result<()> {
    let text = fs::read_to_string(root.join(DOCUMENT)).context(DOCUMENT)?;
    let (document, mut breaches) = document::parse(&text);
    breaches.extend(check(&document, &|path| fs::read_to_string(root.join(path)).ok()));
    breaches.extend(check_totals(&document, &STATEMENTS));
    for line in counts(&document) {
        eprintln!("conformance: {line}");
    }
    for breach in &breaches {
        eprintln!("{DOCUMENT}: {breach}");
    }
    ensure!(breaches.is_empty(), "{} breaches in {DOCUMENT}", breaches.len());
    Ok(())
}

/// What the document says and is not so; `read` gives a file of the repository.
fn check(document: &Document, read: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut files: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for (key, statement) in &document.statements {
        match statement {
            Statement::SameAs(id) => {
                if !document.statements.contains_key(&Key::new("5.0", id)) {
                    breaches.push(format!("{key}: {id} is not in a table of MQTT 5.0"));
                }
            }
            Statement::Held { modules, evidence } => {
                for path in modules {
                    if files.entry(path).or_insert_with(|| read(path)).is_none() {
                        breaches.push(format!("{key}: there is no file {path}"));
                    }
                }
                breaches.extend(check_evidence(document, key, evidence));
                let Evidence::Tests(tests) = evidence else { continue };
                for (path, name) in tests {
                    match files.entry(path).or_insert_with(|| read(path)) {
                        None => breaches.push(format!("{key}: there is no file {path}")),
                        Some(text) if !has_test(text, name) => {
                            breaches.push(format!("{key}: {path} has no test {name}"));
                        }
                        Some(_) if !is_compiled(path, read) => {
                            breaches.push(format!("{key}: {path} is in no module tree"));
                        }
                        Some(_) => {}
                    }
                }
            }
        }
    }
    let gaps = document.gaps();
    breaches.extend(gaps.iter().map(|key| format!("{key} stands nowhere: add its row")));
    let unknown = |key: &&Key| !document.statements.contains_key(key);
    breaches.extend(document.not_shown.keys().filter(unknown).map(|key| {
        format!("{key} is not shown yet, and no table of its version has it: correct the id")
    }));
    breaches
}

/// Versions of which the document names more or fewer statements than they have.
fn check_totals(document: &Document, expected: &[(&str, usize)]) -> Vec<String> {
    let wrong = expected.iter().filter_map(|&(version, expected)| {
        let named = document.named(version);
        (named != expected).then(|| {
            format!("{named} statements of MQTT {version} are named, and it has {expected}")
        })
    });
    wrong.collect()
}

/// Whether tests, and the list of what is not shown yet, agree.
fn check_evidence(document: &Document, key: &Key, evidence: &Evidence) -> Option<String> {
    match (evidence, document.not_shown.get(key)) {
        (Evidence::Tests(_), None) => None,
        (Evidence::Tests(_), Some(_)) => {
            Some(format!("{key} has a test: take it from the list of what is not shown yet"))
        }
        (Evidence::None(state), Some(listed)) if state == listed => None,
        (Evidence::None(state), Some(listed)) => {
            Some(format!("{key} is {state} in its table and {listed} at the end: say the same"))
        }
        (Evidence::None(_), None) => Some(format!("{key} has no test: write one, and name it")),
    }
}

/// How many statements of each version are shown by a test.
fn counts(document: &Document) -> Vec<String> {
    let versions: BTreeSet<&str> =
        document.statements.keys().map(|key| key.version.as_str()).collect();
    versions
        .into_iter()
        .rev()
        .map(|version| {
            let of_version = document.statements.iter().filter(|(key, _)| key.version == version);
            let (mut shown, mut all) = (0, 0);
            for (_, statement) in of_version {
                all += 1;
                shown += usize::from(document.is_shown(statement));
            }
            format!("MQTT {version}: {shown} of {all} statements shown")
        })
        .collect()
}

/// Whether a source text has a function of this name with a test attribute above it, and without
/// one that has it left out.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let is_head = |line: &str| line.strip_prefix("async ").unwrap_or(line).starts_with(&head);
    lines.iter().enumerate().filter(|(_, line)| is_head(line)).any(|(at, _)| {
        let above = lines[..at].iter().rev().take_while(|line| !line.is_empty() && **line != "}");
        let attributes: Vec<&&str> = above.filter(|line| line.starts_with("#[")).collect();
        let has = |start: &str| attributes.iter().any(|line| line.starts_with(start));
        (has("#[test]") || has("#[tokio::test")) && !has("#[ignore")
    })
}

/// Whether Cargo compiles a source file: it is the root of a crate or of its tests, or a file that is
/// says `mod` of it.
fn is_compiled(path: &str, read: &dyn Fn(&str) -> Option<String>) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    let (above, last) = folder.rsplit_once('/').unwrap_or(("", folder));
    let is_crate = |folder: &str| read(&format!("{folder}/Cargo.toml")).is_some();
    match (last, file) {
        ("src", "lib.rs" | "main.rs") | ("tests", _) if is_crate(above) => return true,
        // A test in a folder of its own.
        (_, "main.rs") => {
            let tests = above.strip_suffix("/tests");
            return tests.is_some_and(is_crate);
        }
        _ => {}
    }
    let Some(stem) = file.strip_suffix(".rs") else { return false };
    // Who may say `mod` of it, by which name or path.
    let (name, parents) = if stem == "mod" {
        (
            last,
            vec![format!("{above}/mod.rs"), format!("{above}/lib.rs"), format!("{above}/main.rs")],
        )
    } else {
        let sibling = stem.strip_suffix("_test").unwrap_or(stem);
        let siblings = ["mod", "lib", "main", sibling].map(|name| format!("{folder}/{name}.rs"));
        let parents = siblings.into_iter().chain([format!("{above}/{last}.rs")]);
        (stem, parents.filter(|parent| parent != path).collect())
    };
    let says = |text: &str| {
        let lines = text.lines().map(str::trim);
        let is_mod = |line: &str| {
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            line.strip_prefix("pub ").unwrap_or(line) == format!("mod {name};")
        };
        let is_path = |line: &str| line == format!("#[path = \"{file}\"]");
        lines.into_iter().any(|line| is_mod(line) || is_path(line))
    };
    parents
        .iter()
        .any(|parent| read(parent).is_some_and(|text| says(&text)) && is_compiled(parent, read))
}

#[cfg(test)]
mod tests;
