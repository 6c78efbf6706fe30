//! Registers this broker in etcd under a lease, and finds its peers there. Over etcd's JSON gateway. IO.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use broker_config::{EtcdPeers, Server};
use hyper::Method;
use serde_json::{Value, json};

use super::Discovery;
use super::found::Finder;
use super::http::{Answer, Call, HttpError, call};
use crate::tls::client_config;

/// How long a watch goes on before all is read again.
const WATCH: Duration = Duration::from_secs(240);

/// The lease is renewed so many times before it would end.
const RENEWALS: u32 = 3;

impl Discovery {
    /// Registers the broker of this name and begins to watch the others, on the current runtime.
    #[must_use]
    pub fn etcd(peers: EtcdPeers, name: &str) -> Self {
        let (mut finder, found) = Finder::new("etcd");
        let name = name.to_owned();
        tokio::spawn(async move {
            let mut at = 0;
            while !finder.is_unwanted() {
                let endpoint = &peers.endpoints[at % peers.endpoints.len()];
                if let Err(problem) = serve(&peers, endpoint, &name, &mut finder).await {
                    finder.failed(problem).await;
                    at += 1;
                }
            }
        });
        Self::Watched(found)
    }
}

/// Registers, reads and watches by way of one member of etcd until something breaks.
async fn serve(
    peers: &EtcdPeers,
    endpoint: &Server,
    name: &str,
    finder: &mut Finder,
) -> Result<(), String> {
    let mut etcd = Etcd { endpoint: endpoint.clone(), tls: None, token: None };
    if let (true, Some(ca_file)) = (endpoint.is_tls, &peers.ca_file) {
        let config = client_config(ca_file, peers.identity.as_ref());
        etcd.tls = Some(config.map_err(|e| crate::telemetry::Chain(&e).to_string())?);
    }
    etcd.log_in(peers).await?;
    let grant = etcd.ask("/v3/lease/grant", &json!({ "TTL": peers.lease_seconds })).await?;
    let lease = grant["ID"].as_str().ok_or("etcd grants no lease")?.to_owned();
    let value = peers.advertise.replace("{name}", name);
    let put = json!({
        "key": encode(&format!("{}{name}", peers.prefix)),
        "value": encode(&value),
        "lease": lease,
    });
    etcd.ask("/v3/kv/put", &put).await?;
    tokio::select! {
        ended = etcd.renew(&lease, peers.lease_seconds) => ended,
        ended = etcd.follow(&peers.prefix, finder) => ended,
    }
}

struct Etcd {
    endpoint: Server,
    tls: Option<Arc<rustls::ClientConfig>>,
    token: Option<String>,
}

impl Etcd {
    async fn open(&self, path: &str, body: &Value) -> Result<Answer, String> {
        let authorization = self.token.as_deref();
        let body = body.to_string().into_bytes();
        let post = Call { method: Method::POST, path, authorization, body };
        call(&self.endpoint, self.tls.as_ref(), post).await.map_err(|error| explain(&error))
    }

    async fn ask(&self, path: &str, body: &Value) -> Result<Value, String> {
        let whole = self.open(path, body).await?.whole().await;
        let whole = whole.map_err(|error| explain(&error))?;
        serde_json::from_slice(&whole).map_err(|e| format!("etcd's answer to {path}: {e}"))
    }

    async fn log_in(&mut self, peers: &EtcdPeers) -> Result<(), String> {
        let Some((username, file)) = &peers.login else { return Ok(()) };
        let password = std::fs::read_to_string(file)
            .map_err(|error| format!("read {}: {error}", file.display()))?;
        let login = json!({ "name": username, "password": password.trim_end_matches('\n') });
        let answer = self.ask("/v3/auth/authenticate", &login).await?;
        self.token = answer["token"].as_str().map(str::to_owned);
        match self.token {
            Some(_) => Ok(()),
            None => Err("etcd gives no token for the user".to_owned()),
        }
    }

    /// Keeps the lease until that fails.
    async fn renew(&self, lease: &str, seconds: u32) -> Result<(), String> {
        loop {
            tokio::time::sleep(Duration::from_secs(seconds.into()) / RENEWALS).await;
            let answer = self.ask("/v3/lease/keepalive", &json!({ "ID": lease })).await?;
            // Without it the lease has ended.
            if answer["result"]["TTL"].as_str().is_none() {
                return Err("the lease has ended: this broker registers anew".to_owned());
            }
        }
    }

    /// Reads what is registered, and its changes, again and again.
    async fn follow(&self, prefix: &str, finder: &mut Finder) -> Result<(), String> {
        let (key, end) = (encode(prefix), encode(&end_of(prefix)));
        loop {
            let range = json!({ "key": key, "range_end": end });
            let found = self.ask("/v3/kv/range", &range).await?;
            let mut registered = Registered::default();
            for kv in found["kvs"].as_array().into_iter().flatten() {
                registered.put(kv);
            }
            finder.listed(registered.targets());
            let revision: u64 = found["header"]["revision"]
                .as_str()
                .and_then(|revision| revision.parse().ok())
                .ok_or("etcd names no revision")?;
            let from = (revision + 1).to_string();
            let create = json!({ "create_request": { "key": key, "range_end": end, "start_revision": from } });
            let events = self.open("/v3/watch", &create).await?;
            // One that says nothing for too long may be dead.
            let watched = watch(events, &mut registered, finder);
            tokio::time::timeout(WATCH, watched).await.unwrap_or(Ok(()))?;
            Finder::pause().await;
        }
    }
}

