//! Reads PEM files, and notices when they were replaced.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use broker_config::{ClusterTlsPaths, TlsPaths};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::TlsError;

/// Longest file read: thousands of certificates, far above any chain.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The files of one broker; no placeholder is left in the paths.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// `None`: no listener has TLS.
    pub(super) server: Option<TlsPaths>,
    /// Those of listeners with files of their own, by their numbers.
    pub(super) own: Vec<(u8, TlsPaths)>,
    /// `None`: the broker stands alone, without peers and admin API.
    pub(super) cluster: Option<ClusterTlsPaths>,
}

impl TlsFiles {
    /// The files that the configuration names for `broker_name`: those of the listeners, and those
    /// of a member of a cluster. `None` when a path needs an ordinal and the name has none.
    #[must_use]
    pub fn new(
        server: Option<&TlsPaths>,
        cluster: Option<&ClusterTlsPaths>,
        broker_name: &str,
    ) -> Option<Self> {
        let cluster = match cluster {
            None => None,
            Some(files) => Some(ClusterTlsPaths {
                admin_ca: files.admin_ca.clone(),
                peer: files.peer.for_broker(broker_name)?,
            }),
        };
        Some(Self { server: server.cloned(), own: Vec::new(), cluster })
    }

    /// The same, and files that listeners have for themselves, by their numbers.
    #[must_use]
    pub fn with_own(self, own: impl IntoIterator<Item = (u8, TlsPaths)>) -> Self {
        Self { own: own.into_iter().collect(), ..self }
    }

    pub(super) fn server_mark(&self) -> FilesMark {
        let server = self.server.iter().flat_map(paths_of);
        FilesMark::of(server.chain(self.cluster.iter().map(|files| &files.admin_ca)))
    }

    pub(super) fn peer_mark(&self) -> FilesMark {
        let peer = self.cluster.iter().map(|files| &files.peer);
        FilesMark::of(peer.flat_map(|peer| [&peer.certificate, &peer.key, &peer.ca]))
    }
}

/// The files of listeners.
pub(super) fn paths_of(files: &TlsPaths) -> impl Iterator<Item = &PathBuf> {
    let own = [&files.server_certificate, &files.server_key].into_iter();
    own.chain(&files.client_ca).chain(&files.client_crl)
}

/// Reads a file, which may hold a key.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(Vec::new());
    (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLong { path: path.to_owned(), max: FILE_BYTES_MAX });
    }
    Ok(bytes)
}

/// The certificates of a PEM text, at least one.
pub(super) fn certificates(
    path: &Path,
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |reason: String| TlsError::Pem { path: path.to_owned(), what, reason };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| error(e.to_string()))?;
    if chain.is_empty() {
        return Err(error("there is no CERTIFICATE section".to_owned()));
    }
    Ok(chain)
}

/// The private key of a PEM text.
pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| TlsError::Pem {
        path: path.to_owned(),
        what: "private key",
        reason: e.to_string(),
    })
}

/// The revocation lists of a PEM text, at least one.
pub(super) fn revocation_lists(
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let what = "revocation list";
    let error = |reason: String| TlsError::Pem { path: path.to_owned(), what, reason };
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| error(e.to_string()))?;
    match lists.is_empty() {
        true => Err(error("there is no X509 CRL section".to_owned())),
        false => Ok(lists),
    }
}

/// The trust anchors of a PEM text, at least one.
pub(super) fn anchors(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "trust anchor", pem)? {
        roots.add(certificate).map_err(|e| TlsError::Pem {
            path: path.to_owned(),
            what: "trust anchor",
            reason: e.to_string(),
        })?;
    }
    Ok(roots)
}

/// What tells one state of a file from another, links followed. Kubernetes replaces a mounted
/// Secret by swapping the `..data` link, which changes the inode behind every path at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileMark {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

/// The state of several files; a missing file is a state too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FilesMark(Vec<Option<FileMark>>);

impl FilesMark {
    /// Looks at the files now.
    pub(super) fn of<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        Self(
            paths
                .into_iter()
                .map(|path| {
                    std::fs::metadata(path).ok().map(|meta| FileMark {
                        device: meta.dev(),
                        inode: meta.ino(),
                        length: meta.len(),
                        changed: (meta.mtime(), meta.mtime_nsec()),
                    })
                })
                .collect(),
        )
    }
}
