//! A Kubernetes API server in memory, behind `kube::Client`: enough of it to run whole controllers in milliseconds. What it
//! keeps to: resourceVersion and generation, 404 and 409, status as a subresource, server-side apply per field manager (lists
//! as a whole), merge and JSON patches, finalizers and deletionTimestamp, garbage collection by owner, list and watch with
//! label selectors. What it doesn't: schemas, defaults, admission, RBAC; those are tested against a real API server.

mod patch;
mod store;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use store::{Refused, Store};

/// Watch events that a slow watcher may be behind.
const EVENTS_MAX: usize = 1 << 16;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The server; clones share one state.
#[derive(Clone)]
pub struct MockApi {
    store: Arc<Mutex<Store>>,
    events: broadcast::Sender<(String, Value)>,
}

impl Default for MockApi {
    fn default() -> Self {
        Self::new()
    }
}

impl MockApi {
    /// An empty server.
    #[must_use]
    pub fn new() -> Self {
        Self { store: Arc::default(), events: broadcast::channel(EVENTS_MAX).0 }
    }

    /// A client of this server.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }

    /// The requests that wrote something since the server started, as "METHOD path".
    ///
    /// # Panics
    /// A request's handling panicked before.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.store.lock().expect("lock").writes.clone()
    }

    /// The object at a path such as `/api/v1/namespaces/iot/secrets/fleet-ca`.
    ///
    /// # Panics
    /// A request's handling panicked before.
    #[must_use]
    pub fn object(&self, path: &str) -> Option<Value> {
        self.store.lock().expect("lock").objects.get(path).cloned()
    }

    /// Creates or changes an object as something outside the controllers would (a kubelet's status, a person's edit).
    ///
    /// # Panics
    /// A request's handling panicked before.
    pub fn put(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.store.lock().expect("lock");
        let mut object =
            store.objects.get(path).cloned().unwrap_or_else(|| json!({"metadata": {}}));
        change(&mut object);
        let events = store.put(path, object);
        self.tell(events);
    }

    /// From now on requests whose "METHOD path" begins so are refused with 403, as by a missing right or a webhook.
    ///
    /// # Panics
    /// A request's handling panicked before.
    pub fn refuse(&self, request: &str) {
        self.store.lock().expect("lock").refused.push(request.to_owned());
    }

    /// Nothing is refused any more.
    ///
    /// # Panics
    /// A request's handling panicked before.
    pub fn allow_all(&self) {
        self.store.lock().expect("lock").refused.clear();
    }

    /// The requests that were refused since the server started, as "METHOD path".
    ///
    /// # Panics
    /// A request's handling panicked before.
    #[must_use]
    pub fn refusals(&self) -> Vec<String> {
        self.store.lock().expect("lock").refusals.clone()
    }

    /// The paths of all objects.
    ///
    /// # Panics
    /// A request's handling panicked before.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.store.lock().expect("lock").objects.keys().cloned().collect()
    }

    fn tell(&self, events: Vec<(String, Value)>) {
        for event in events {
            // No watcher yet is no failure.
            let _ = self.events.send(event);
        }
    }

    async fn handle(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let header = parts.headers.get("content-type").and_then(|v| v.to_str().ok());
        let request = format!("{} {path}", parts.method);
        if let Err(refused) = self.store.lock().expect("lock").check(&request) {
            return answer(refused.status, &refused.body());
        }
        if parts.method == Method::GET && query.contains("watch=true") {
            return self.watch(&path, &query);
        }
        let outcome = {
            let mut store = self.store.lock().expect("lock");
            match parts.method {
                Method::GET => {
                    store.read(&path, &selector(&query)).map(|found| (found, Vec::new()))
                }
                Method::POST => store.create(&path, body),
                Method::PUT => store.replace(&path, body),
                Method::PATCH => store.patch(&path, &query, header.unwrap_or_default(), &body),
                Method::DELETE => store.delete(&path, &body),
                _ => Err(Refused::bad_request("method")),
            }
        };
        match outcome {
            Ok((found, events)) => {
                self.tell(events);
                answer(StatusCode::OK, &found)
            }
            Err(refused) => answer(refused.status, &refused.body()),
        }
    }

    fn watch(&self, collection: &str, query: &str) -> Answer {
        let selector = selector(query);
        // Everything after the list's version that is already there comes first; then what happens.
        let from: u64 =
            parameter(query, "resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        let (backlog, receiver) = {
            let store = self.store.lock().expect("lock");
            (store.since(collection, &selector, from), self.events.subscribe())
        };
        let collection = collection.to_owned();
        let live = futures::stream::unfold(receiver, move |mut receiver| {
            let (collection, selector) = (collection.clone(), selector.clone());
            async move {
                loop {
                    let Ok((path, event)) = receiver.recv().await else { return None };
                    if store::is_in(&collection, &path)
                        && store::selected(&event["object"], &selector)
                    {
                        return Some((event, receiver));
                    }
                }
            }
        });
        let lines = futures::stream::iter(backlog).chain(live).map(|event| {
            Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(format!("{event}\n"))))
        });
        Response::new(BodyExt::boxed_unsync(StreamBody::new(lines.boxed())))
    }
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find(|(key, _)| *key == name)?.1;
    Some(decode(value))
}

/// The equality requirements of a labelSelector.
fn selector(query: &str) -> Vec<(String, String)> {
    let text = parameter(query, "labelSelector").unwrap_or_default();
    let one = |part: &str| {
        part.split_once('=').map(|(k, v)| (k.to_owned(), v.trim_start_matches('=').to_owned()))
    };
    text.split(',').filter_map(one).collect()
}

fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let hex: Vec<u8> = bytes.by_ref().take(2).collect();
        let text = String::from_utf8(hex).unwrap_or_default();
        out.push(u8::from_str_radix(&text, 16).unwrap_or(b'?'));
    }
    String::from_utf8(out).unwrap_or_default()
}
