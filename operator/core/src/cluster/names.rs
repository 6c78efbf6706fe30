//! Names of a cluster's objects and brokers. Pure.

use std::collections::BTreeMap;

/// The label value and field manager by which the operator knows its own objects.
pub const MANAGER: &str = "mqtt-operator";
/// The label that says who manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// The label that names the cluster an object belongs to.
pub const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// The label that names what an object is part of.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// The value of [`NAME_LABEL`] on a broker's pod.
pub const BROKER_APP: &str = "mqtt-broker";
/// The label that a Secret needs for the operator to see it.
pub const WATCH_LABEL: &str = "mqtt.dunlin.io/watch";
/// The annotation of a pod template that changes when the brokers must be restarted.
pub const CONFIG_DIGEST_ANNOTATION: &str = "mqtt.dunlin.io/config-digest";
/// The annotation of a pod that says which version it runs.
pub const VERSION_ANNOTATION: &str = "mqtt.dunlin.io/version";
/// The port of the links between brokers.
pub const PEER_PORT: u16 = 7883;
/// The port of the admin API.
pub const ADMIN_PORT: u16 = 8443;
/// The most brokers that a cluster has.
pub const REPLICAS_MAX: u16 = 7;

/// Names of a cluster's objects and brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNames {
    name: String,
}

impl ClusterNames {
    /// The names of the cluster called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// The StatefulSet, one for the cluster's life.
    #[must_use]
    pub fn stateful_set(&self) -> String {
        self.name.clone()
    }

    /// The broker, and its pod, of an ordinal.
    #[must_use]
    pub fn broker(&self, ordinal: u16) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The ordinal of the broker, or pod, of this name; `None` for another cluster's.
    #[must_use]
    pub fn ordinal(&self, broker: &str) -> Option<u16> {
        let digits = broker.strip_prefix(&self.name)?.strip_prefix('-')?;
        let ordinal: u16 = digits.parse().ok()?;
        (ordinal.to_string() == digits).then_some(ordinal)
    }

    /// The headless Service by which brokers find each other.
    #[must_use]
    pub fn headless_service(&self) -> String {
        format!("{}-brokers", self.name)
    }

    /// The Role, and its RoleBinding, by which brokers may read where the others are.
    #[must_use]
    pub fn peer_discovery_role(&self) -> String {
        format!("{}-peer-discovery", self.name)
    }

    /// The Service in front of a listener.
    #[must_use]
    pub fn listener_service(&self, listener: &str) -> String {
        format!("{}-{listener}", self.name)
    }

    /// The ConfigMap with the brokers' configuration and trust anchors.
    #[must_use]
    pub fn config_map(&self) -> String {
        format!("{}-config", self.name)
    }

    /// The Secret with the authority's keys.
    #[must_use]
    pub fn ca_secret(&self) -> String {
        format!("{}-ca", self.name)
    }

    /// The Secret with `ca.crt` only, for devices.
    #[must_use]
    pub fn ca_bundle_secret(&self) -> String {
        format!("{}-ca-bundle", self.name)
    }

    /// The Secret with the certificate that brokers show to clients.
    #[must_use]
    pub fn server_secret(&self) -> String {
        format!("{}-server", self.name)
    }

    /// The Secret with the certificate of one broker towards the others.
    #[must_use]
    pub fn peer_secret(&self, ordinal: u16) -> String {
        format!("{}-peer-{ordinal}", self.name)
    }

    /// The Secret with the operator's certificate for the admin API.
    #[must_use]
    pub fn admin_secret(&self) -> String {
        format!("{}-admin", self.name)
    }

    /// The claim of a broker's volume.
    #[must_use]
    pub fn volume_claim(&self, ordinal: u16) -> String {
        format!("data-{}", self.broker(ordinal))
    }

    /// The labels that select the brokers' pods; they never change.
    #[must_use]
    pub fn selector_labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (NAME_LABEL.to_owned(), BROKER_APP.to_owned()),
            (INSTANCE_LABEL.to_owned(), self.name.clone()),
        ])
    }

    /// The labels of every object of the cluster.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector_labels();
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
        labels
    }

    /// The selector of the brokers' pods as one string.
    #[must_use]
    pub fn selector(&self) -> String {
        let labels = self.selector_labels();
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_read_back_from_names() {
        let names = ClusterNames::new("fleet-1");
        assert_eq!(names.ordinal(&names.broker(2)), Some(2));
        for foreign in ["fleet-1", "fleet-1-", "fleet-1-02", "fleet-2-0", "fleet-1-x", "a"] {
            assert_eq!(names.ordinal(foreign), None, "{foreign}");
        }
    }
}
