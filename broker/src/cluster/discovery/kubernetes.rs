//! Finds peers by the EndpointSlices of a Service: list, then watch. IO.

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_config::{KubernetesPeers, Server};
use hyper::Method;

use super::Discovery;
use super::found::Finder;
use super::http::{Call, HttpError, call};
use super::slices::Slices;
use crate::tls::client_config;

/// Where a Pod has what it needs to talk to the API server.
const MOUNTED: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How long a watch goes on before all is listed again.
const WATCH_SECONDS: u64 = 240;

/// What a watch may take beyond that; the API server ends it itself.
const WATCH_GRACE: Duration = Duration::from_secs(20);

impl Discovery {
    /// Begins to watch the EndpointSlices of a Service, on the current runtime.
    #[must_use]
    pub fn kubernetes(peers: KubernetesPeers) -> Self {
        let (mut finder, found) = Finder::new("the Kubernetes API server");
        tokio::spawn(async move {
            while !finder.is_unwanted() {
                match watch(&peers, &mut finder).await {
                    Ok(()) => Finder::pause().await,
                    Err(problem) => finder.failed(problem).await,
                }
            }
        });
        Self::Watched(found)
    }
}

/// Lists and watches until the watch ends.
async fn watch(peers: &KubernetesPeers, finder: &mut Finder) -> Result<(), String> {
    let namespace = match &peers.namespace {
        Some(namespace) => namespace.clone(),
        None => text(&Path::new(MOUNTED).join("namespace"))?,
    };
    let access = Access::of(peers)?;
    let path = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=\
         kubernetes.io%2Fservice-name%3D{}",
        peers.service
    );
    let mut listed = access.get(&path).await.map_err(|e| explain(&e, "list", &namespace))?;
    let listed = listed.whole().await.map_err(|e| explain(&e, "list", &namespace))?;
    let mut slices = Slices::of_list(&listed).map_err(|error| error.to_string())?;
    finder.listed(slices.targets(peers.port));
    let path = format!(
        "{path}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={}",
        slices.version
    );
    let mut events = access.get(&path).await.map_err(|e| explain(&e, "watch", &namespace))?;
    finder.found(slices.targets(peers.port));
    let follow = async {
        while let Some(line) = events.line().await.map_err(|e| explain(&e, "watch", &namespace))? {
            slices.take(&line).map_err(|error| error.to_string())?;
            finder.found(slices.targets(peers.port));
        }
        Ok(())
    };
    let longest = Duration::from_secs(WATCH_SECONDS) + WATCH_GRACE;
    // One that says nothing for too long may be dead: all is listed again.
    tokio::time::timeout(longest, follow).await.unwrap_or(Ok(()))
}

/// Who is asked, and as whom.
struct Access {
    server: Server,
    tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    token: Option<String>,
}

impl Access {
    fn of(peers: &KubernetesPeers) -> Result<Self, String> {
        let server = match &peers.server {
            Some(server) => server.clone(),
            None => in_cluster()?,
        };
        let mounted = |name: &str| Path::new(MOUNTED).join(name);
        let ca_file = peers.ca_file.clone().unwrap_or_else(|| mounted("ca.crt"));
        let tls = match server.is_tls {
            true => Some(client_config(&ca_file, None).map_err(|error| chain(&error))?),
            false => None,
        };
        let token_file: PathBuf = peers.token_file.clone().unwrap_or_else(|| mounted("token"));
        let token = match server.is_tls {
            true => Some(text(&token_file)?),
            // Whoever forwards in plain text signs in by itself.
            false => None,
        };
        Ok(Self { server, tls, token })
    }

    async fn get(&self, path: &str) -> Result<super::http::Answer, HttpError> {
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let authorization = authorization.as_deref();
        let get = Call { method: Method::GET, path, authorization, body: Vec::new() };
        call(&self.server, self.tls.as_ref(), get).await
    }
}

fn in_cluster() -> Result<Server, String> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| {
            format!(
                "{name} is not set: this is no Pod, so name peers.discovery.kubernetes.server, \
                 token_file, ca_file and namespace"
            )
        })
    };
    let port = variable("KUBERNETES_SERVICE_PORT")?;
    let port = port.parse().map_err(|_| format!("KUBERNETES_SERVICE_PORT is {port:?}"))?;
    Ok(Server { is_tls: true, host: variable("KUBERNETES_SERVICE_HOST")?, port })
}

fn text(path: &Path) -> Result<String, String> {
    let read = std::fs::read_to_string(path);
    read.map(|text| text.trim().to_owned()).map_err(|error| {
        format!(
            "read {}: {error}; the Pod needs a service account with automountServiceAccountToken",
            path.display()
        )
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    crate::telemetry::Chain(error).to_string()
}

/// What to change when the API server refuses.
fn explain(error: &HttpError, verb: &str, namespace: &str) -> String {
    match error {
        HttpError::Refused { status: 403, .. } => format!(
            "the broker's service account may not {verb} endpointslices.discovery.k8s.io in namespace \
             {namespace}: give it a Role with the verbs get, list and watch; {error}"
        ),
        HttpError::Untrusted { .. } => format!(
            "the API server's certificate is not to be trusted by peers.discovery.kubernetes.ca_file (by \
             itself: the service account's): name the file of its authority there, and in server a host \
             that the certificate names; {error}"
        ),
        HttpError::Distrusts { .. } => format!(
            "the API server wants a client certificate, and brokers show a token: name one by \
             peers.discovery.kubernetes.server that takes tokens; {error}"
        ),
        HttpError::Refused { status: 401, .. } => format!(
            "the API server does not take the broker's token: mount one of the service account, or name \
             its file by peers.discovery.kubernetes.token_file; {error}"
        ),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_api_server_refuses_the_broker_says_what_to_change() {
        let (host, port, reason) = ("api".to_owned(), 443, "no".to_owned());
        let refused = |status| {
            let (host, body) = (host.clone(), "{}".to_owned());
            HttpError::Refused { host, port, status, body }
        };
        let untrusted = HttpError::Untrusted { host: host.clone(), port, reason: reason.clone() };
        let distrusts = HttpError::Distrusts { host: host.clone(), port, reason };
        for (error, said) in [
            (untrusted, "name the file of its authority there"),
            (distrusts, "that takes tokens"),
            (refused(401), "peers.discovery.kubernetes.token_file"),
            (
                refused(403),
                "watch endpointslices.discovery.k8s.io in namespace iot: give it a Role",
            ),
        ] {
            let explained = explain(&error, "watch", "iot");
            assert!(explained.contains(said) && explained.contains("api:443"), "{explained}");
        }
    }
}
