//! The small files of a data directory, as a broker that stands alone opens them: what is damaged is
//! set aside where it is known what it was, or where nobody else relies on it. IO.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::StartError;
use crate::cluster::meta::node_of_log;
use crate::identity::{FILE_NAME, Identity};
use crate::storage::DataDirectory;
use crate::telemetry::Chain;

/// Who the directory is, and whether its count of starts can be gone on with.
pub(super) fn open(directory: &DataDirectory, name: &str) -> Result<Identity, StartError> {
    let identity = match Identity::open_alone(directory, name) {
        Err(error) if error.is_damage() => {
            let error = Chain(&error).to_string();
            restore_identity(directory, name, &error)?
        }
        identity => identity.map_err(|source| StartError::Identity { source })?,
    };
    // Seconds of the clock are far above any count of starts, and rise with it.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = directory.mend_starts(seconds);
    let aside = aside.map_err(|source| StartError::DataDirectory { source })?;
    if let Some(aside) = aside {
        let set_aside = aside.display();
        tracing::error!(%set_aside, "the count of starts is damaged and set aside: nothing is lost");
    }
    Ok(identity)
}

/// The log says which node the directory is. Where it does not, it could not be read on: then log
/// and snapshots are set aside, too.
fn restore_identity(
    directory: &DataDirectory,
    name: &str,
    error: &str,
) -> Result<Identity, StartError> {
    let failed = |source| StartError::DataDirectory { source };
    let aside = directory.set_file_aside(FILE_NAME).map_err(failed)?;
    let node_id = node_of_log(directory);
    let set_aside = aside.display();
    if node_id.is_some() {
        tracing::error!(error, %set_aside, "the identity is damaged, set aside and made anew from the log: nothing is lost");
    } else if is_empty(&directory.log_path()) && is_empty(&directory.snapshots_path()) {
        tracing::error!(error, %set_aside, "the identity is damaged and set aside: nothing is lost, as nothing was kept");
    } else {
        let state = directory.set_aside().map_err(failed)?;
        tracing::error!(
            error,
            %set_aside,
            state = %state.display(),
            "the identity and the log are damaged and set aside: sessions and retained messages are lost"
        );
    }
    Identity::restore_alone(directory, node_id, name)
        .map_err(|source| StartError::Identity { source })
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}
