//! Files that one listener has for itself, and revocation lists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::{ClientCertificates, TlsPaths};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::{TlsFiles, TlsStore, common_name, subject_name};

/// An authority with its folder.
struct Ca {
    folder: PathBuf,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        std::fs::create_dir(&folder).unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        let this = Self { folder, certificate, issuer: Issuer::new(params, key) };
        this.issue_server();
        this
    }

    fn leaf(&self, params: &CertificateParams) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn issue_server(&self) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = self.leaf(&params);
        std::fs::write(self.folder.join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(self.folder.join("tls.key"), key.serialize_pem()).unwrap();
    }

    fn revoke(&self, serial: u64, next_year: i32) {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(next_year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).unwrap().pem().unwrap();
        std::fs::write(self.folder.join("crl"), list).unwrap();
    }

    fn paths(&self, has_list: bool) -> TlsPaths {
        TlsPaths {
            server_certificate: self.folder.join("tls.crt"),
            server_key: self.folder.join("tls.key"),
            client_ca: Some(self.folder.join("ca.crt")),
            client_crl: has_list.then(|| self.folder.join("crl")),
        }
    }

    /// A client that trusts this authority and shows a certificate of it.
    fn client(&self, serial: u64) -> Arc<ClientConfig> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        let (certificate, key) = self.leaf(&params);
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

/// Whether the two come to terms.
fn shake(server: Arc<ServerConfig>, client: &Arc<ClientConfig>) -> bool {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &bytes[..]).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &bytes[..]).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

const NONE: ClientCertificates = ClientCertificates::None;
const REQUIRED: ClientCertificates = ClientCertificates::Required;

#[test]
fn a_listener_shows_and_trusts_what_its_own_files_say_and_reads_them_again_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (base, own) = (Ca::new(folder.path(), "base"), Ca::new(folder.path(), "own"));
    let files = TlsFiles::new(Some(&base.paths(false)), None, "alone").unwrap();
    let store = TlsStore::load(files.with_own([(1, own.paths(false))])).unwrap();
    let shakes = |listener: u8, client: &Arc<ClientConfig>| {
        shake(store.listener(listener, REQUIRED).unwrap(), client)
    };
    let (of_base, of_own) = (base.client(1), own.client(1));
    for (listener, client, expected) in
        [(0, &of_base, true), (1, &of_own, true), (0, &of_own, false), (1, &of_base, false)]
    {
        assert_eq!(shakes(listener, client), expected, "{listener}");
    }
    let (first, second) = (store.listener(0, NONE).unwrap(), store.listener(1, NONE).unwrap());
    assert!(store.pending().is_none());
    own.issue_server();
    assert!(store.pending().is_some());
    store.reload(false);
    assert!(store.pending().is_none());
    assert!(Arc::ptr_eq(&store.listener(0, NONE).unwrap(), &first));
    let renewed = store.listener(1, NONE).unwrap();
    assert!(!Arc::ptr_eq(&renewed, &second) && shakes(1, &of_own));
    std::fs::write(own.folder.join("tls.crt"), "broken").unwrap();
    store.reload(true);
    assert!(Arc::ptr_eq(&store.listener(1, NONE).unwrap(), &renewed));
    assert!(!Arc::ptr_eq(&store.listener(0, NONE).unwrap(), &first), "all were read again");
    let error = store.status().last_reload_error.unwrap();
    assert!(error.message.contains("own/tls.crt"), "{error:?}");
}

#[test]
fn listeners_with_files_of_their_own_need_no_others_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let own = Ca::new(folder.path(), "own");
    let files = || TlsFiles::new(None, None, "alone").unwrap().with_own([(3, own.paths(true))]);
    let error = TlsStore::load(files()).unwrap_err().to_string();
    assert!(error.contains("own/crl"), "{error}");
    own.revoke(9, 2200);
    let store = TlsStore::load(files()).unwrap();
    assert!(store.listener(3, REQUIRED).is_some() && store.listener(0, NONE).is_none());
}

#[test]
fn a_certificate_that_a_list_names_is_refused_from_the_next_reading_on() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.revoke(1, 2200);
    let files = TlsFiles::new(Some(&ca.paths(true)), None, "alone").unwrap();
    let store = TlsStore::load(files).unwrap();
    let config = || store.listener(0, REQUIRED).unwrap();
    let (one, two) = (ca.client(1), ca.client(2));
    assert!(!shake(config(), &one) && shake(config(), &two));
    let ticket = config().ticketer.encrypt(b"who it was").unwrap();
    ca.revoke(2, 2200);
    store.reload(false);
    assert!(shake(config(), &one) && !shake(config(), &two));
    assert!(config().ticketer.decrypt(&ticket).is_none(), "nobody resumes around the list");
    ca.revoke(9, 2025);
    store.reload(false);
    assert!(!shake(config(), &one), "the list is out of date");
    std::fs::write(ca.folder.join("crl"), "no list").unwrap();
    store.reload(false);
    let error = store.status().last_reload_error.unwrap();
    assert!(error.message.contains("revocation list"), "{error:?}");
    // Who is not asked needs no list.
    assert!(shake(store.listener(0, NONE).unwrap(), &one));
}

#[test]
fn a_subject_is_written_as_openssl_writes_it() {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    let name = &mut params.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(DnType::CountryName, "DE");
    name.push(DnType::OrganizationName, "Smith, \"Sons\" + Co");
    name.push(DnType::OrganizationalUnitName, " a=b ");
    name.push(DnType::CommonName, "#Pümpe");
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    // openssl x509 -noout -subject -nameopt RFC2253
    let expected = r#"CN=\#P\C3\BCmpe,OU=\ a=b\ ,O=Smith\, \"Sons\" \+ Co,C=DE"#;
    assert_eq!(subject_name(certificate.der()).as_deref(), Some(expected));
    assert_eq!(common_name(certificate.der()).as_deref(), Some("#Pümpe"));
    assert_eq!(subject_name(&CertificateDer::from(vec![1])), None);
}
