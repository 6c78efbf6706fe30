//! The records that rights are assembled from, by name: few beside the clients, and read at every
//! connection. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::record::{DefaultAccess, Group, Record, RecordKey, RecordKind, Settings};
use crate::record_set::{Entry, RecordSet};

/// The settings of a policy that has no settings record.
static DEFAULT_SETTINGS: Settings = Settings {
    default_access: DefaultAccess {
        publish_client_send: false,
        publish_client_receive: true,
        subscribe: false,
        unsubscribe: true,
    },
    anonymous_group: None,
    guest_group: None,
    realms: BTreeMap::new(),
};

/// Roles, groups and settings of a policy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    roles: HashMap<Box<str>, Arc<Entry>>,
    groups: HashMap<Box<str>, Arc<Entry>>,
    settings: Option<Arc<Entry>>,
}

impl Catalogue {
    pub(crate) fn new(records: &RecordSet) -> Self {
        let mut catalogue = Self::default();
        for entry in records.all_entries() {
            catalogue.set(&entry.key, Some(entry));
        }
        catalogue
    }

    /// Reads again what lies under these keys, which no client's may be among.
    pub(crate) fn refresh<'a>(
        &mut self,
        records: &RecordSet,
        keys: impl IntoIterator<Item = &'a RecordKey>,
    ) {
        for key in keys {
            self.set(key, records.entry(key));
        }
    }

    fn set(&mut self, key: &RecordKey, entry: Option<&Arc<Entry>>) {
        let map = match key.kind() {
            RecordKind::Client => return,
            RecordKind::Role => &mut self.roles,
            RecordKind::Group => &mut self.groups,
            RecordKind::Settings => {
                self.settings = entry.map(Arc::clone);
                return;
            }
        };
        match entry {
            Some(entry) => map.insert(key.name().into(), Arc::clone(entry)),
            None => map.remove(key.name()),
        };
    }

    pub(crate) fn role(&self, name: &str) -> Option<&Arc<Entry>> {
        self.roles.get(name)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        match self.groups.get(name).map(|entry| &*entry.record) {
            Some(Record::Group(group)) => Some(group),
            _ => None,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        match self.settings.as_ref().map(|entry| &*entry.record) {
            Some(Record::Settings(settings)) => settings,
            _ => &DEFAULT_SETTINGS,
        }
    }
}
