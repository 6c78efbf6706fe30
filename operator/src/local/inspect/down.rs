//! `mqtt-operator local down`: asks the running operator to stop, and waits until it has. IO.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::super::console::{human, write_out};
use super::super::state::StateDir;
use crate::args::DownArgs;

const LOOK: Duration = Duration::from_millis(50);

/// Stops what runs; that nothing does is no error.
///
/// # Errors
/// The state folder can't be written to.
pub(in super::super) async fn down(args: &DownArgs) -> anyhow::Result<ExitCode> {
    let state = StateDir::new(&args.state.state)?;
    if !state.is_running() {
        write_out(&format!("{}\n", state.nothing_runs()));
        return Ok(ExitCode::SUCCESS);
    }
    let started = Instant::now();
    state.request_stop()?;
    while state.is_running() {
        if started.elapsed() >= args.wait {
            write_out(&format!(
                "it has not stopped within {}; look at what `local up` prints, or wait on with --wait\n",
                human(args.wait)
            ));
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(LOOK).await;
    }
    write_out(&format!(
        "stopped in {}; data, keys and passwords are kept in {state}\n",
        human(started.elapsed())
    ));
    Ok(ExitCode::SUCCESS)
}
