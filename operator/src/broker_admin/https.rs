//! The admin API over HTTPS with mutual TLS, on connections that are kept.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerStatus, DemoteRequest, DrainRequest, DrainStatus,
    ErrorBody, MembershipChanged, PolicyChangeApplied, PromoteRequest, RemoveRequest,
    TransferAccepted, TransferRequest, path,
};
use broker_policy::{BucketIndex, BucketKeys, PolicyChange, PolicyDigests};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{AdminError, AdminIdentity, Answer, BrokerAdmin, BrokerEndpoint};

/// From the first packet to the end of the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For a question.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// For a change: it waits for a commit, and for an election when the leader has just gone.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, in bytes: a bucket's keys of a policy with millions of records.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Connections kept to one broker while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 2;
/// Brokers to which connections are kept.
const BROKERS_MAX: usize = 256;

type Connection = SendRequest<Full<Bytes>>;

/// Speaks to brokers over HTTPS.
#[derive(Debug)]
pub struct HttpsAdmin {
    identity: AdminIdentity,
    idle: Mutex<HashMap<BrokerEndpoint, Vec<Connection>>>,
}

/// One question, before it is sent.
struct Question<'a> {
    broker: &'a BrokerEndpoint,
    method: Method,
    path: String,
    body: Bytes,
    timeout: Duration,
}

impl HttpsAdmin {
    /// A client with this certificate. Make a new one when the certificate was renewed.
    #[must_use]
    pub fn new(identity: AdminIdentity) -> Self {
        Self { identity, idle: Mutex::new(HashMap::new()) }
    }

    async fn get<T: DeserializeOwned>(
        &self,
        broker: &BrokerEndpoint,
        path: impl Into<String>,
    ) -> Result<T, AdminError> {
        let (method, path) = (Method::GET, path.into());
        let question = Question { broker, method, path, body: Bytes::new(), timeout: READ_TIMEOUT };
        self.ask(&question).await
    }

    async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        broker: &BrokerEndpoint,
        path: &str,
        body: &B,
    ) -> Result<T, AdminError> {
        let body = serde_json::to_vec(body).map_err(|error| AdminError::Request {
            broker: broker.name.clone(),
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        let question = Question {
            broker,
            method: Method::POST,
            path: path.to_owned(),
            body: body.into(),
            timeout: CHANGE_TIMEOUT,
        };
        self.ask(&question).await
    }

    async fn ask<T: DeserializeOwned>(&self, question: &Question<'_>) -> Result<T, AdminError> {
        let answered = tokio::time::timeout(question.timeout, self.exchange(question)).await;
        let (status, body) = answered.map_err(|_| AdminError::TimedOut {
            broker: question.broker.name.clone(),
            path: question.path.clone(),
            seconds: question.timeout.as_secs(),
        })??;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| unexpected(question, error.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(refusal) => Err(AdminError::Refused {
                broker: question.broker.name.clone(),
                path: question.path.clone(),
                body: Box::new(refusal),
            }),
            Err(_) => Err(unexpected(question, format!("HTTP status {status}"))),
        }
    }

    /// Sends on a kept connection, or on a new one when there is none or the kept one was closed meanwhile.
    async fn exchange(&self, question: &Question<'_>) -> Result<(StatusCode, Bytes), AdminError> {
        if let Some(mut connection) = self.take_idle(question.broker) {
            match self.send(&mut connection, question).await {
                // Nothing was sent on it: the broker had closed it.
                Err(AdminError::Http { source, .. }) if is_unsent(&source, &question.method) => {}
                outcome => {
                    self.keep(question.broker, connection, outcome.is_ok());
                    return outcome;
                }
            }
        }
        let mut connection = self.connect(question.broker).await?;
        let outcome = self.send(&mut connection, question).await;
        self.keep(question.broker, connection, outcome.is_ok());
        outcome
    }

    async fn send(
        &self,
        connection: &mut Connection,
        question: &Question<'_>,
    ) -> Result<(StatusCode, Bytes), AdminError> {
        let broken = |source| AdminError::Http { broker: question.broker.name.clone(), source };
        let request = Request::builder()
            .method(question.method.clone())
            .uri(&question.path)
            .header(header::HOST, &question.broker.server_name)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(question.body.clone()))
            .map_err(|error| AdminError::Request {
                broker: question.broker.name.clone(),
                path: question.path.clone(),
                problem: error.to_string(),
            })?;
        connection.ready().await.map_err(broken)?;
        let response = connection.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| unexpected(question, error.to_string()))?;
        Ok((status, body.to_bytes()))
    }

    async fn connect(&self, broker: &BrokerEndpoint) -> Result<Connection, AdminError> {
        let timed_out =
            |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 2 s");
        let refused = |source| AdminError::Connect { broker: broker.name.clone(), source };
        let stream = TcpStream::connect((broker.host.as_str(), broker.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, stream)
            .await
            .map_err(timed_out)
            .and_then(|connected| connected)
            .map_err(refused)?;
        stream.set_nodelay(true).map_err(refused)?;
        let failed = |source| AdminError::Handshake { broker: broker.name.clone(), source };
        let name = ServerName::try_from(broker.server_name.clone())
            .map_err(|error| failed(std::io::Error::other(error)))?;
        let handshake = TlsConnector::from(self.identity.config()).connect(name, stream);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, handshake)
            .await
            .map_err(timed_out)
            .and_then(|connected| connected)
            .map_err(failed)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| AdminError::Http { broker: broker.name.clone(), source })?;
        // It ends with the connection, or when the sender is dropped; its error reaches the sender.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn take_idle(&self, broker: &BrokerEndpoint) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let connections = idle.get_mut(broker)?;
        connections.retain(|connection| !connection.is_closed());
        connections.pop()
    }

    fn keep(&self, broker: &BrokerEndpoint, connection: Connection, is_usable: bool) {
        if !is_usable || connection.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() >= BROKERS_MAX && !idle.contains_key(broker) {
            idle.clear();
        }
        let connections = idle.entry(broker.clone()).or_default();
        if connections.len() < IDLE_CONNECTIONS_MAX {
            connections.push(connection);
        }
    }
}

