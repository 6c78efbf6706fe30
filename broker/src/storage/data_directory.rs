//! The directory that holds everything a broker must not forget. One process at a time. IO.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::atomic_file::{sync_parent, write_file_atomically};

/// Counts the processes.
const STARTS: &str = "starts";

/// What the names of folders begin with that hold what was damaged.
const ASIDE: &str = "damaged-";

/// How many folders a data directory has with what was damaged and set aside.
#[must_use]
pub fn count_set_aside(data_directory: &Path) -> u64 {
    let entries = fs::read_dir(data_directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(ASIDE)).count() as u64
}

/// A data directory that this process holds; released when dropped.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirectoryError {
    /// It can't be created, opened or locked.
    #[error("open the data directory {}", path.display())]
    Io {
        /// The directory, or the file within.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("data directory {} is in use by another process: give each broker its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

impl DataDirectory {
    /// Opens the directory, creating it (mode 0700) when it is not there, and locks it.
    ///
    /// # Errors
    /// `Io`; `InUse` when another process has it open.
    pub fn open(path: &Path) -> Result<Self, DataDirectoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirectoryError::Io { path, source }
        };
        for directory in
            [path.to_owned(), path.join("log"), path.join("snapshots"), path.join("queues")]
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)
                .map_err(failed(&directory))?;
        }
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(DataDirectoryError::InUse { path: path.to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(failed(&lock_path)(source)),
        }
    }

    /// Counts the processes that had this directory: the number of this one, above all before it.
    /// Unlike a clock it never goes back.
    ///
    /// # Errors
    /// `Io`: the count can't be kept.
    pub fn count_start(&self) -> Result<u64, DataDirectoryError> {
        let path = self.path.join(STARTS);
        let failed = |source| DataDirectoryError::Io { path: path.clone(), source };
        let earlier = self.starts().map_err(failed)?.unwrap_or(0);
        let start: u64 = u64::saturating_add(earlier, 1);
        write_file_atomically(&path, start.to_string().as_bytes()).map_err(failed)?;
        Ok(start)
    }

    /// `None` before the first start.
    fn starts(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(self.path.join(STARTS)) {
            Ok(text) => {
                let no_number = || io::Error::new(io::ErrorKind::InvalidData, "it holds no number");
                text.trim().parse().map(Some).map_err(|_| no_number())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets a count of starts aside that is none, and goes on from `above`, which is to be above all
    /// counts there can have been. Gives where the file is now; `None`: there was nothing to mend.
    ///
    /// # Errors
    /// `Io`: it can't be read or written.
    pub fn mend_starts(&self, above: u64) -> Result<Option<PathBuf>, DataDirectoryError> {
        let path = self.path.join(STARTS);
        match self.starts() {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let aside = self.set_file_aside(STARTS)?;
                write_file_atomically(&path, above.to_string().as_bytes())
                    .map_err(|source| DataDirectoryError::Io { path, source })?;
                Ok(Some(aside))
            }
            Err(source) => Err(DataDirectoryError::Io { path, source }),
        }
    }

    /// Moves log and snapshots out of the way, so that the next start finds neither; gives where
    /// they are now. The identity stays.
    ///
    /// # Errors
    /// `Io`: something can't be moved.
    pub fn set_aside(&self) -> Result<PathBuf, DataDirectoryError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirectoryError::Io { path, source }
        };
        let aside = self.new_aside()?;
        for directory in [&self.log_path(), &self.snapshots_path()] {
            if directory.exists() {
                let name = directory.file_name().unwrap_or_default();
                fs::rename(directory, aside.join(name)).map_err(failed(directory))?;
            }
            fs::DirBuilder::new().mode(0o700).create(directory).map_err(failed(directory))?;
        }
        sync_parent(&self.log_path()).map_err(failed(&self.path))?;
        Ok(aside)
    }

    /// Moves one file out of the way; gives where it is now.
    ///
    /// # Errors
    /// `Io`: it can't be moved.
    pub fn set_file_aside(&self, name: &str) -> Result<PathBuf, DataDirectoryError> {
        let (path, aside) = (self.path.join(name), self.new_aside()?.join(name));
        let failed = |source| DataDirectoryError::Io { path: path.clone(), source };
        fs::rename(&path, &aside).map_err(failed)?;
        sync_parent(&path).map_err(failed)?;
        Ok(aside)
    }

    /// A new folder for what is damaged.
    fn new_aside(&self) -> Result<PathBuf, DataDirectoryError> {
        let names = (1u64..).map(|number| self.path.join(format!("{ASIDE}{number}")));
        let mut free = names.skip_while(|path| path.exists());
        let aside = free.next().unwrap_or_else(|| self.path.join(ASIDE));
        let made = fs::DirBuilder::new().mode(0o700).create(&aside);
        made.map_err(|source| DataDirectoryError::Io { path: aside.clone(), source })?;
        Ok(aside)
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the write-ahead log lies.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Where messages lie that memory has no room for.
    #[must_use]
    pub fn queues_path(&self) -> PathBuf {
        self.path.join("queues")
    }

    /// Where snapshots lie.
    #[must_use]
    pub fn snapshots_path(&self) -> PathBuf {
        self.path.join("snapshots")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_refused_until_it_is_released() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("data");
        let held = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(matches!(error, DataDirectoryError::InUse { .. }), "{error}");
        drop(held);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn what_is_set_aside_is_kept_and_each_time_elsewhere() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = DataDirectory::open(&temporary.path().join("data")).unwrap();
        for number in 1..3 {
            fs::write(directory.log_path().join("1.log"), number.to_string()).unwrap();
            let aside = directory.set_aside().unwrap();
            assert!(aside.ends_with(format!("damaged-{number}")));
            assert_eq!(fs::read_to_string(aside.join("log/1.log")).unwrap(), number.to_string());
            assert!(aside.join("snapshots").is_dir());
            assert_eq!(fs::read_dir(directory.log_path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn starts_are_counted_and_a_count_that_is_no_number_is_named() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("data");
        for expected in 1..4 {
            let directory = DataDirectory::open(&path).unwrap();
            assert_eq!(directory.count_start().unwrap(), expected);
        }
        fs::write(path.join("starts"), "?").unwrap();
        let error = DataDirectory::open(&path).unwrap().count_start().unwrap_err();
        assert!(error.to_string().ends_with("starts"), "{error}");
    }

    #[test]
    fn a_count_of_starts_that_is_none_is_set_aside_and_goes_on_above_all_before() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("data");
        let directory = DataDirectory::open(&path).unwrap();
        assert_eq!(directory.mend_starts(1_000).unwrap(), None);
        directory.count_start().unwrap();
        assert_eq!(directory.mend_starts(1_000).unwrap(), None);
        for damage in [&b"\xFF\xFE"[..], b"?", b""] {
            fs::write(path.join("starts"), damage).unwrap();
            let aside = directory.mend_starts(1_000).unwrap().unwrap();
            assert_eq!(fs::read(aside).unwrap(), damage);
            assert_eq!(directory.count_start().unwrap(), 1_001);
        }
        assert_eq!(count_set_aside(&path), 3);
    }
}
