//! What differs between two looks at the manifests, and what was said of the objects before. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cluster::desired::{Edit, Statuses};
use super::manifest::{Identity, Kind, ManifestObject, Objects};

/// What differs between two states of the folder: which object, of which cluster, and in words.
pub(super) fn edits(before: &Objects, after: &Objects) -> Vec<(Identity, Option<String>, Edit)> {
    let mut edits = Vec::new();
    let edit = |verb, identity: &Identity, object: &ManifestObject, source: &str| {
        let edit = Edit {
            verb,
            kind: identity.kind.as_str(),
            name: identity.name.clone(),
            source: source.to_owned(),
        };
        (identity.clone(), object.cluster().map(str::to_owned), edit)
    };
    for (identity, stored) in after {
        match before.get(identity) {
            None => edits.push(edit("created", identity, &stored.object, &stored.source)),
            Some(old) if !old.object.is_same(&stored.object) => {
                edits.push(edit("changed", identity, &stored.object, &stored.source));
            }
            Some(_) => {}
        }
    }
    for (identity, stored) in before {
        if !after.contains_key(identity) {
            edits.push(edit("deleted", identity, &stored.object, &stored.source));
        }
    }
    edits
}

/// The statuses that objects had when they were written, by cluster.
pub(super) fn statuses_of(objects: &Objects) -> BTreeMap<Identity, Statuses> {
    let mut all: BTreeMap<Identity, Statuses> = BTreeMap::new();
    for (identity, stored) in objects {
        let Some(cluster) = stored.object.cluster() else { continue };
        let home = Identity {
            kind: Kind::Cluster,
            namespace: identity.namespace.clone(),
            name: cluster.to_owned(),
        };
        let statuses = all.entry(home).or_default();
        let name = identity.name.clone();
        match &stored.object {
            ManifestObject::Cluster(object) => statuses.cluster.clone_from(&object.status),
            ManifestObject::User(object) => {
                statuses.users.extend(object.status.clone().map(|status| (name, status)));
            }
            ManifestObject::Acl(object) => {
                statuses.acls.extend(object.status.clone().map(|status| (name, status)));
            }
            ManifestObject::Secret(_) => {}
        }
    }
    all
}

/// Objects alone: their statuses are kept once, by their cluster's task.
pub(super) fn without_statuses(mut objects: Objects) -> Objects {
    for stored in objects.values_mut() {
        match &mut stored.object {
            ManifestObject::Cluster(object) => Arc::make_mut(object).status = None,
            ManifestObject::User(object) => Arc::make_mut(object).status = None,
            ManifestObject::Acl(object) => Arc::make_mut(object).status = None,
            ManifestObject::Secret(_) => {}
        }
    }
    objects
}