/// Whether the same request may be sent again on another connection: it was not sent, or it changes nothing.
fn is_unsent(error: &hyper::Error, method: &Method) -> bool {
    error.is_canceled() || error.is_closed() || *method == Method::GET
}

fn unexpected(question: &Question<'_>, problem: String) -> AdminError {
    AdminError::Unexpected {
        broker: question.broker.name.clone(),
        path: question.path.clone(),
        problem,
    }
}

impl BrokerAdmin for HttpsAdmin {
    fn status<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, BrokerStatus> {
        Box::pin(self.get(broker, path::STATUS))
    }

    fn policy_digests<'a>(&'a self, broker: &'a BrokerEndpoint) -> Answer<'a, PolicyDigests> {
        Box::pin(self.get(broker, path::POLICY_DIGESTS))
    }

    fn policy_bucket<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        bucket: BucketIndex,
    ) -> Answer<'a, BucketKeys> {
        Box::pin(async move {
            let path = format!("{}/{bucket}", path::POLICY_BUCKETS);
            self.get(broker, path).await
        })
    }

    fn change_policy<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        change: &'a PolicyChange,
    ) -> Answer<'a, PolicyChangeApplied> {
        Box::pin(self.post(broker, path::POLICY_CHANGES, change))
    }

    fn bootstrap<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a BootstrapRequest,
    ) -> Answer<'a, MembershipChanged> {
        Box::pin(self.post(broker, path::BOOTSTRAP, request))
    }

    fn add_learner<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a AddLearnerRequest,
    ) -> Answer<'a, MembershipChanged> {
        Box::pin(self.post(broker, path::LEARNERS, request))
    }

    fn promote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a PromoteRequest,
    ) -> Answer<'a, MembershipChanged> {
        Box::pin(self.post(broker, path::VOTERS, request))
    }

    fn demote<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DemoteRequest,
    ) -> Answer<'a, MembershipChanged> {
        Box::pin(self.post(broker, path::DEMOTE, request))
    }

    fn remove<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a RemoveRequest,
    ) -> Answer<'a, MembershipChanged> {
        Box::pin(self.post(broker, path::REMOVE, request))
    }

    fn transfer<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a TransferRequest,
    ) -> Answer<'a, TransferAccepted> {
        Box::pin(self.post(broker, path::TRANSFER, request))
    }

    fn drain<'a>(
        &'a self,
        broker: &'a BrokerEndpoint,
        request: &'a DrainRequest,
    ) -> Answer<'a, DrainStatus> {
        Box::pin(self.post(broker, path::DRAIN, request))
    }
}
