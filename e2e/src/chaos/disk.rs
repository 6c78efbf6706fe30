//! A small disk for every broker's data, which can be filled: a file system in memory. Mounting one needs root.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::fault::BROKERS;
use super::network::is_left_over;
use crate::program::run;

/// Room for logs, snapshots, and several times what the run keeps.
const DISK_MEBIBYTES: u32 = 256;
/// What fills a disk.
const FILLER: &str = "filler";

/// The mounted disks; unmounted when dropped.
#[derive(Debug)]
pub(super) struct Disks(Vec<PathBuf>);

impl Drop for Disks {
    fn drop(&mut self) {
        for disk in &self.0 {
            if let Err(error) = run("umount", &[&disk.to_string_lossy()]) {
                eprintln!("{error:#}");
            }
        }
    }
}

impl Disks {
    /// Mounts a disk for each broker below `folder`.
    ///
    /// # Errors
    /// This user may not.
    pub(super) fn mount(folder: &Path) -> Result<Self> {
        let mut disks = Self(Vec::new());
        for node in 0..BROKERS {
            let disk = folder.join(format!("disk-{node}"));
            std::fs::create_dir(&disk)?;
            let size = format!("size={DISK_MEBIBYTES}m,mode=0700");
            let options = ["-t", "tmpfs", "-o", &size, "dunlin-chaos"];
            run("mount", &[&options[..], &[&disk.to_string_lossy()]].concat())?;
            disks.0.push(disk);
        }
        Ok(disks)
    }

    /// The folder for a broker's data.
    pub(super) fn data(&self, node: usize) -> PathBuf {
        self.0[node].join("data")
    }

    /// Leaves no room on the disk of a broker.
    ///
    /// # Errors
    /// The file that fills it can't be written, for another reason than that.
    pub(super) fn fill(&self, node: usize) -> Result<()> {
        let path = self.0[node].join(FILLER);
        let mut file = File::create(&path).with_context(|| format!("{}", path.display()))?;
        // The last bytes too.
        for chunk in [1 << 20, 4096, 1] {
            let zeros = vec![0; chunk];
            loop {
                match file.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("fill a disk"),
                }
            }
        }
        Ok(())
    }

    /// There is room again.
    ///
    /// # Errors
    /// The file can't be removed.
    pub(super) fn free(&self, node: usize) -> Result<()> {
        std::fs::remove_file(self.0[node].join(FILLER)).context("empty a disk")
    }
}

/// Unmounts and removes what a run left that was killed itself.
///
/// # Errors
/// It can't be unmounted or removed.
pub(super) fn remove_leftovers() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    for mounted in mounts.lines().filter_map(|line| line.split(' ').nth(1)) {
        let run_folder = Path::new(mounted).parent().and_then(Path::file_name);
        if run_folder.is_some_and(|name| is_left_over(&name.to_string_lossy())) {
            run("umount", &[mounted])?;
        }
    }
    Ok(())
}
