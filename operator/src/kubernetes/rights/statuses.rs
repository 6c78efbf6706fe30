//! Writes the statuses of users and rules that differ. IO.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use operator_api::{MqttAcl, MqttAclStatus, MqttCluster, MqttUser, MqttUserStatus};
use operator_core::acl::{self, AclStatusInput};
use operator_core::news::{Said, news};
use operator_core::policy::{AclFacts, CompiledPolicy, Enforcement, Problem, Progress};
use operator_core::user::status::{self as user_status, UserStatusInput};

use super::super::apply::{Applicable, write_status};
use super::super::scope::Scope;
use super::credentials::AllCredentials;
use super::events::{Events, ObjectNews};

/// How many statuses are written at the same time.
const WRITES_AT_ONCE: usize = 16;

/// The users and rules that name one cluster, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    pub(super) users: Vec<Arc<MqttUser>>,
    pub(super) acls: Vec<Arc<MqttAcl>>,
}

impl Objects {
    /// Whether they are the very same, not only equal.
    pub(super) fn are(&self, other: &Self) -> bool {
        fn are<K>(one: &[Arc<K>], other: &[Arc<K>]) -> bool {
            one.len() == other.len() && one.iter().zip(other).all(|(o, t)| Arc::ptr_eq(o, t))
        }
        are(&self.users, &other.users) && are(&self.acls, &other.acls)
    }
}

/// Writes statuses and says what changed.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    users: Written<MqttUserStatus>,
    acls: Written<MqttAclStatus>,
    events: Events,
}

/// The statuses that were written but that the cache does not show yet, by the object's name, with
/// the version of the object that it showed. Nothing is written or said twice for that.
#[derive(Debug)]
struct Written<S>(HashMap<String, (Option<String>, S)>);

impl<S> Default for Written<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<S> Written<S> {
    /// The status of an object until now.
    fn before<'a, K: Resource>(&'a self, object: &K, shown: Option<&'a S>) -> Option<&'a S> {
        let metadata = object.meta();
        let written = metadata.name.as_ref().and_then(|name| self.0.get(name));
        let is_ahead = |(version, _): &&(_, S)| *version == metadata.resource_version;
        written.filter(is_ahead).map(|(_, status)| status).or(shown)
    }

    /// Forgets those that the cache shows, and objects that are gone.
    fn retain<K: Resource>(&mut self, objects: &[Arc<K>]) {
        if self.0.is_empty() {
            return;
        }
        let mut written = std::mem::take(&mut self.0);
        for metadata in objects.iter().map(|object| object.meta()) {
            let Some((name, version, status)) = metadata.name.as_ref().and_then(|name| {
                let (name, (version, status)) = written.remove_entry(name)?;
                Some((name, version, status))
            }) else {
                continue;
            };
            if version == metadata.resource_version {
                self.0.insert(name, (version, status));
            }
        }
    }
}

impl Statuses {
    /// Writes the statuses that differ.
    pub(super) async fn write(
        &mut self,
        scope: &Scope,
        cluster: &Arc<MqttCluster>,
        objects: &Objects,
        (compiled, credentials): (&CompiledPolicy, &AllCredentials),
        progress: &Progress,
    ) {
        let now = Timestamp::now();
        let user = |user: &MqttUser, before: Option<&MqttUserStatus>| {
            let name = user.metadata.name.as_ref()?;
            let known = credentials.get(name)?;
            let facts = compiled.users.get(name);
            let enforcement = progress.of_user(before, user.metadata.generation, facts);
            user_status::changed(&UserStatusInput {
                user,
                before,
                credentials: known.problem.as_ref(),
                certificate: known.certificate.as_ref(),
                facts,
                enforcement: &enforcement,
                now,
            })
        };
        let acl = |acl: &MqttAcl, before: Option<&MqttAclStatus>| {
            let facts = compiled.acls.get(acl.metadata.name.as_ref()?);
            let enforcement = progress.of_acl(before, acl.metadata.generation, facts);
            let input = AclStatusInput { acl, before, facts, enforcement: &enforcement, now };
            acl::changed(&input)
        };
        self.put(scope, Some(cluster), objects, user, acl).await;
    }

