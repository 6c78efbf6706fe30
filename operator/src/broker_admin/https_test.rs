//! The client against an HTTPS server that asks for the operator's certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker_admin_api::{BootstrapRequest, ErrorBody, NodeId, Reason};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use operator_pki::{
    Authority, AuthorityRequest, LeafRequest, Purpose, SecretData, ensure_authority, ensure_leaf,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{AdminError, AdminIdentity, BrokerAdmin as _, BrokerEndpoint, HttpsAdmin};

const LIFETIME: Duration = Duration::from_secs(86_400);

fn authority() -> Authority {
    let wanted = AuthorityRequest { cluster_name: "fleet".into() };
    ensure_authority(None, &wanted, Timestamp::now()).unwrap().into_value()
}

fn leaf(authority: &Authority, wanted: &LeafRequest) -> SecretData {
    ensure_leaf(None, authority, wanted, Timestamp::now()).unwrap().value().secret_data()
}

fn client(authority: &Authority) -> HttpsAdmin {
    let data = leaf(authority, &LeafRequest::admin("mqtt-operator", LIFETIME));
    HttpsAdmin::new(AdminIdentity::from_secret_data(&data).unwrap())
}

fn server_config(authority: &Authority) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let anchor = authority.trust_anchor_pem(Purpose::Admin);
    roots.add(CertificateDer::from_pem_slice(anchor.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let names = vec!["localhost".to_owned()];
    let data = leaf(authority, &LeafRequest::server("fleet", names, LIFETIME));
    let chain = CertificateDer::pem_slice_iter(&data["tls.crt"]).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&data["tls.key"]).unwrap();
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain, key)
        .unwrap()
}

/// A server that answers everything with `status` and `body`, and counts its connections.
struct Server {
    endpoint: BrokerEndpoint,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(authority: &Authority, status: u16, body: String, keeps_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = TlsAcceptor::from(Arc::new(server_config(authority)));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (acceptor, body) = (acceptor.clone(), body.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let answer = move |_: Request<Incoming>| {
                        let body = Full::new(Bytes::from(body.clone()));
                        let status = StatusCode::from_u16(status).unwrap();
                        let response = Response::builder().status(status).body(body).unwrap();
                        std::future::ready(Ok::<_, std::convert::Infallible>(response))
                    };
                    let _ = hyper::server::conn::http1::Builder::new()
                        .keep_alive(keeps_open)
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .await;
                });
            }
        });
        let endpoint = BrokerEndpoint {
            name: "fleet-0".into(),
            host: "127.0.0.1".into(),
            port,
            server_name: "localhost".into(),
        };
        Self { endpoint, connections }
    }
}

fn accepted() -> String {
    r#"{"membership_log_index":3,"members":[]}"#.to_owned()
}

fn request() -> BootstrapRequest {
    BootstrapRequest { cluster_id: "01K".into(), node_id: NodeId(1) }
}

#[tokio::test]
async fn questions_share_one_connection() {
    let authority = authority();
    let server = Server::start(&authority, 200, accepted(), true).await;
    let admin = client(&authority);
    for _ in 0..3 {
        let answer = admin.bootstrap(&server.endpoint, &request()).await.unwrap();
        assert_eq!(answer.membership_log_index, 3);
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_connection_that_the_broker_closed_is_replaced() {
    let authority = authority();
    let server = Server::start(&authority, 200, accepted(), false).await;
    let admin = client(&authority);
    for _ in 0..3 {
        admin.bootstrap(&server.endpoint, &request()).await.unwrap();
    }
    assert_eq!(server.connections.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_refusal_keeps_its_reason() {
    let authority = authority();
    let body = serde_json::to_string(&ErrorBody::new(Reason::NotLeader, "ask fleet-2")).unwrap();
    let server = Server::start(&authority, 409, body, true).await;
    let error = client(&authority).bootstrap(&server.endpoint, &request()).await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::NotLeader));
    assert!(
        error.to_string().contains("fleet-0 refused") && error.to_string().contains("ask fleet-2")
    );
}

#[tokio::test]
async fn an_answer_that_is_none_is_told_as_such() {
    let authority = authority();
    for (status, body) in [(200, "<html>"), (500, "<html>"), (200, "")] {
        let server = Server::start(&authority, status, body.to_owned(), true).await;
        let error = client(&authority).status(&server.endpoint).await.unwrap_err();
        assert!(matches!(error, AdminError::Unexpected { .. }), "{status} {body}: {error}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_somebody_foreign() {
    let (ours, theirs) = (authority(), authority());
    let server = Server::start(&theirs, 200, accepted(), true).await;
    let error = client(&ours).status(&server.endpoint).await.unwrap_err();
    assert!(matches!(error, AdminError::Handshake { .. }), "{error}");
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        BrokerEndpoint { port, ..server.endpoint.clone() }
    };
    let error = client(&ours).status(&nobody).await.unwrap_err();
    assert!(matches!(error, AdminError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_broker_under_another_name_is_refused() {
    let authority = authority();
    let server = Server::start(&authority, 200, accepted(), true).await;
    let endpoint = BrokerEndpoint { server_name: "elsewhere.example".into(), ..server.endpoint };
    let error = client(&authority).status(&endpoint).await.unwrap_err();
    assert!(matches!(error, AdminError::Handshake { .. }), "{error}");
}

#[test]
fn a_damaged_certificate_is_named_by_its_entry() {
    let authority = authority();
    let good = leaf(&authority, &LeafRequest::admin("mqtt-operator", LIFETIME));
    for entry in ["tls.crt", "tls.key", "ca.crt"] {
        let mut data = good.clone();
        data.remove(entry);
        let error = AdminIdentity::from_secret_data(&data).unwrap_err().to_string();
        assert!(error.starts_with(entry), "{error}");
    }
    let mut data = good.clone();
    let other = leaf(&authority, &LeafRequest::admin("mqtt-operator", LIFETIME));
    data.insert("tls.key".into(), other["tls.key"].clone());
    assert!(AdminIdentity::from_secret_data(&data).is_err(), "a key of another certificate");
    assert_eq!(format!("{:?}", AdminIdentity::from_secret_data(&good).unwrap()), "AdminIdentity");
}
