//! The state folder: who runs on it, and where things are in it. IO.
//!
//! ```text
//! lock                         held by the running operator, with its process id
//! session.json                 what it reads, what it refused, whether it has looked at everything once
//! objects/<namespace>/<kinds>/<name>.json    each object with its status
//! secrets/<name>/<entry>       each Secret that was made, one file an entry
//! clusters/<cluster>/          cluster.json (identity, ports), trust anchors, one configuration for each broker
//! data/<broker>/               what the broker keeps
//! logs/<broker>.log            what it says
//! ```

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::manifest::Complaint;

const LOCK: &str = "lock";
const SESSION: &str = "session.json";
const STOP: &str = "stop-requested";
/// How often, and after what pause, a lock that is taken is tried again.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// Paths below a state folder.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    /// Absolute: what is printed can be pasted in any folder.
    absolute: PathBuf,
}

/// Held while an operator runs on a state folder.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

/// Why the state folder can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    #[error(
        "{state} is in use by process {pid}; stop it with `mqtt-operator local down --state {state}`, or use another --state"
    )]
    InUse { state: String, pid: String },
    #[error("could not {act} {path}: {cause}")]
    Io { act: &'static str, path: String, cause: std::io::Error },
}

/// What the running operator says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Its process id.
    pub(crate) pid: u32,
    /// The folder that it reads.
    pub(crate) manifests: String,
    /// Whether every object's status was looked at since it started.
    pub(crate) is_started: bool,
    /// What it refused, and notes.
    pub(crate) complaints: Vec<Complaint>,
}

impl StateDir {
    /// A state folder; it need not exist.
    ///
    /// # Errors
    /// The current folder is not known.
    pub(crate) fn new(path: &Path) -> Result<Self, StateError> {
        let absolute = std::path::absolute(path).map_err(|source| StateError::Io {
            act: "find",
            path: path.display().to_string(),
            cause: source,
        })?;
        Ok(Self { absolute })
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.absolute.join(below)
    }

    /// A path as it is told to people.
    pub(crate) fn shown(&self, below: impl AsRef<Path>) -> String {
        self.path(below).display().to_string()
    }

    /// What is said where nothing runs: where it was looked, and what to do.
    pub(crate) fn nothing_runs(&self) -> String {
        format!(
            "nothing runs with state {self}: start it with `mqtt-operator local up -f DIR`, or say with --state or \
             DUNLIN_STATE where the state folder of what runs is"
        )
    }

    /// Makes the folder (for its owner only) and takes it for this process.
    ///
    /// # Errors
    /// [`StateError::InUse`] when another process has it; [`StateError::Io`].
    pub(crate) fn lock(&self) -> Result<StateLock, StateError> {
        make_private_dir(&self.absolute)?;
        let path = self.path(LOCK);
        let failed = |act| {
            let path = path.display().to_string();
            move |source| StateError::Io { act, path, cause: source }
        };
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed("open"))?;
        match take(&file, || std::thread::sleep(LOCK_PAUSE)) {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                let state = self.to_string();
                return Err(StateError::InUse { state, pid: pid.trim().to_owned() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        let _ = std::fs::remove_file(self.path(STOP));
        let _ = std::fs::remove_file(self.path(SESSION));
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(failed("write"))?;
        Ok(StateLock { _file: file })
    }

    /// Whether an operator runs on this folder.
    pub(crate) fn is_running(&self) -> bool {
        let Ok(file) = File::open(self.path(LOCK)) else { return false };
        matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
    }

    /// What the operator that runs says about itself; `None` until it says something.
    ///
    /// For a moment after a start the file can still be the one of an earlier process, whose word
    /// counts no more: what it called Ready was not looked at since.
    pub(crate) fn session(&self) -> Option<Session> {
        let session: Session =
            serde_json::from_slice(&std::fs::read(self.path(SESSION)).ok()?).ok()?;
        let is_alive = Path::new("/proc").join(session.pid.to_string()).exists();
        is_alive.then_some(session)
    }

    /// Tells what this operator says about itself.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn set_session(&self, session: &Session) -> Result<(), StateError> {
        let text = serde_json::to_vec_pretty(session).unwrap_or_default();
        write_private(&self.path(SESSION), &text)
    }

    /// Asks the operator that runs on this folder to stop.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn request_stop(&self) -> Result<(), StateError> {
        write_private(&self.path(STOP), b"")
    }

    pub(crate) fn is_stop_requested(&self) -> bool {
        self.path(STOP).exists()
    }
}

/// Takes the lock; whoever only looks whether it is taken holds it for a moment, and is waited for.
fn take(file: &File, mut pause: impl FnMut()) -> Result<(), std::fs::TryLockError> {
    for _ in 0..LOCK_ATTEMPTS {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => pause(),
            taken => return taken,
        }
    }
    file.try_lock()
}

impl std::fmt::Display for StateDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.absolute.display().fmt(f)
    }
}

/// Makes a folder, and those above it, for their owner only.
///
/// # Errors
/// [`StateError::Io`].
pub(crate) fn make_private_dir(path: &Path) -> Result<(), StateError> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| {
        StateError::Io { act: "make the folder", path: path.display().to_string(), cause: source }
    })
}

/// Writes a file for its owner only, whole or not at all.
///
/// # Errors
/// [`StateError::Io`].
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let failed =
        |source| StateError::Io { act: "write", path: path.display().to_string(), cause: source };
    if let Some(folder) = path.parent()
        && !folder.is_dir()
    {
        make_private_dir(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut file = File::create(&fresh).map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_operator_is_refused_with_the_first_ones_process_id() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        assert!(!state.is_running());
        let lock = state.lock().unwrap();
        assert!(state.is_running());
        let error = state.lock().unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("local down --state"), "{error}");
        drop(lock);
        assert!(!state.is_running());
        state.lock().unwrap();
    }

    #[test]
    fn a_look_whether_something_runs_does_not_keep_it_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        drop(state.lock().unwrap());
        // What `is_running` holds while it looks.
        let mut looking = Some(File::open(state.path(LOCK)).unwrap());
        looking.as_ref().unwrap().try_lock_shared().unwrap();
        let lock = File::open(state.path(LOCK)).unwrap();
        take(&lock, || looking = None).unwrap();
        assert!(looking.is_none(), "it was waited for");
    }

    #[test]
    fn an_earlier_operators_word_does_not_count_for_the_one_that_runs_now() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        let said = |pid| Session { pid, is_started: true, ..Session::default() };
        state.set_session(&said(std::process::id())).unwrap();
        assert_eq!(state.session(), Some(said(std::process::id())));
        let mut earlier = std::process::Command::new("true").spawn().unwrap();
        earlier.wait().unwrap();
        state.set_session(&said(earlier.id())).unwrap();
        assert_eq!(state.session(), None);
    }

    #[test]
    fn files_are_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets/s/password");
        write_private(&path, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }

    #[test]
    fn a_request_to_stop_is_for_the_operator_that_runs_then() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path()).unwrap();
        state.request_stop().unwrap();
        let _lock = state.lock().unwrap();
        assert!(!state.is_stop_requested());
        state.request_stop().unwrap();
        assert!(state.is_stop_requested());
    }
}
