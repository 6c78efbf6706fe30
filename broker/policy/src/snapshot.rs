//! A policy as brokers hold it: immutable, shared by all workers, cheap to derive. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::authorizer::{Authorizer, Identity, RuleSetCache, RuleSource};
use crate::catalogue::Catalogue;
use crate::change::{ChangeError, PolicyChange};
use crate::diff::{BucketKeys, PolicyDigests};
use crate::digest::{BucketIndex, Revision};
use crate::realm;
use crate::record::{
    Client, DefaultAccess, Group, InvalidRecord, Record, RecordKey, RecordKind, Role, Settings,
};
use crate::record_set::{Entry, RecordSet};
use crate::scram::ScramCost;

/// An immutable policy. A copy is cheap, and so is a policy derived by a change: they share what
/// did not change, and the rule sets compiled so far.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    records: RecordSet,
    /// Of the same records.
    catalogue: Arc<Catalogue>,
    compiled: Arc<RuleSetCache>,
    /// Of the same records, once somebody has asked.
    scram_cost: Arc<OnceLock<ScramCost>>,
}

/// How many records of each kind a policy has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCounts {
    /// Clients.
    pub clients: usize,
    /// Groups.
    pub groups: usize,
    /// Roles.
    pub roles: usize,
    /// ACLs in all roles.
    pub acls: usize,
}

impl From<RecordSet> for Policy {
    fn from(records: RecordSet) -> Self {
        let catalogue = Arc::new(Catalogue::new(&records));
        Self { records, catalogue, compiled: Arc::default(), scram_cost: Arc::default() }
    }
}

impl Policy {
    /// The policy of these records; of several with one key the last stays.
    ///
    /// # Errors
    /// The first record that is invalid.
    pub fn from_records(records: impl IntoIterator<Item = Record>) -> Result<Self, InvalidRecord> {
        RecordSet::from_records(records).map(Self::from)
    }

    /// The policy that a change leads to.
    ///
    /// # Errors
    /// The change leads from another revision, holds an invalid record, or does not lead to the
    /// revision it names.
    pub fn apply(&self, change: &PolicyChange) -> Result<Self, ChangeError> {
        let records = self.records.apply(change)?;
        let upserted = change.upserts.iter().map(Record::key);
        let mut keys: Vec<_> = upserted.chain(change.removals.iter().cloned()).collect();
        keys.retain(|key| key.kind() != RecordKind::Client);
        let mut catalogue = Arc::clone(&self.catalogue);
        if !keys.is_empty() {
            Arc::make_mut(&mut catalogue).refresh(&records, &keys);
        }
        let compiled = Arc::clone(&self.compiled);
        Ok(Self { records, catalogue, compiled, scram_cost: Arc::default() })
    }

    /// The change that puts these records in and takes those out.
    ///
    /// # Errors
    /// The first record that is invalid.
    pub fn change(
        &self,
        upserts: Vec<Record>,
        removals: Vec<RecordKey>,
    ) -> Result<PolicyChange, InvalidRecord> {
        self.records.change(upserts, removals)
    }

    /// The records.
    pub const fn records(&self) -> &RecordSet {
        &self.records
    }

    /// The name of the policy's content.
    pub const fn revision(&self) -> Revision {
        self.records.revision()
    }

    /// The revision and every bucket's digest.
    pub fn digests(&self) -> PolicyDigests {
        self.records.digests()
    }

    /// A bucket's keys with their records' digests.
    pub fn bucket_keys(&self, index: BucketIndex) -> BucketKeys {
        self.records.bucket_keys(index)
    }

    /// The client with this username.
    pub fn client(&self, username: &str) -> Option<&Client> {
        match self.records.get(&RecordKey::client(username)).map(|record| &**record) {
            Some(Record::Client(client)) => Some(client),
            _ => None,
        }
    }

    /// What most of the SCRAM credentials cost; the default where there is none. The first call
    /// costs a pass over all records.
    pub fn scram_cost(&self) -> ScramCost {
        *self.scram_cost.get_or_init(|| {
            let mut counts = BTreeMap::<ScramCost, usize>::new();
            for record in self.records.records() {
                if let Record::Client(Client { scram: Some(scram), .. }) = &**record {
                    *counts.entry(scram.cost()).or_default() += 1;
                }
            }
            let most = counts.into_iter().max_by_key(|(_, count)| *count);
            most.map_or_else(ScramCost::default, |(cost, _)| cost)
        })
    }

