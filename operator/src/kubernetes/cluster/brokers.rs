//! The clusters that are prepared, and how to talk to their brokers. IO.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
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
    /// Who issues its certificates.
    pub authority: Arc<Authority>,
    /// Talks to its brokers.
    pub admin: Arc<dyn BrokerAdmin>,
    certificate: SecretData,
}

/// The clusters that are prepared.
pub(crate) struct Brokers {
    factory: AdminFactory,
    prepared: Mutex<HashMap<ClusterKey, Prepared>>,
}

impl Brokers {
    /// None yet.
    #[must_use]
    pub(crate) fn new(factory: AdminFactory) -> Self {
        Self { factory, prepared: Mutex::default() }
    }

    /// The cluster, once it is prepared.
    #[must_use]
    pub(crate) fn get(&self, key: &ClusterKey) -> Option<Prepared> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Forgets a cluster that is deleted.
    pub(crate) fn forget(&self, key: &ClusterKey) {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Prepares a cluster; connections to its brokers stay while the operator's certificate does.
    pub(super) fn prepare(
        &self,
        key: &ClusterKey,
        cluster: &Arc<ValidatedCluster>,
        certificates: &Certificates,
    ) -> Result<Prepared, Error> {
        let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(key).filter(|before| before.certificate == certificates.admin);
        let admin = match before {
            Some(before) => Arc::clone(&before.admin),
            None => {
                let identity = AdminIdentity::from_secret_data(&certificates.admin);
                (self.factory)(identity.map_err(|error| Error::AdminIdentity {
                    cluster: cluster.name.clone(),
                    problem: error.to_string(),
                })?)
            }
        };
        let prepared = Prepared {
            cluster: Arc::clone(cluster),
            authority: Arc::new(certificates.authority.clone()),
            admin,
            certificate: certificates.admin.clone(),
        };
        all.insert(key.clone(), prepared.clone());
        Ok(prepared)
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
