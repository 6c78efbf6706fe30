//! The clusters that are prepared, and how to talk to their brokers. IO.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::{ObjectRef, Store};
use operator_api::MqttCluster;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::names::ADMIN_PORT;
use operator_pki::{Authority, SecretData};

use super::super::error::Error;
use super::super::scope::{AdminFactory, ClusterKey, Scope};
use super::certificates::Certificates;
use crate::broker_admin::{AdminIdentity, BrokerAdmin, BrokerEndpoint};

/// A cluster whose spec makes sense and whose certificates are there.
#[derive(Clone)]
pub(crate) struct Prepared {
    /// The cluster.
    pub cluster: Arc<ValidatedCluster>,
    /// Who issues its certificates; without its keys while those can't be used.
    pub authority: Arc<Authority>,
    /// Talks to its brokers.
    pub admin: Arc<dyn BrokerAdmin>,
    certificate: SecretData,
}

/// The clusters that are prepared.
pub(crate) struct Brokers {
    factory: AdminFactory,
    clusters: Store<MqttCluster>,
    prepared: Mutex<HashMap<ClusterKey, Prepared>>,
}

impl Brokers {
    /// None yet.
    #[must_use]
    pub(crate) fn new(factory: AdminFactory, clusters: Store<MqttCluster>) -> Self {
        Self { factory, clusters, prepared: Mutex::default() }
    }

    /// The cluster, once it is prepared; not what was prepared for an earlier one of its name.
    #[must_use]
    pub(crate) fn get(&self, key: &ClusterKey) -> Option<Prepared> {
        let cluster = self.clusters.get(&ObjectRef::new(&key.name).within(&key.namespace))?;
        let prepared = self.lock().get(key).cloned()?;
        let cluster_id = cluster.status.as_ref().and_then(|status| status.cluster_id.as_ref());
        let is_same = cluster.metadata.uid.as_ref() == Some(&prepared.cluster.uid)
            && cluster_id == Some(&prepared.cluster.cluster_id);
        is_same.then_some(prepared)
    }

    /// Forgets a cluster that is deleted.
    pub(crate) fn forget(&self, key: &ClusterKey) {
        self.lock().remove(key);
    }

    /// Prepares a cluster; connections to its brokers stay while the operator's certificate does,
    /// and when there is no other one that can be used.
    ///
    /// # Errors
    /// [`Error::NotPrepared`] or [`Error::AdminIdentity`].
    pub(super) fn prepare(
        &self,
        key: &ClusterKey,
        cluster: &Arc<ValidatedCluster>,
        certificates: &Certificates,
    ) -> Result<Prepared, Error> {
        let missing = || Error::NotPrepared { cluster: cluster.name.clone() };
        let authority = certificates.authority.clone().ok_or_else(missing)?;
        let mut all = self.lock();
        let before = all.get(key).filter(|before| {
            (&before.cluster.uid, &before.cluster.cluster_id) == (&cluster.uid, &cluster.cluster_id)
        });
        let (admin, certificate) = match (&certificates.admin, before) {
            (Some(wanted), Some(before)) if before.certificate == *wanted => before.client(),
            (Some(wanted), before) => match (self.connect(cluster, wanted), before) {
                (Ok(admin), _) => (admin, wanted.clone()),
                (Err(_), Some(before)) => before.client(),
                (Err(problem), None) => return Err(problem),
            },
            (None, Some(before)) => before.client(),
            (None, None) => return Err(missing()),
        };
        let (cluster, authority) = (Arc::clone(cluster), Arc::new(authority));
        let prepared = Prepared { cluster, authority, admin, certificate };
        all.insert(key.clone(), prepared.clone());
        Ok(prepared)
    }