    /// The group with this name.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.catalogue.group(name)
    }

    /// The role with this name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        match self.catalogue.role(name).map(|entry| &*entry.record) {
            Some(Record::Role(role)) => Some(role),
            _ => None,
        }
    }

    /// The settings, or the default ones.
    pub fn settings(&self) -> &Settings {
        self.catalogue.settings()
    }

    /// What holds in the realm that the name is of, for whom no record is.
    pub(crate) fn strangers(&self, username: Option<&str>) -> Strangers<'_> {
        let settings = self.settings();
        let Some(realm) = realm::split(username).realm else {
            return Strangers {
                default_access: settings.default_access,
                anonymous_group: settings.anonymous_group.as_deref(),
                guest_group: settings.guest_group.as_deref(),
            };
        };
        settings.realms.get(realm).map_or_else(Strangers::default, |own| Strangers {
            default_access: own.default_access,
            anonymous_group: own.anonymous_group.as_deref(),
            guest_group: own.guest_group.as_deref(),
        })
    }

    /// How many records there are; costs a pass over all of them.
    pub fn counts(&self) -> PolicyCounts {
        let mut counts = PolicyCounts::default();
        for record in self.records.records() {
            match &**record {
                Record::Client(_) => counts.clients += 1,
                Record::Group(_) => counts.groups += 1,
                Record::Role(role) => {
                    counts.roles += 1;
                    counts.acls += role.acls.len();
                }
                Record::Settings(_) => {}
            }
        }
        counts
    }

    /// The rights of a connection. A client without a username has those of the anonymous group;
    /// an unknown username has those of the guest group. A suspended client keeps its rights: it is refused when it
    /// connects, and its session loses nothing meanwhile.
    ///
    /// Cost: a few hashes, and the compilation of a rule set unless one with the same ordered
    /// roles is in use.
    pub fn authorizer(&self, username: Option<&str>, client_id: &str) -> Authorizer {
        self.authorizer_of(username.map(Arc::from), client_id.into())
    }

    /// As [`Self::authorizer`], for a caller that keeps the names as well: they are shared.
    pub fn authorizer_of(&self, username: Option<Arc<str>>, client_id: Arc<str>) -> Authorizer {
        let user = realm::split(username.as_deref());
        let strangers = self.strangers(username.as_deref());
        let of_group = |group: Option<&str>, refused| match group {
            Some(group) => RuleSource::Roles(self.ordered_roles_of_groups([group])),
            None => refused,
        };
        let client = user.name.and(username.as_deref()).map(|username| self.client(username));
        let source = match client {
            Some(Some(client)) => RuleSource::Roles(self.ordered_roles_of_client(client)),
            Some(None) => of_group(strangers.guest_group, RuleSource::UnknownUser),
            None => of_group(strangers.anonymous_group, RuleSource::AnonymousRefused),
        };
        let rules = self.compiled.rule_set(source, strangers.default_access);
        let username = match user.realm {
            None => username,
            Some(_) => user.name.map(Arc::from),
        };
        Authorizer::new(rules, Identity { username, client_id })
    }

    /// Whose sessions a change may concern: everyone's, or those of some users.
    pub fn impact_since(&self, earlier: &Self) -> Impact {
        let mut users = BTreeSet::new();
        for key in self.records.keys_changed_since(&earlier.records) {
            if key.kind() != RecordKind::Client {
                return Impact::Everyone;
            }
            users.insert(key.name().to_owned());
        }
        Impact::Users(users)
    }

    #[cfg(test)]
    pub(crate) fn compiled_count(&self) -> usize {
        self.compiled.len()
    }

    /// The client's own roles, then those of its groups, each in evaluation order, each once.
    /// Assignments are in that order already: the records are in their normal form.
    fn ordered_roles_of_client(&self, client: &Client) -> Vec<Arc<Entry>> {
        let own = client.roles.iter().filter_map(|role| self.catalogue.role(&role.name).cloned());
        let groups = client.groups.iter().map(|group| group.name.as_str());
        once_each(own.chain(self.ordered_roles_of_groups(groups)))
    }

    fn ordered_roles_of_groups<'a>(
        &self,
        groups: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Arc<Entry>> {
        let groups = groups.into_iter().filter_map(|name| self.group(name));
        let roles = groups.flat_map(|group| &group.roles);
        once_each(roles.filter_map(|role| self.catalogue.role(&role.name).cloned()))
    }
}

/// What holds for clients for whom no record is, and where no ACL matches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Strangers<'a> {
    pub(crate) default_access: DefaultAccess,
    pub(crate) anonymous_group: Option<&'a str>,
    pub(crate) guest_group: Option<&'a str>,
}

/// A role that was asked before gives the same answer when it is asked again.
fn once_each(roles: impl Iterator<Item = Arc<Entry>>) -> Vec<Arc<Entry>> {
    let mut ordered: Vec<Arc<Entry>> = Vec::new();
    for role in roles {
        if !ordered.iter().any(|earlier| earlier.key == role.key) {
            ordered.push(role);
        }
    }
    ordered
}

/// Whose sessions have to be looked at after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Impact {
    /// Any session: a role, a group or the settings changed.
    Everyone,
    /// Sessions of these usernames.
    Users(BTreeSet<String>),
}
