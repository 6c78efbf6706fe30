//! The certificates of a cluster that runs for a test or a benchmark, issued by the operator's own code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use operator_pki::{
    Authority, AuthorityRequest, Leaf, LeafRequest, Purpose, ensure_authority, ensure_leaf,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use super::{CLUSTER_ID, CLUSTER_NAME};

/// How long a certificate holds: far longer than any run.
const HOLDS: Duration = Duration::from_secs(7 * 86_400);

/// An authority, and the folder with its files.
pub(super) struct Files {
    folder: PathBuf,
    authority: Authority,
}

impl Files {
    /// Issues what `brokers` brokers need whose clients know them by one of `names`.
    ///
    /// # Errors
    /// A file can't be written.
    pub(super) fn issue(folder: &Path, brokers: usize, names: Vec<String>) -> Result<Self> {
        let wanted = AuthorityRequest { cluster_name: CLUSTER_NAME.to_owned() };
        let authority = ensure_authority(None, &wanted, Timestamp::now())
            .context("make an authority")?
            .into_value();
        let files = Self { folder: folder.to_owned(), authority };
        files.write_leaf("server", &LeafRequest::server(CLUSTER_NAME, names, HOLDS))?;
        for ordinal in 0..brokers {
            let name = format!("{CLUSTER_NAME}-{ordinal}");
            let leaf = LeafRequest::peer(&name, CLUSTER_ID, Vec::new(), HOLDS);
            files.write_leaf(&format!("peer-{ordinal}"), &leaf)?;
        }
        for purpose in [Purpose::Peer, Purpose::Admin, Purpose::Client] {
            let anchor = files.authority.trust_anchor_pem(purpose);
            files.write(&format!("{}-ca.crt", purpose.as_str()), anchor.as_bytes())?;
        }
        files.write("ca.crt", files.authority.root_pem().as_bytes())?;
        Ok(files)
    }

    /// The root, which clients trust.
    pub(super) fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// What the operator shows and trusts.
    ///
    /// # Errors
    /// A certificate can't be issued.
    pub(super) fn administrator(&self) -> Result<Arc<ClientConfig>> {
        let leaf = self.leaf(&LeafRequest::admin("operator", HOLDS))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.root_pem().as_bytes())?)?;
        let chain = CertificateDer::pem_slice_iter(leaf.pair.certificate.as_bytes())
            .collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(leaf.pair.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        Ok(Arc::new(config))
    }

    fn leaf(&self, wanted: &LeafRequest) -> Result<Leaf> {
        let leaf = ensure_leaf(None, &self.authority, wanted, Timestamp::now());
        Ok(leaf.context("issue a certificate")?.into_value())
    }

    fn write_leaf(&self, name: &str, wanted: &LeafRequest) -> Result<()> {
        let leaf = self.leaf(wanted)?;
        self.write(&format!("{name}.crt"), leaf.pair.certificate.as_bytes())?;
        self.write(&format!("{name}.key"), leaf.pair.key.as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }
}