    fn connect(
        &self,
        cluster: &ValidatedCluster,
        certificate: &SecretData,
    ) -> Result<Arc<dyn BrokerAdmin>, Error> {
        let identity = AdminIdentity::from_secret_data(certificate);
        let identity = identity.map_err(|error| Error::AdminIdentity {
            cluster: cluster.name.clone(),
            problem: error.to_string(),
        })?;
        Ok((self.factory)(identity))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterKey, Prepared>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Prepared {
    fn client(&self) -> (Arc<dyn BrokerAdmin>, SecretData) {
        (Arc::clone(&self.admin), self.certificate.clone())
    }
}

/// Where the admin API of a broker is; `None` while its pod has no address.
pub(crate) fn endpoint(
    scope: &Scope,
    cluster: &ValidatedCluster,
    ordinal: u16,
) -> Option<BrokerEndpoint> {
    let name = cluster.names.broker(ordinal);
    let pod = scope.caches.pods.get(&ObjectRef::<Pod>::new(&name).within(&cluster.namespace))?;
    let host = pod.status.as_ref()?.pod_ip.clone().filter(|address| !address.is_empty())?;
    Some(BrokerEndpoint { name, host, port: ADMIN_PORT, server_name: cluster.broker_host(ordinal) })
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use operator_core::cluster::{ClusterFacts, validate};
    use operator_pki::{AuthorityRequest, LeafRequest, ensure_authority, ensure_leaf};

    use super::*;
    use crate::test_support::FakeBrokers;

    fn cluster(uid: &str) -> MqttCluster {
        let spec = serde_json::from_value(serde_json::json!({"version": "0.1.0"})).unwrap();
        let mut cluster = MqttCluster::new("fleet", spec);
        cluster.metadata.namespace = Some("iot".into());
        cluster.metadata.uid = Some(uid.into());
        let status = serde_json::json!({"clusterID": format!("01{uid}")});
        cluster.status = Some(serde_json::from_value(status).unwrap());
        cluster
    }

    fn validated(uid: &str) -> Arc<ValidatedCluster> {
        let cluster_id = format!("01{uid}");
        let facts = ClusterFacts { cluster_id, ..ClusterFacts::default() };
        Arc::new(validate(&cluster(uid), &facts).unwrap())
    }

    fn certificates() -> Certificates {
        let now = jiff::Timestamp::now();
        let wanted = AuthorityRequest { cluster_name: "fleet".into() };
        let authority = ensure_authority(None, &wanted, now).unwrap().into_value();
        let wanted = LeafRequest::admin("mqtt-operator", std::time::Duration::from_hours(24));
        let leaf = ensure_leaf(None, &authority, &wanted, now).unwrap();
        let admin = Some(leaf.value().secret_data());
        Certificates { authority: Some(authority), admin, problems: Vec::new() }
    }

    #[test]
    fn a_cluster_that_is_made_again_gets_nothing_of_the_one_before() {
        let (reader, mut writer) = store();
        writer.apply_watcher_event(&Event::Apply(cluster("a")));
        let fake: Arc<FakeBrokers> = Arc::new(FakeBrokers::new("", &[]));
        let held = Arc::clone(&fake);
        let brokers = Brokers::new(Arc::new(move |_| Arc::clone(&held) as _), reader);
        let key = ClusterKey { namespace: "iot".into(), name: "fleet".into() };
        brokers.prepare(&key, &validated("a"), &certificates()).unwrap();
        assert!(brokers.get(&key).is_some());

        writer.apply_watcher_event(&Event::Apply(cluster("b")));
        assert!(brokers.get(&key).is_none());
        let none = Certificates { admin: None, ..certificates() };
        let refused = brokers.prepare(&key, &validated("b"), &none).map(drop);
        assert!(matches!(refused, Err(Error::NotPrepared { .. })), "{refused:?}");
    }

    #[test]
    fn a_client_stays_while_no_other_certificate_can_be_used() {
        let (reader, mut writer) = store();
        writer.apply_watcher_event(&Event::Apply(cluster("a")));
        let made = Arc::new(Mutex::new(0));
        let count = Arc::clone(&made);
        let factory: AdminFactory = Arc::new(move |_| {
            *count.lock().unwrap() += 1;
            Arc::new(FakeBrokers::new("", &[]))
        });
        let brokers = Brokers::new(factory, reader);
        let key = ClusterKey { namespace: "iot".into(), name: "fleet".into() };
        let good = certificates();
        brokers.prepare(&key, &validated("a"), &good).unwrap();
        brokers.prepare(&key, &validated("a"), &good).unwrap();
        let damaged = Certificates { admin: Some(SecretData::new()), ..certificates() };
        brokers.prepare(&key, &validated("a"), &damaged).unwrap();
        let gone = Certificates { admin: None, ..certificates() };
        brokers.prepare(&key, &validated("a"), &gone).unwrap();
        assert_eq!(*made.lock().unwrap(), 1);
        brokers.prepare(&key, &validated("a"), &certificates()).unwrap();
        assert_eq!(*made.lock().unwrap(), 2, "a new one is taken");
    }
}
