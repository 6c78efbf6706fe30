//! EndpointSlices as far as they matter here, and what a watch says of them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: String,
    resource_version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Slice {
    metadata: Metadata,
    /// May be `null`.
    endpoints: Option<Vec<Endpoint>>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    addresses: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct List {
    metadata: Metadata,
    items: Vec<Slice>,
}

#[derive(Debug, Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: serde_json::Value,
}

/// What the API server said can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SliceError {
    #[error("the API server's answer can't be read: {0}")]
    Malformed(String),
    /// As when the version to watch from is gone.
    #[error("the watch ended: {0}")]
    Ended(String),
}

/// The slices of one Service. Also endpoints that are not ready count: a broker is ready only once it
/// has found the others.
#[derive(Debug, Default)]
pub(super) struct Slices {
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Version to watch from.
    pub(super) version: String,
}

impl Slices {
    /// All of them, from a list.
    pub(super) fn of_list(json: &[u8]) -> Result<Self, SliceError> {
        let list: List = serde_json::from_slice(json).map_err(malformed)?;
        let mut slices = Self { version: list.metadata.resource_version, ..Self::default() };
        for slice in list.items {
            slices.put(slice);
        }
        Ok(slices)
    }

    /// Takes a line of a watch in.
    pub(super) fn take(&mut self, json: &[u8]) -> Result<(), SliceError> {
        let Event { kind, object } = serde_json::from_slice(json).map_err(malformed)?;
        if kind == "ERROR" {
            let message = object["message"].as_str().unwrap_or("no reason given");
            return Err(SliceError::Ended(message.to_owned()));
        }
        let slice: Slice = serde_json::from_value(object).map_err(malformed)?;
        self.version.clone_from(&slice.metadata.resource_version);
        match kind.as_str() {
            "ADDED" | "MODIFIED" => self.put(slice),
            "DELETED" => drop(self.addresses.remove(&slice.metadata.name)),
            // BOOKMARK: the version alone.
            _ => {}
        }
        Ok(())
    }

    fn put(&mut self, slice: Slice) {
        let endpoints = slice.endpoints.unwrap_or_default();
        let addresses = endpoints.into_iter().flat_map(|endpoint| endpoint.addresses);
        // Of slices with names there are no addresses.
        let addresses = addresses.filter_map(|address| address.parse().ok());
        self.addresses.insert(slice.metadata.name, addresses.collect());
    }

    /// `host:port` of every endpoint.
    pub(super) fn targets(&self, port: u16) -> BTreeSet<String> {
        let addresses = self.addresses.values().flatten();
        addresses.map(|address| std::net::SocketAddr::from((*address, port)).to_string()).collect()
    }
}

fn malformed(error: serde_json::Error) -> SliceError {
    SliceError::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = br#"{"metadata":{"resourceVersion":"7"},"items":[
        {"metadata":{"name":"a"},"addressType":"IPv4","endpoints":[
            {"addresses":["10.0.0.1"],"conditions":{"ready":false}},{"addresses":["10.0.0.2"]}]},
        {"metadata":{"name":"b"},"addressType":"FQDN","endpoints":[{"addresses":["x.example"]}]},
        {"metadata":{"name":"c"},"endpoints":null}]}"#;

    #[test]
    fn endpoints_are_found_ready_or_not_and_a_watch_changes_them() {
        let mut slices = Slices::of_list(LIST).unwrap();
        assert_eq!(slices.targets(7), ["10.0.0.1:7", "10.0.0.2:7"].map(str::to_owned).into());
        let event = |kind: &str, name: &str, address: &str| {
            format!(
                r#"{{"type":"{kind}","object":{{"metadata":{{"name":"{name}","resourceVersion":"9"}},
                "endpoints":[{{"addresses":["{address}"]}}]}}}}"#
            )
        };
        slices.take(event("ADDED", "d", "fd00::1").as_bytes()).unwrap();
        slices.take(event("DELETED", "a", "10.0.0.1").as_bytes()).unwrap();
        assert_eq!(slices.targets(7), ["[fd00::1]:7".to_owned()].into());
        assert_eq!(slices.version, "9");
        let bookmark = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12"}}}"#;
        slices.take(bookmark).unwrap();
        assert_eq!((slices.version.as_str(), slices.targets(7).len()), ("12", 1));
        let gone = br#"{"type":"ERROR","object":{"code":410,"message":"too old"}}"#;
        assert_eq!(slices.take(gone), Err(SliceError::Ended("too old".to_owned())));
        assert!(slices.take(b"{").is_err() && Slices::of_list(b"[]").is_err());
    }
}
