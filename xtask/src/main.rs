//! Tasks of the repository, run as `cargo xtask NAME`. IO.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;

mod conformance;
mod crds;
mod dependencies;
mod docs;
mod tidy;

/// Tasks of the repository.
#[derive(Parser)]
#[command(name = "xtask")]
enum Task {
    /// Checks that docs/conformance.md names a module and a test for every statement of MQTT.
    Conformance,
    /// Writes the CustomResourceDefinitions to crds/, or checks them.
    Crds {
        /// Fails when a file is stale instead of writing it.
        #[arg(long)]
        check: bool,
    },
    /// Checks what the compiler doesn't: sizes of files, layers, dependencies, unfinished work, what docs/ explains.
    Tidy,
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Conformance => conformance::run(&root()?),
        Task::Crds { check } => crds::run(&root()?, check),
        Task::Tidy => tidy::run(&root()?),
    }
}

/// The repository's top folder.
fn root() -> anyhow::Result<PathBuf> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies below the root")?;
    Ok(root.to_owned())
}
