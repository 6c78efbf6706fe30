//! Peer certificates for tests.

use broker::tls::{PeerTls, peer_server_name};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// A certificate authority for peers.
pub(crate) struct PeerCa {
    issuer: Issuer<'static, KeyPair>,
    anchor: CertificateDer<'static>,
    anchor_pem: String,
}

impl PeerCa {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "peers");
        let anchor = params.self_signed(&key).unwrap();
        let (anchor_pem, anchor) = (anchor.pem(), anchor.der().clone());
        Self { issuer: Issuer::new(params, key), anchor, anchor_pem }
    }

    /// What others trust it by, as a file has it.
    pub(crate) fn anchor_pem(&self) -> String {
        self.anchor_pem.clone()
    }

    /// A certificate for both sides of a connection with a host, and its key, as files have them.
    pub(crate) fn host_pem(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// TLS of a broker with this name in this cluster, trusting this authority.
    pub(crate) fn tls(&self, cluster_id: &str, name: &str) -> PeerTls {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![peer_server_name(cluster_id)]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut anchors = RootCertStore::empty();
        anchors.add(self.anchor.clone()).unwrap();
        PeerTls::new(chain, key, anchors).unwrap()
    }
}