    /// Says of all users and rules that nothing can be done with them, and why.
    pub(super) async fn refuse(
        &mut self,
        scope: &Scope,
        cluster: Option<&Arc<MqttCluster>>,
        objects: &Objects,
        problem: &Problem,
    ) {
        let now = Timestamp::now();
        let (reason, message) = (problem.reason.as_str(), problem.message.clone());
        let enforcement = &Enforcement::Pending { reason, message };
        let user = |user: &MqttUser, before: Option<&MqttUserStatus>| {
            user_status::changed(&UserStatusInput {
                user,
                before,
                credentials: Some(problem),
                certificate: None,
                facts: None,
                enforcement,
                now,
            })
        };
        let facts = &AclFacts { problems: vec![problem.clone()], ..AclFacts::default() };
        let acl = |acl: &MqttAcl, before: Option<&MqttAclStatus>| {
            acl::changed(&AclStatusInput { acl, before, facts: Some(facts), enforcement, now })
        };
        self.put(scope, cluster, objects, user, acl).await;
    }

    async fn put(
        &mut self,
        scope: &Scope,
        cluster: Option<&Arc<MqttCluster>>,
        objects: &Objects,
        user: impl Fn(&MqttUser, Option<&MqttUserStatus>) -> Option<MqttUserStatus>,
        acl: impl Fn(&MqttAcl, Option<&MqttAclStatus>) -> Option<MqttAclStatus>,
    ) {
        self.users.retain(&objects.users);
        self.acls.retain(&objects.acls);
        let users = objects.users.iter().filter(|user| user.metadata.deletion_timestamp.is_none());
        let changes = users.filter_map(|object| {
            let before = self.users.before(&**object, object.status.as_ref());
            let after = user(object, before)?;
            let news = news(before.map(Said::from).unwrap_or_default(), Said::from(&after));
            Some(Change { object: Arc::clone(object), after, news })
        });
        let changes: Vec<_> = changes.collect();
        let mut said = write_all(scope, changes, &mut self.users).await;
        let acls = objects.acls.iter().filter(|acl| acl.metadata.deletion_timestamp.is_none());
        let changes = acls.filter_map(|object| {
            let before = self.acls.before(&**object, object.status.as_ref());
            let after = acl(object, before)?;
            let news = news(before.map(Said::from).unwrap_or_default(), Said::from(&after));
            Some(Change { object: Arc::clone(object), after, news })
        });
        let changes: Vec<_> = changes.collect();
        said.extend(write_all(scope, changes, &mut self.acls).await);
        self.events.say(scope, cluster.map(|cluster| &**cluster), said).await;
    }
}

/// A status that differs.
struct Change<K, S> {
    object: Arc<K>,
    after: S,
    news: Option<operator_core::news::News>,
}

/// Writes statuses, and returns what is to be said of those that were written.
async fn write_all<K, S>(
    scope: &Scope,
    changes: Vec<Change<K, S>>,
    written: &mut Written<S>,
) -> Vec<ObjectNews>
where
    K: Applicable,
    S: serde::Serialize,
{
    let writes = changes.into_iter().map(|change| async move {
        match write_status(scope, &*change.object, &change.after).await {
            Ok(()) => Some(change),
            Err(error) => {
                tracing::warn!(error = error.chain(), "a status was not written");
                None
            }
        }
    });
    let mut writes = futures::stream::iter(writes).buffer_unordered(WRITES_AT_ONCE);
    let mut said = Vec::new();
    while let Some(change) = writes.next().await {
        let Some(Change { object, after, news }) = change else { continue };
        if let Some(news) = news {
            said.push((object.object_ref(&()), news));
        }
        written.0.insert(object.name_any(), (object.resource_version(), after));
    }
    said
}
