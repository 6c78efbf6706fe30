//! Mosquitto's files, read from the disk. IO.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use broker_mosquitto::{Faults, Options, Source, Translation, translate};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::LoadError;
use crate::args::MosquittoArgs;

/// Longest file that is read, in bytes: a million users.
pub(super) const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A folder that goes with the process: for a broker that keeps nothing.
#[derive(Debug)]
pub(super) struct TransientFolder(PathBuf);

impl TransientFolder {
    /// Where one would be that nobody else has.
    pub(super) fn place() -> Result<PathBuf, LoadError> {
        let path = std::env::temp_dir();
        let mut random = [0; 8];
        match SystemRandom::new().fill(&mut random) {
            Ok(()) => Ok(path.join(format!("dunlin-{:016x}", u64::from_be_bytes(random)))),
            Err(_) => {
                let source = std::io::Error::other("the system gives no random numbers");
                Err(LoadError::TransientFolder { path, source })
            }
        }
    }

    /// Makes it, for this user alone.
    pub(super) fn create(path: PathBuf) -> Result<Self, LoadError> {
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(LoadError::TransientFolder { path, source }),
        }
    }
}

impl Drop for TransientFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a transient folder can't be removed");
        }
    }
}

/// What `import-mosquitto` prints.
#[derive(Debug)]
pub struct Imported {
    /// `broker.toml`.
    pub text: String,
    /// What will differ, a line each.
    pub warnings: Vec<String>,
}

/// Says a `mosquitto.conf` in the broker's own words.
///
/// # Errors
/// [`LoadError::Mosquitto`]: everything that is wrong with it, or can't be honoured and matters.
pub fn import_mosquitto(conf: &Path) -> Result<Imported, LoadError> {
    let args = MosquittoArgs { conf: Some(conf.to_owned()), ..MosquittoArgs::default() };
    let folder = Path::new("dunlin");
    // Who prints it need not be who runs it.
    let translation = translate_as(&args, folder, false)?;
    let mut warnings: Vec<String> = translation.warnings.iter().map(ToString::to_string).collect();
    if translation.config.data_dir == folder {
        warnings.push(
            "data_dir: without persistence and persistence_location it is a folder beside you; \
             choose another"
                .to_owned(),
        );
    }
    Ok(Imported { text: translation.config.render(), warnings })
}

pub(super) fn translate_mosquitto(
    args: &MosquittoArgs,
    transient_dir: &Path,
) -> Result<Translation, Faults> {
    translate_as(args, transient_dir, rustix::process::geteuid().is_root())
}

fn translate_as(
    args: &MosquittoArgs,
    transient_dir: &Path,
    is_root: bool,
) -> Result<Translation, Faults> {
    let options = Options { port: args.port, verbose: args.verbose, is_root, transient_dir };
    let path = args.conf.as_ref().map(|path| path.to_string_lossy());
    translate(path.as_deref(), &mut Disk, options)
}

/// The machine's files and names.
struct Disk;

impl Source for Disk {
    fn read(&mut self, path: &str) -> Result<String, String> {
        read_text(Path::new(path))
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(folder).map_err(|error| error.to_string())?;
        entries
            .map(|entry| match entry {
                Ok(entry) => Ok(entry.file_name().to_string_lossy().into_owned()),
                Err(error) => Err(error.to_string()),
            })
            .collect()
    }

    fn resolve(&mut self, host: &str) -> Result<IpAddr, String> {
        let mut found = (host, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        let address = found.next().ok_or_else(|| "the name has no address".to_owned())?;
        Ok(address.ip())
    }
}

/// A text file of bounded length.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes; shorten it"));
    }
    Ok(text)
}
