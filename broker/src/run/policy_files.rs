//! The files that say who may connect to a broker that stands alone, and what they may do. IO.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::{Authentication, Config, Listener, PolicyPaths};
use broker_mosquitto::{Fault, Faults, Named, PolicyTexts, policy_records};
use broker_policy::realm::{RealmSettings, enter};
use broker_policy::{Record, RecordSet, Settings};

use super::mosquitto::read_text;

/// Where the policy comes from.
#[derive(Debug, Clone)]
pub(super) struct PolicyFiles {
    /// What holds for listeners without a policy of their own, then each of the others.
    parts: Vec<Part>,
}

/// The files that decide over the clients of some listeners.
#[derive(Debug, Clone)]
struct Part {
    realm: Option<Arc<str>>,
    paths: PolicyPaths,
    admits_anonymous: bool,
    admits_guests: bool,
}

impl PolicyFiles {
    /// `None` in a cluster, where the operator gives the policy.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let base = config.policy.clone()?;
        let realm_of = |listener: &Listener| listener.policy.as_ref().map(|p| Arc::clone(&p.realm));
        let part = |realm: Option<Arc<str>>, paths| {
            let own = || config.listeners.iter().filter(|l| realm_of(l) == realm);
            let names_guests = |way: &Authentication| {
                matches!(way, Authentication::Believed | Authentication::X509)
            };
            Part {
                admits_anonymous: own().any(|listener| listener.anonymous),
                admits_guests: own().any(|l| l.authentication.iter().any(names_guests)),
                realm,
                paths,
            }
        };
        let own = config.listeners.iter().filter_map(|listener| listener.policy.as_ref());
        let realms: BTreeMap<_, _> =
            own.map(|own| (Arc::clone(&own.realm), own.paths.clone())).collect();
        let own = realms.into_iter().map(|(realm, paths)| part(Some(realm), paths));
        Some(Self { parts: std::iter::once(part(None, base)).chain(own).collect() })
    }

    /// Reads the files.
    pub(super) fn read(&self) -> Result<RecordSet, Faults> {
        let (mut records, mut realms, mut faults) = (Vec::new(), BTreeMap::new(), Vec::new());
        for part in &self.parts {
            match (part.read(), &part.realm) {
                (Ok(own), None) => records.extend(own),
                (Ok(own), Some(realm)) => {
                    let (own, settings) = enter(realm, own);
                    records.extend(own);
                    realms.insert(realm.to_string(), settings);
                }
                (Err(more), _) => faults.extend(more.0),
            }
        }
        faults.extend(self.name_clash(&records));
        Faults(faults).into_result()?;
        add_realms(&mut records, realms);
        RecordSet::from_records(records).map_err(|error| {
            let path = self.parts[0].place().to_string_lossy().into_owned();
            Faults(vec![Fault::Unreadable { at: None, path, reason: error.to_string() }])
        })
    }

    /// A role or group that has the name of a realm's.
    fn name_clash(&self, records: &[Record]) -> Option<Fault> {
        let mut seen = BTreeSet::new();
        let key = records.iter().map(Record::key).find(|key| !seen.insert(key.clone()))?;
        let path = self.parts[0].place().to_string_lossy().into_owned();
        let reason = format!("{key} is the name of another listener's own too: rename one");
        Some(Fault::Unreadable { at: None, path, reason })
    }
}

/// Puts what holds in the realms into the settings.
fn add_realms(records: &mut Vec<Record>, realms: BTreeMap<String, RealmSettings>) {
    if realms.is_empty() {
        return;
    }
    let settings = records.iter_mut().find_map(|record| match record {
        Record::Settings(settings) => Some(settings),
        _ => None,
    });
    match settings {
        Some(settings) => settings.realms = realms,
        None => records.push(Record::Settings(Settings { realms, ..Settings::default() })),
    }
}

impl Part {
    fn read(&self) -> Result<Vec<Record>, Faults> {
        let mut faults = Vec::new();
        let mut text = |path: &Option<PathBuf>| {
            let path = path.as_ref()?;
            match read_text(path) {
                Ok(text) => Some((path.to_string_lossy().into_owned(), text)),
                Err(reason) => {
                    let path = path.to_string_lossy().into_owned();
                    faults.push(Fault::Unreadable { at: None, path, reason });
                    None
                }
            }
        };
        let password_file = text(&self.paths.password_file);
        let acl_file = text(&self.paths.acl_file);
        let document = text(&self.paths.document);
        Faults(faults).into_result()?;
        fn named(file: &Option<(String, String)>) -> Option<Named<'_>> {
            file.as_ref().map(|(path, text)| Named { path, text })
        }
        policy_records(&PolicyTexts {
            password_file: named(&password_file),
            acl_file: named(&acl_file),
            document: named(&document),
            admits_anonymous: self.admits_anonymous,
            admits_guests: self.admits_guests,
            trusts_anonymous: self.paths.trust_anonymous,
        })
    }

    fn place(&self) -> &Path {
        let paths = &self.paths;
        let files = [&paths.document, &paths.acl_file, &paths.password_file];
        files.into_iter().flatten().next().map_or(Path::new("[policy]"), PathBuf::as_path)
    }
}
