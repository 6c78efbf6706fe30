//! Certificates of a cluster called `fleet`, issued by the operator's own code.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker_config::{ClusterTlsPaths, PeerTlsPaths, TlsPaths};
use jiff::Timestamp;
use operator_pki::{
    Authority, AuthorityRequest, Leaf, LeafRequest, Purpose, ensure_authority, ensure_leaf,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The cluster's id in every test.
pub(crate) const CLUSTER_ID: &str = "01KTEST";

const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and a folder with the files of brokers.
pub(crate) struct Pki {
    pub(crate) folder: PathBuf,
    authority: Authority,
}

impl Pki {
    /// Issues what brokers `fleet-0` to `fleet-<brokers - 1>` need.
    pub(crate) fn new(folder: &Path, brokers: usize) -> Self {
        let wanted = AuthorityRequest { cluster_name: "fleet".to_owned() };
        let authority = ensure_authority(None, &wanted, Timestamp::now()).unwrap().into_value();
        Self { folder: folder.to_owned(), authority }.with_files(brokers)
    }

    /// The files of no broker yet, in another folder, of the same authority.
    pub(crate) fn same_authority(&self, folder: &Path) -> Self {
        let authority = self.authority.clone();
        Self { folder: folder.to_owned(), authority }.with_files(0)
    }

    fn with_files(self, brokers: usize) -> Self {
        self.issue_server();
        for ordinal in 0..brokers {
            self.issue_peer(ordinal, CLUSTER_ID);
        }
        for purpose in [Purpose::Peer, Purpose::Admin, Purpose::Client] {
            let anchor = self.authority.trust_anchor_pem(purpose);
            self.write(&format!("{}-ca.crt", purpose.as_str()), anchor.as_bytes());
        }
        self
    }

    fn issue(&self, wanted: &LeafRequest) -> Leaf {
        ensure_leaf(None, &self.authority, wanted, Timestamp::now()).unwrap().into_value()
    }

    /// Issues the peer certificate of broker `fleet-<ordinal>` of a cluster.
    pub(crate) fn issue_peer(&self, ordinal: usize, cluster_id: &str) {
        let name = format!("fleet-{ordinal}");
        let leaf = self.issue(&LeafRequest::peer(&name, cluster_id, Vec::new(), DAY));
        self.write(&format!("peer-{ordinal}.crt"), leaf.pair.certificate.as_bytes());
        self.write(&format!("peer-{ordinal}.key"), leaf.pair.key.as_bytes());
    }

    /// Issues a server certificate and puts it in place; its fingerprint.
    pub(crate) fn issue_server(&self) -> String {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let leaf = self.issue(&LeafRequest::server("fleet", names, DAY));
        self.write("tls.crt", leaf.pair.certificate.as_bytes());
        self.write("tls.key", leaf.pair.key.as_bytes());
        leaf.facts.fingerprint
    }

    /// Replaces a file in one step.
    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let new = self.folder.join(format!("{name}.new"));
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.folder.join(name)).unwrap();
    }

    /// The files of the listeners.
    pub(crate) fn paths(&self) -> TlsPaths {
        let path = |name: &str| self.folder.join(name);
        TlsPaths {
            server_certificate: path("tls.crt"),
            server_key: path("tls.key"),
            client_ca: Some(path("client-ca.crt")),
            client_crl: None,
        }
    }

    /// The files of a member of the cluster.
    pub(crate) fn cluster_paths(&self) -> ClusterTlsPaths {
        let path = |name: &str| self.folder.join(name);
        ClusterTlsPaths {
            admin_ca: path("admin-ca.crt"),
            peer: PeerTlsPaths {
                certificate: path("peer-{ordinal}.crt"),
                key: path("peer-{ordinal}.key"),
                ca: path("peer-ca.crt"),
            },
        }
    }

    /// The root, which devices trust.
    pub(crate) fn root_pem(&self) -> &str {
        self.authority.root_pem()
    }

    /// Trusts the root, as devices do, and shows no certificate.
    pub(crate) fn device(&self) -> Arc<ClientConfig> {
        Arc::new(self.trusting().with_no_client_auth())
    }

    /// A device with a certificate in this name.
    pub(crate) fn device_named(&self, username: &str) -> Arc<ClientConfig> {
        self.with_leaf(&self.issue(&LeafRequest::client(username, DAY)))
    }

    /// The operator.
    pub(crate) fn administrator(&self) -> Arc<ClientConfig> {
        self.with_leaf(&self.issue(&LeafRequest::admin("operator", DAY)))
    }

    fn with_leaf(&self, leaf: &Leaf) -> Arc<ClientConfig> {
        let chain = CertificateDer::pem_slice_iter(leaf.pair.certificate.as_bytes());
        let chain = chain.collect::<Result<_, _>>().unwrap();
        let key = PrivateKeyDer::from_pem_slice(leaf.pair.key.as_bytes()).unwrap();
        Arc::new(self.trusting().with_client_auth_cert(chain, key).unwrap())
    }

    fn trusting(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.root_pem().as_bytes()).unwrap();
        roots.add(root).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    }
}
