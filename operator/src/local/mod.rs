//! The platform without Kubernetes: the same manifests, brokers as child processes on loopback.
//!
//! `up` reads the manifests (`manifest`) and runs a task for each cluster (`cluster`), which decides by the same pure functions of
//! `operator-core` as the Kubernetes controllers do. The state folder (`state`, `store`) takes the place of the API server: `get`,
//! `status` and `down` (`inspect`) meet the running operator there and nowhere else.

mod cluster;
mod console;
mod edits;
mod homeless;
mod inspect;
mod manifest;
mod ports;
mod process;
mod state;
mod store;
mod up;
mod watch;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::LocalCommand;

/// Does what `mqtt-operator local …` says.
///
/// # Errors
/// In words, with what to change.
pub fn main(command: &LocalCommand) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        match command {
            LocalCommand::Up(args) => up::up(args).await.map(|()| ExitCode::SUCCESS),
            LocalCommand::Get(args) => inspect::get(args),
            LocalCommand::Status(args) => inspect::status(args).await,
            LocalCommand::Down(args) => inspect::down(args).await,
        }
    })
}
