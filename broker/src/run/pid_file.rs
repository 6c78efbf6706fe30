//! The number of the process, in a file for whoever watches over it. IO.

use std::path::PathBuf;

/// A file that is there while the broker runs.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it. A broker that can't is told of, and serves.
    pub(super) fn write(path: PathBuf) -> Option<Self> {
        match std::fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "pid_file can't be written");
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "pid_file can't be removed");
        }
    }
}
