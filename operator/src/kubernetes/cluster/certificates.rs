//! The certificates of a cluster in Secrets: kept while they serve, issued where they don't. IO.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::build::metadata;
use operator_core::cluster::names::REPLICAS_MAX;
use operator_pki::{
    Authority, AuthorityRequest, Ensured, LeafRequest, SecretData, ensure_authority, ensure_leaf,
};

use super::super::apply::apply;
use super::super::error::Error;
use super::super::events;
use super::super::scope::{ClusterKey, Scope};

/// The certificates of a cluster.
pub(super) struct Certificates {
    /// Who issues them.
    pub(super) authority: Authority,
    /// The operator's own certificate for the admin API.
    pub(super) admin: SecretData,
    /// What is wrong, each in words; what is there already stays in use.
    pub(super) problems: Vec<String>,
}

/// Brings every Secret with certificates up to date.
pub(super) async fn ensure(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    now: Timestamp,
) -> Result<Certificates, Error> {
    let authority = authority(scope, key, cluster, now).await?;
    let names = &cluster.names;
    let lifetime = cluster.leaf_lifetime;
    let mut leaves = vec![(
        names.server_secret(),
        LeafRequest::server(&cluster.name, cluster.server_names.clone(), lifetime),
    )];
    for ordinal in 0..cluster.replicas {
        let broker = names.broker(ordinal);
        let request = LeafRequest::peer(&broker, &cluster.cluster_id, Vec::new(), lifetime);
        leaves.push((names.peer_secret(ordinal), request));
    }
    let mut problems = Vec::new();
    let issuer = Issuer { scope, key, cluster, authority: &authority, now };
    for (secret, request) in leaves {
        if let Err(problem) = issuer.leaf(&secret, &request).await {
            problems.push(format!("{secret}: {}", problem.chain()));
        }
    }
    let admin_request = LeafRequest::admin("mqtt-operator", lifetime);
    let admin_secret = names.admin_secret();
    let admin = issuer.leaf(&admin_secret, &admin_request).await?;
    let bundle = SecretData::from([("ca.crt".into(), authority.root_pem().as_bytes().to_vec())]);
    store(scope, key, cluster, names.ca_bundle_secret(), "Opaque", &bundle).await?;
    forget_peers(scope, key, cluster).await?;
    Ok(Certificates { authority, admin, problems })
}

async fn authority(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    now: Timestamp,
) -> Result<Authority, Error> {
    let failed = |source| Error::Certificate { cluster: cluster.name.clone(), source };
    let wanted = AuthorityRequest { cluster_name: cluster.name.clone() };
    if let Some(given) = &cluster.authority_secret {
        let at = ObjectRef::new(given).within(&key.namespace);
        let data = scope.caches.given_secrets.get(&at).map(|secret| data_of(&secret));
        // It is read and never written: renewing it is its owner's affair.
        return Ok(ensure_authority(data.as_ref(), &wanted, now).map_err(failed)?.into_value());
    }
    let name = cluster.names.ca_secret();
    let existing = existing(scope, key, &name).await?;
    let ensured = ensure_authority(existing.as_ref(), &wanted, now).map_err(failed)?;
    if let Ensured::Issued { value, reason } = &ensured {
        store(scope, key, cluster, name.clone(), "Opaque", &value.secret_data()).await?;
        events::certificate_issued(scope, cluster, &name, reason).await;
    }
    Ok(ensured.into_value())
}

/// Issues the leaf certificates of one cluster.
struct Issuer<'a> {
    scope: &'a Scope,
    key: &'a ClusterKey,
    cluster: &'a ValidatedCluster,
    authority: &'a Authority,
    now: Timestamp,
}

impl Issuer<'_> {
    async fn leaf(&self, secret: &str, request: &LeafRequest) -> Result<SecretData, Error> {
        let Self { scope, key, cluster, .. } = *self;
        let existing = existing(scope, key, secret).await?;
        let ensured = ensure_leaf(existing.as_ref(), self.authority, request, self.now)
            .map_err(|source| Error::Certificate { cluster: cluster.name.clone(), source })?;
        let data = ensured.value().secret_data();
        if let Ensured::Issued { reason, .. } = &ensured {
            store(scope, key, cluster, secret.to_owned(), "kubernetes.io/tls", &data).await?;
            events::certificate_issued(scope, cluster, secret, reason).await;
        }
        Ok(data)
    }
}

/// What a Secret of ours holds. The cache may be behind a Secret that was just written, and issuing
/// anew over it would be harm, so one that is not in the cache is asked for.
async fn existing(
    scope: &Scope,
    key: &ClusterKey,
    name: &str,
) -> Result<Option<SecretData>, Error> {
    let at = ObjectRef::new(name).within(&key.namespace);
    if let Some(secret) = scope.caches.own_secrets.get(&at) {
        return Ok(Some(data_of(&secret)));
    }
    let api = scope.api::<Secret>(&key.namespace);
    let found = api.get_opt(name).await;
    let found =
        found.map_err(super::super::error::kubernetes::<Secret>("read", &key.namespace, name))?;
    Ok(found.as_ref().map(data_of))
}

async fn store(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    name: String,
    type_: &str,
    data: &SecretData,
) -> Result<(), Error> {
    let at = ObjectRef::new(&name).within(&key.namespace);
    let live = scope.caches.own_secrets.get(&at);
    let secret = Secret {
        metadata: metadata(cluster, name),
        type_: Some(type_.to_owned()),
        data: Some(data.iter().map(|(k, v)| (k.clone(), ByteString(v.clone()))).collect()),
        ..Secret::default()
    };
    apply(scope, &secret, live.as_deref()).await.map(drop)
}

/// Deletes the Secrets of brokers that are not wanted and not running any more.
async fn forget_peers(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
) -> Result<(), Error> {
    for ordinal in cluster.replicas..REPLICAS_MAX {
        let pod = ObjectRef::new(&cluster.names.broker(ordinal)).within(&key.namespace);
        let secret = ObjectRef::new(&cluster.names.peer_secret(ordinal)).within(&key.namespace);
        if scope.caches.pods.get(&pod).is_none()
            && let Some(secret) = scope.caches.own_secrets.get(&secret)
        {
            super::super::apply::delete(scope, &*secret).await?;
        }
    }
    Ok(())
}

/// The entries of a Secret.
pub(crate) fn data_of(secret: &Secret) -> SecretData {
    let data: Option<&BTreeMap<String, ByteString>> = secret.data.as_ref();
    data.into_iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
