//! Which dependencies no source names: they cost compile time and stand for nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::tidy::{code_of, is_test, rust_files};

/// Dependencies that stand though no source names them, by package, each with its reason.
const UNNAMED: [(&str, &str); 1] = [
    // Chooses the Kubernetes version where the crate is built alone.
    ("mock-api", "k8s-openapi"),
];

/// One package's sources, as far as dependencies are concerned.
struct Sources {
    /// What is compiled into the product.
    product: String,
    /// Everything, tests included.
    all: String,
}

/// Names each dependency of a member that its sources don't name, and each one of the workspace's
/// table that no member takes.
pub(crate) fn check(root: &Path, breaches: &mut Vec<String>) -> Result<()> {
    let mut taken = BTreeSet::new();
    for package in packages(root)? {
        let name = package["name"].as_str().context("cargo metadata: name")?;
        let manifest = package["manifest_path"].as_str().context("cargo metadata: manifest")?;
        let folder = Path::new(manifest).parent().context("a manifest lies in a folder")?;
        let sources = Sources::read(folder)?;
        let dependencies = package["dependencies"].as_array().context("cargo metadata")?;
        for dependency in dependencies {
            let wanted = dependency["name"].as_str().context("cargo metadata: dependency")?;
            taken.insert(wanted.to_owned());
            let is_dev = dependency["kind"] == "dev";
            let code = if is_dev { &sources.all } else { &sources.product };
            if !names(code, wanted) && !UNNAMED.contains(&(name, wanted)) {
                let section = if is_dev { "dev-dependency" } else { "dependency" };
                breaches
                    .push(format!("{name}: {section} {wanted} is named in none of its sources"));
            }
        }
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("Cargo.toml")?;
    for name in table(&manifest).filter(|name| !taken.contains(*name)) {
        breaches.push(format!("Cargo.toml: no member depends on {name}"));
    }
    Ok(())
}

impl Sources {
    fn read(folder: &Path) -> Result<Self> {
        let (mut product, mut all) = (String::new(), String::new());
        for kind in ["src", "tests", "benches"].map(|kind| folder.join(kind)) {
            if !kind.is_dir() {
                continue;
            }
            for file in rust_files(&[kind])? {
                let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
                if !is_test(&file.display().to_string()) {
                    product.push_str(code_of(&text));
                }
                all.push_str(&text);
            }
        }
        Ok(Self { product, all })
    }
}

/// Whether the code has `name::` or `use name` in it, comments aside.
fn names(code: &str, package: &str) -> bool {
    let name = package.replace('-', "_");
    let (path, import) = (format!("{name}::"), format!("use {name}"));
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| {
        line.match_indices(&path).any(|(at, _)| !line[..at].ends_with(is_word))
            || line
                .match_indices(&import)
                .any(|(at, found)| !line[at + found.len()..].starts_with(is_word))
    })
}

/// The keys of the workspace's table of dependencies.
fn table(manifest: &str) -> impl Iterator<Item = &str> {
    let rows = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let rows = rows.take_while(|line| !line.starts_with('['));
    rows.filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
}

/// The members as `cargo metadata` lists them.
fn packages(root: &Path) -> Result<Vec<Value>> {
    let output = Command::new("cargo")
        .current_dir(root)
        .args(["metadata", "--quiet", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata["packages"].as_array().context("cargo metadata: packages")?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_a_path_or_an_import_and_not_by_a_longer_word_or_a_comment() {
        assert!(names("let a = serde_json::json!({});", "serde-json"));
        assert!(names("use slab;", "slab"));
        assert!(names("pub use slab::Slab;", "slab"));
        assert!(!names("use serde_json::json;", "serde"));
        assert!(!names("tokio_tower::call()", "tower"));
        assert!(!names("use axum::tower::Service;", "tower"));
        assert!(!names("// see tower::Service", "tower"));
    }

    #[test]
    fn the_table_ends_where_the_next_section_begins() {
        let manifest =
            "[workspace]\na = 1\n[workspace.dependencies]\n# b = 2\nslab = \"1\"\n\n[x]\nc = 3\n";
        assert_eq!(table(manifest).collect::<Vec<_>>(), ["slab"]);
    }
}
