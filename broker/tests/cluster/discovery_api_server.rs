//! Peers that are found by way of a real Kubernetes API server, over TLS and with a token.

use std::path::PathBuf;
use std::sync::Arc;

use broker::cluster::Discovery;
use broker_config::{KubernetesPeers, Server};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::node::eventually;
use crate::optional::left_out;

/// What `e2e/apiserver.sh` writes into its kubeconfig.
struct Admin {
    port: u16,
    ca: PathBuf,
    token: String,
}

impl Admin {
    fn read() -> Option<Self> {
        let Some(path) = std::env::var_os("DUNLIN_TEST_APISERVER") else {
            left_out("DUNLIN_TEST_APISERVER names no kubeconfig");
            return None;
        };
        let text = std::fs::read_to_string(path).unwrap();
        let behind = |key: &str| {
            let rest = &text[text.find(key).unwrap() + key.len()..];
            rest.trim_start().trim_start_matches('"').split('"').next().unwrap().to_owned()
        };
        let port = behind("server:").rsplit(':').next().unwrap().parse().unwrap();
        Some(Self { port, ca: behind("certificate-authority:").into(), token: behind("token:") })
    }

    /// Asks as the administrator; the status.
    async fn ask(&self, method: &str, path: &str, body: &str) -> u16 {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.ca).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tcp = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: api\r\nconnection: close\r\n\
             authorization: Bearer {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        tls.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Not every server says goodbye.
        let _ = tls.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn a_real_api_server_is_listed_and_watched_and_a_wrong_token_is_named() {
    let Some(admin) = Admin::read() else { return };
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "wrong").unwrap();
    let service = format!("fleet-{}", std::process::id());
    let server = Server { is_tls: true, host: "127.0.0.1".to_owned(), port: admin.port };
    let mut discovery = Discovery::kubernetes(KubernetesPeers {
        service: service.clone(),
        port: 7000,
        namespace: Some("default".to_owned()),
        server: Some(server),
        token_file: Some(token_file.clone()),
        ca_file: Some(admin.ca.clone()),
    });
    let Discovery::Watched(found) = &mut discovery else { panic!("no watch") };
    eventually("the wrong token is named", || {
        found.now().1.is_some_and(|problem| problem.contains("does not take the broker's token"))
    })
    .await;
    std::fs::write(&token_file, format!("{}\n", admin.token)).unwrap();
    eventually("the list is read", || found.now().1.is_none()).await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = format!(
        r#"{{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","addressType":"IPv4",
        "metadata":{{"name":"{service}","labels":{{"kubernetes.io/service-name":"{service}"}}}},
        "endpoints":[{{"addresses":["10.1.2.3"],"conditions":{{"ready":false}}}}],"ports":[]}}"#
    );
    assert_eq!(admin.ask("POST", slices, &slice).await, 201);
    eventually("it is found", || found.now().0.contains("10.1.2.3:7000")).await;
    assert_eq!(admin.ask("DELETE", &format!("{slices}/{service}"), "").await, 200);
    eventually("it is gone", || found.now().0.is_empty()).await;
    assert_eq!(found.now().1, None);
}
