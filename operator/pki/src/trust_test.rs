//! What a verifier makes of the certificates: each trust anchor accepts its own purpose only.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{Authority, AuthorityRequest, LeafRequest, Purpose, ensure_authority, ensure_leaf};

const LIFETIME: Duration = Duration::from_secs(90 * 86_400);
const NAME: &str = "01kabc.peer.dunlin";

fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authority() -> Authority {
    let wanted = AuthorityRequest { cluster_name: "fleet".to_owned() };
    ensure_authority(None, &wanted, now()).unwrap().into_value()
}

fn chain(authority: &Authority, purpose: Purpose) -> Vec<CertificateDer<'static>> {
    let names = vec![NAME.to_owned()];
    let wanted = LeafRequest { purpose, common_name: "fleet-0".into(), names, lifetime: LIFETIME };
    let leaf = ensure_leaf(None, authority, &wanted, now()).unwrap().into_value();
    certificates(&leaf.pair.certificate)
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

fn store(anchor: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(anchor) {
        roots.add(certificate).unwrap();
    }
    Arc::new(roots)
}

fn accepted_as_client(anchor: &str, chain: &[CertificateDer<'_>], at: Timestamp) -> bool {
    WebPkiClientVerifier::builder_with_provider(store(anchor), provider())
        .build()
        .unwrap()
        .verify_client_cert(&chain[0], &chain[1..], unix(at))
        .is_ok()
}

fn accepted_as_server(anchor: &str, chain: &[CertificateDer<'_>], name: &str) -> bool {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    WebPkiServerVerifier::builder_with_provider(store(anchor), provider())
        .build()
        .unwrap()
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], unix(now()))
        .is_ok()
}

#[test]
fn an_intermediate_as_trust_anchor_accepts_client_leaves_of_its_own_purpose_only() {
    let authority = authority();
    for anchor in [Purpose::Peer, Purpose::Client, Purpose::Admin] {
        for leaf in Purpose::ALL {
            let accepted = accepted_as_client(
                authority.trust_anchor_pem(anchor),
                &chain(&authority, leaf),
                now(),
            );
            assert_eq!(accepted, anchor == leaf, "anchor {anchor}, leaf {leaf}");
        }
    }
}

#[test]
fn the_root_accepts_as_a_server_only_what_was_issued_for_one() {
    let authority = authority();
    for leaf in Purpose::ALL {
        let accepted = accepted_as_server(authority.root_pem(), &chain(&authority, leaf), NAME);
        let is_server = matches!(leaf, Purpose::Server | Purpose::Peer);
        assert_eq!(accepted, is_server, "{leaf}");
    }
}

#[test]
fn a_dialling_peer_accepts_peers_of_its_own_cluster_only() {
    let authority = authority();
    let anchor = authority.trust_anchor_pem(Purpose::Peer);
    let peer = chain(&authority, Purpose::Peer);
    assert!(accepted_as_server(anchor, &peer, NAME));
    assert!(!accepted_as_server(anchor, &peer, "01kxyz.peer.dunlin"));
    assert!(!accepted_as_server(anchor, &chain(&authority, Purpose::Server), NAME));
}

#[test]
fn another_clusters_certificates_are_refused() {
    let (ours, theirs) = (authority(), authority());
    for purpose in Purpose::ALL {
        let chain = chain(&theirs, purpose);
        assert!(!accepted_as_client(ours.trust_anchor_pem(purpose), &chain, now()));
        assert!(!accepted_as_server(ours.root_pem(), &chain, NAME));
    }
}

#[test]
fn a_leaf_that_has_ended_is_refused() {
    let authority = authority();
    let chain = chain(&authority, Purpose::Client);
    let anchor = authority.trust_anchor_pem(Purpose::Client);
    let end = now() + jiff::SignedDuration::from_hours(90 * 24);
    assert!(accepted_as_client(anchor, &chain, end - jiff::SignedDuration::from_secs(1)));
    assert!(!accepted_as_client(anchor, &chain, end + jiff::SignedDuration::from_secs(1)));
}

#[test]
fn old_leaves_are_accepted_by_a_renewed_intermediate_and_new_ones_by_the_old() {
    let before = authority();
    let wanted = AuthorityRequest { cluster_name: "fleet".to_owned() };
    let later = now() + jiff::SignedDuration::from_hours(4 * 365 * 24);
    let after = ensure_authority(Some(&before.secret_data()), &wanted, later).unwrap();
    let after = after.into_value();
    let client = Purpose::Client;
    assert_ne!(before.trust_anchor_pem(client), after.trust_anchor_pem(client));
    assert!(accepted_as_client(after.trust_anchor_pem(client), &chain(&before, client), now()));
    assert!(accepted_as_client(before.trust_anchor_pem(client), &chain(&after, client), now()));
}
