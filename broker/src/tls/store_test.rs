//! Files that fit are used; files that don't are reported and change nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{ClientCertificates, ClusterTlsPaths, PeerTlsPaths, TlsPaths};
use jiff::Timestamp;
use operator_pki::{
    Authority, AuthorityRequest, Leaf, LeafRequest, Purpose, ensure_authority, ensure_leaf,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn authority() -> Authority {
    let wanted = AuthorityRequest { cluster_name: "fleet".to_owned() };
    ensure_authority(None, &wanted, Timestamp::now()).unwrap().into_value()
}

fn leaf(authority: &Authority, wanted: &LeafRequest) -> Leaf {
    ensure_leaf(None, authority, wanted, Timestamp::now()).unwrap().into_value()
}

fn server_leaf(authority: &Authority) -> Leaf {
    leaf(authority, &LeafRequest::server("fleet", vec!["localhost".to_owned()], DAY))
}

struct Folder {
    folder: tempfile::TempDir,
    authority: Authority,
}

impl Folder {
    fn new() -> Self {
        let authority = authority();
        let this = Self { folder: tempfile::tempdir().unwrap(), authority };
        this.write_server(&server_leaf(&this.authority));
        let peer = LeafRequest::peer("fleet-0", "01KTEST", Vec::new(), DAY);
        let peer = leaf(&this.authority, &peer);
        this.write("peer.crt", peer.pair.certificate.as_bytes());
        this.write("peer.key", peer.pair.key.as_bytes());
        this.write("peer-ca.crt", peer.ca.as_bytes());
        this.write_anchor("client-ca.crt", Purpose::Client);
        this.write_anchor("admin-ca.crt", Purpose::Admin);
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        // As operators do: the new file replaces the old one in one step.
        let new = self.path("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.path(name)).unwrap();
    }

    fn write_anchor(&self, name: &str, purpose: Purpose) {
        self.write(name, self.authority.trust_anchor_pem(purpose).as_bytes());
    }

    fn write_server(&self, leaf: &Leaf) {
        self.write("tls.crt", leaf.pair.certificate.as_bytes());
        self.write("tls.key", leaf.pair.key.as_bytes());
    }

    fn files(&self) -> TlsFiles {
        let paths = TlsPaths {
            server_certificate: self.path("tls.crt"),
            server_key: self.path("tls.key"),
            client_ca: Some(self.path("client-ca.crt")),
            client_crl: None,
        };
        let cluster = ClusterTlsPaths {
            admin_ca: self.path("admin-ca.crt"),
            peer: PeerTlsPaths {
                certificate: self.path("peer.crt"),
                key: self.path("peer.key"),
                ca: self.path("peer-ca.crt"),
            },
        };
        TlsFiles::new(Some(&paths), Some(&cluster), "fleet-0").unwrap()
    }

    fn load(&self) -> TlsStore {
        TlsStore::load(self.files()).unwrap()
    }
}

fn fingerprint(store: &TlsStore) -> String {
    store.status().server.unwrap().fingerprint
}

fn any(store: &TlsStore) -> std::sync::Arc<rustls::ServerConfig> {
    std::sync::Arc::clone(store.listeners().for_listener(ClientCertificates::None).unwrap())
}

#[test]
fn the_status_names_what_is_served_and_trusted() {
    let folder = Folder::new();
    let status = folder.load().status();
    let pem = std::fs::read(folder.path("tls.crt")).unwrap();
    let facts = operator_pki::CertificateFacts::from_pem(&pem).unwrap();
    let server = status.server.unwrap();
    assert_eq!(server.fingerprint, facts.fingerprint);
    assert_eq!(server.not_after, facts.not_after.as_second());
    assert!(status.peer.is_some() && status.client_trust_digest.is_some());
    assert_ne!(status.client_trust_digest, status.admin_trust_digest);
    assert_eq!(status.last_reload_error, None);
}

#[test]
fn replaced_files_are_used_after_a_reload() {
    let folder = Folder::new();
    let store = folder.load();
    let (before, config) = (fingerprint(&store), any(&store));
    store.reload(false);
    assert_eq!(fingerprint(&store), before, "nothing has changed");
    folder.write_server(&server_leaf(&folder.authority));
    assert!(store.pending().is_some());
    store.reload(false);
    assert_ne!(fingerprint(&store), before);
    assert!(!std::sync::Arc::ptr_eq(&any(&store), &config));
    assert!(store.pending().is_none());
}

#[test]
fn a_certificate_without_its_key_is_reported_and_the_old_pair_stays() {
    let folder = Folder::new();
    let store = folder.load();
    let (before, config) = (fingerprint(&store), any(&store));
    let new = server_leaf(&folder.authority);
    folder.write("tls.crt", new.pair.certificate.as_bytes());
    store.reload(false);
    assert_eq!(fingerprint(&store), before);
    assert!(std::sync::Arc::ptr_eq(&any(&store), &config));
    let error = store.status().last_reload_error.unwrap();
    assert!(error.message.contains("tls.crt") && error.message.contains("tls.key"), "{error:?}");
    folder.write("tls.key", new.pair.key.as_bytes());
    store.reload(false);
    assert_ne!(fingerprint(&store), before);
    assert_eq!(store.status().last_reload_error, None, "mended");
}

#[test]
fn broken_peer_files_do_not_keep_a_server_certificate_out() {
    let folder = Folder::new();
    let store = folder.load();
    let before = fingerprint(&store);
    folder.write("peer.crt", b"not a certificate");
    folder.write_server(&server_leaf(&folder.authority));
    store.reload(false);
    assert_ne!(fingerprint(&store), before);
    assert!(store.status().last_reload_error.unwrap().message.contains("peer.crt"));
}

#[test]
fn a_missing_or_empty_file_is_named() {
    for name in ["tls.crt", "tls.key", "client-ca.crt", "admin-ca.crt", "peer.key", "peer-ca.crt"] {
        let folder = Folder::new();
        folder.write(name, b"");
        let error = TlsStore::load(folder.files()).unwrap_err();
        assert!(error.to_string().contains(name), "{name} is empty: {error}");
        std::fs::remove_file(folder.path(name)).unwrap();
        let error = TlsStore::load(folder.files()).unwrap_err();
        assert!(matches!(error, TlsError::Read { .. }), "{name} is missing: {error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_peer_certificate_without_its_key_is_refused_with_both_files_named() {
    let folder = Folder::new();
    let peer = LeafRequest::peer("fleet-0", "01KTEST", Vec::new(), DAY);
    folder.write("peer.key", leaf(&folder.authority, &peer).pair.key.as_bytes());
    let error = TlsStore::load(folder.files()).unwrap_err().to_string();
    assert!(error.contains("peer.crt") && error.contains("peer.key"), "{error}");
}

#[test]
fn a_link_that_is_swapped_is_a_change() {
    let folder = Folder::new();
    // As Kubernetes mounts a Secret: tls.crt -> ..data/tls.crt, ..data -> ..2026_01.
    let (old, new) = (folder.path("..old"), folder.path("..new"));
    for generation in [&old, &new] {
        std::fs::create_dir(generation).unwrap();
        let leaf = server_leaf(&folder.authority);
        std::fs::write(generation.join("tls.crt"), leaf.pair.certificate).unwrap();
        std::fs::write(generation.join("tls.key"), leaf.pair.key.as_bytes()).unwrap();
    }
    let link = |to: &Path, at: &str| {
        let _ = std::fs::remove_file(folder.path(at));
        std::os::unix::fs::symlink(to, folder.path(at)).unwrap();
    };
    link(&old, "..data");
    link(Path::new("..data/tls.crt"), "tls.crt");
    link(Path::new("..data/tls.key"), "tls.key");
    let store = folder.load();
    let before = fingerprint(&store);
    link(&new, "..data");
    store.reload(false);
    assert_ne!(fingerprint(&store), before);
}

#[test]
fn tickets_outlive_a_new_certificate_but_not_a_new_trust_anchor() {
    let folder = Folder::new();
    let store = folder.load();
    let optional = |store: &TlsStore| {
        let listeners = store.listeners();
        std::sync::Arc::clone(listeners.for_listener(ClientCertificates::Optional).unwrap())
    };
    let ticket = optional(&store).ticketer.encrypt(b"who it was").unwrap();
    assert!(any(&store).ticketer.decrypt(&ticket).is_none(), "taken by another kind of listener");
    folder.write_server(&server_leaf(&folder.authority));
    store.reload(false);
    assert!(optional(&store).ticketer.decrypt(&ticket).is_some());
    folder.write("client-ca.crt", authority().trust_anchor_pem(Purpose::Client).as_bytes());
    store.reload(false);
    assert!(optional(&store).ticketer.decrypt(&ticket).is_none());
}

#[test]
fn the_common_name_is_the_identity() {
    let authority = authority();
    let name_of = |name: &str| {
        let leaf = leaf(&authority, &LeafRequest::client(name, DAY));
        let der = CertificateDer::from_pem_slice(leaf.pair.certificate.as_bytes()).unwrap();
        common_name(&der).map(|name| name.to_string())
    };
    assert_eq!(name_of("pump/17").as_deref(), Some("pump/17"));
    assert_eq!(name_of("Pumpe-ü").as_deref(), Some("Pumpe-ü"));
    assert_eq!(common_name(&CertificateDer::from(vec![1, 2, 3])), None);
}
