//! The certificates of a cluster in Secrets: kept while they serve, issued where they don't. IO.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::build::{TrustAnchors, metadata};
use operator_core::cluster::names::REPLICAS_MAX;
use operator_pki::{
    Authority, AuthorityRequest, Ensured, LeafRequest, SecretData, ensure_authority, ensure_leaf,
    given_authority,
};

use super::super::apply::{apply, ensure_controlled_by};
use super::super::error::Error;
use super::super::events;
use super::super::scope::{ClusterKey, Scope};

/// The certificates of a cluster.
pub(super) struct Certificates {
    /// Who issues them; without its keys while those can't be used. `None` when nothing is known of
    /// it.
    pub(super) authority: Option<Authority>,
    /// The operator's own certificate for the admin API; `None` when there is none.
    pub(super) admin: Option<SecretData>,
    /// What is wrong; what is there already stays in use.
    pub(super) problems: Vec<Error>,
}

/// Brings every Secret with certificates up to date, as far as that can be done.
pub(super) async fn ensure(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    now: Timestamp,
) -> Certificates {
    let mut problems = Vec::new();
    let authority = match authority(scope, key, cluster, now).await {
        Ok(authority) => Some(authority),
        Err(problem) => {
            problems.push(problem);
            authority_in_force(scope, cluster)
        }
    };
    let Some(authority) = authority else {
        return Certificates { authority: None, admin: None, problems };
    };
    let issuer = Issuer { scope, key, cluster, authority: &authority, now };
    for (secret, request) in leaves(cluster) {
        problems.extend(issuer.leaf(&secret, &request).await.err());
    }
    let request = LeafRequest::admin("mqtt-operator", cluster.leaf_lifetime);
    let secret = cluster.names.admin_secret();
    let admin = match issuer.leaf(&secret, &request).await {
        Ok(admin) => Some(admin),
        Err(problem) => {
            problems.push(problem);
            existing(scope, key, cluster, &secret).await.ok().flatten()
        }
    };
    let bundle = SecretData::from([("ca.crt".into(), authority.root_pem().as_bytes().to_vec())]);
    let name = cluster.names.ca_bundle_secret();
    problems.extend(store(scope, key, cluster, name, "Opaque", &bundle).await.err());
    problems.extend(forget_peers(scope, key, cluster).await.err());
    Certificates { authority: Some(authority), admin, problems }
}

/// The certificates that brokers show, with the Secrets that hold them.
fn leaves(cluster: &ValidatedCluster) -> Vec<(String, LeafRequest)> {
    let (names, lifetime) = (&cluster.names, cluster.leaf_lifetime);
    let server = LeafRequest::server(&cluster.name, cluster.server_names.clone(), lifetime);
    let peers = (0..cluster.replicas).map(|ordinal| {
        let broker = names.broker(ordinal);
        let request = LeafRequest::peer(&broker, &cluster.cluster_id, Vec::new(), lifetime);
        (names.peer_secret(ordinal), request)
    });
    std::iter::once((names.server_secret(), server)).chain(peers).collect()
}

async fn authority(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    now: Timestamp,
) -> Result<Authority, Error> {
    if let Some(given) = &cluster.authority_secret {
        let at = ObjectRef::new(given).within(&key.namespace);
        let Some(secret) = scope.caches.given_secrets.get(&at) else {
            return Err(Error::AuthorityMissing { secret: given.clone() });
        };
        // It is read and never written: renewing it is its owner's affair.
        return given_authority(&data_of(&secret), now)
            .map_err(|source| Error::Certificate { secret: given.clone(), source });
    }
    let wanted = AuthorityRequest { cluster_name: cluster.name.clone() };
    let name = cluster.names.ca_secret();
    let existing = existing(scope, key, cluster, &name).await?;
    let ensured = ensure_authority(existing.as_ref(), &wanted, now)
        .map_err(|source| Error::Certificate { secret: name.clone(), source })?;
    if let Ensured::Issued { value, reason } = &ensured {
        store(scope, key, cluster, name.clone(), "Opaque", &value.secret_data()).await?;
        events::certificate_issued(scope, cluster, &name, reason).await;
    }
    Ok(ensured.into_value())
}

/// What the brokers were last told of their authority: it recognises what was issued and issues
/// nothing.
fn authority_in_force(scope: &Scope, cluster: &ValidatedCluster) -> Option<Authority> {
    let at = ObjectRef::new(&cluster.names.config_map()).within(&cluster.namespace);
    let config_map = scope.caches.config_maps.get(&at)?;
    if !config_map.owner_references().iter().any(|owner| owner.uid == cluster.uid) {
        return None;
    }
    let trust = TrustAnchors::of(&config_map)?;
    let certificates = [
        ("root.crt", trust.root),
        ("client.crt", trust.client),
        ("admin.crt", trust.admin),
        ("peer.crt", trust.peer),
        ("server.crt", trust.server),
    ];
    let certificates = certificates.map(|(name, pem)| (name.to_owned(), pem)).into();
    Authority::without_keys(&certificates).ok()
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
        let existing = existing(scope, key, cluster, secret).await?;
        let ensured = ensure_leaf(existing.as_ref(), self.authority, request, self.now)
            .map_err(|source| Error::Certificate { secret: secret.to_owned(), source })?;
        let data = ensured.value().secret_data();
        if let Ensured::Issued { reason, .. } = &ensured {
            store(scope, key, cluster, secret.to_owned(), "kubernetes.io/tls", &data).await?;
            events::certificate_issued(scope, cluster, secret, reason).await;
        }
        Ok(data)
    }
}

/// What a Secret of ours holds. The cache may be behind a Secret that was just written, and issuing
/// anew over it would be harm, so one that is not in the cache is asked for. One that is not the
/// cluster's own is never read: its maker would be trusted by every broker.
async fn existing(
    scope: &Scope,
    key: &ClusterKey,
    cluster: &ValidatedCluster,
    name: &str,
) -> Result<Option<SecretData>, Error> {
    let at = ObjectRef::new(name).within(&key.namespace);
    if let Some(secret) = scope.caches.own_secrets.get(&at) {
        ensure_controlled_by(&*secret, &cluster.uid)?;
        return Ok(Some(data_of(&secret)));
    }
    let api = scope.api::<Secret>(&key.namespace);
    let found = api.get_opt(name).await;
    let found =
        found.map_err(super::super::error::kubernetes::<Secret>("read", &key.namespace, name))?;
    if let Some(found) = &found {
        ensure_controlled_by(found, &cluster.uid)?;
    }
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