/// Follows the changes until all has to be read again.
async fn watch(
    mut events: Answer,
    registered: &mut Registered,
    finder: &mut Finder,
) -> Result<(), String> {
    while let Some(line) = events.line().await.map_err(|error| explain(&error))? {
        let event: Value =
            serde_json::from_slice(&line).map_err(|error| format!("etcd's watch: {error}"))?;
        if let Some(ended) = ended(&event) {
            return ended;
        }
        registered.take(&event["result"]["events"]);
        finder.found(registered.targets());
    }
    Err("etcd ended the watch".to_owned())
}

/// What an event says of the watch's end; `None`: it goes on.
fn ended(event: &Value) -> Option<Result<(), String>> {
    if let Some(error) = event.get("error") {
        return Some(Err(format!("etcd ends the watch: {error}")));
    }
    let result = &event["result"];
    if result["canceled"].as_bool() != Some(true) {
        return None;
    }
    if result["compact_revision"].as_str().is_some_and(|revision| revision != "0") {
        // What it would have begun with is gone from etcd's history.
        return Some(Ok(()));
    }
    let reason = result["cancel_reason"].as_str().unwrap_or("no reason is given");
    Some(Err(format!("etcd cancels the watch: {reason}")))
}

/// What to change when TLS fails.
fn explain(error: &HttpError) -> String {
    match error {
        HttpError::Untrusted { .. } => format!(
            "etcd's certificate is not to be trusted by peers.discovery.etcd.ca_file: name the file of \
             its authority there, and in endpoints a host that the certificate names; {error}"
        ),
        HttpError::Distrusts { .. } => format!(
            "etcd wants a certificate of an authority that it trusts: name one by \
             peers.discovery.etcd.certificate_file and key_file; {error}"
        ),
        error => error.to_string(),
    }
}

/// What the brokers have registered, by key.
#[derive(Debug, Default)]
struct Registered(BTreeMap<String, String>);

impl Registered {
    fn put(&mut self, kv: &Value) {
        let text = |name: &str| decode(kv[name].as_str().unwrap_or_default());
        if let (Some(key), Some(value)) = (text("key"), text("value")) {
            self.0.insert(key, value);
        }
    }

    fn take(&mut self, events: &Value) {
        for event in events.as_array().into_iter().flatten() {
            match event["type"].as_str() {
                Some("DELETE") => {
                    let key = event["kv"]["key"].as_str().and_then(decode);
                    key.and_then(|key| self.0.remove(&key));
                }
                _ => self.put(&event["kv"]),
            }
        }
    }

    fn targets(&self) -> std::collections::BTreeSet<String> {
        self.0.values().cloned().collect()
    }
}

fn encode(text: &str) -> String {
    BASE64.encode(text)
}

fn decode(text: &str) -> Option<String> {
    String::from_utf8(BASE64.decode(text).ok()?).ok()
}

/// The first key behind all that begin with `prefix`, which ends with a slash.
fn end_of(prefix: &str) -> String {
    format!("{}0", prefix.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_registered_follows_the_events() {
        let kv = |key: &str, value: &str| json!({ "key": encode(key), "value": encode(value) });
        let mut registered = Registered::default();
        registered.put(&kv("/d/a", "a:1"));
        registered.take(&json!([
            { "kv": kv("/d/b", "b:1") },
            { "type": "PUT", "kv": kv("/d/a", "a:2") },
            { "type": "DELETE", "kv": { "key": encode("/d/b") } },
            { "kv": { "key": "%", "value": "%" } },
        ]));
        assert_eq!(registered.targets(), ["a:2".to_owned()].into());
        registered.take(&Value::Null);
    }

    #[test]
    fn a_watch_goes_on_from_a_new_list_only_where_its_beginning_is_gone() {
        assert_eq!(ended(&json!({ "result": { "created": true } })), None);
        let compacted = json!({ "result": { "canceled": true, "compact_revision": "7" } });
        assert_eq!(ended(&compacted), Some(Ok(())));
        let denied = json!({ "result": { "created": true, "canceled": true,
            "cancel_reason": "permission denied" } });
        let reason = ended(&denied).unwrap().unwrap_err();
        assert!(reason.contains("permission denied"), "{reason}");
        assert!(ended(&json!({ "error": { "message": "gone" } })).unwrap().is_err());
    }

    #[test]
    fn the_range_is_that_of_the_prefix() {
        let prefix = "/dunlin/fleet/brokers/";
        let end = end_of(prefix);
        for (key, is_within) in [("a", true), ("zz", true), ("\u{7f}", true)] {
            let key = format!("{prefix}{key}");
            assert_eq!(key.as_str() >= prefix && key < end, is_within, "{key}");
        }
        assert!("/dunlin/fleet/brokers2/a" >= end.as_str());
    }
}
