//! Objects and Secrets in the state folder, in the place of the API server's store. IO.
//!
//! What is there already is not written again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use operator_core::user::SecretData;
use serde::Serialize;

use super::manifest::{Identity, Kind, ManifestObject, Objects, SOURCE_ANNOTATION, Stored, scoped};
use super::state::{StateDir, StateError, write_private};

const OBJECTS: &str = "objects";
const SECRETS: &str = "secrets";

/// The store of one state folder; clones share what they know to be written.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    state: StateDir,
    /// Hash of what each object's file holds.
    written: Arc<Mutex<HashMap<PathBuf, u64>>>,
}

impl Store {
    pub(crate) fn new(state: &StateDir) -> Self {
        Self { state: state.clone(), written: Arc::default() }
    }

    /// Reads all objects that were in force when the last operator stopped. What can't be read is as if it were not there.
    pub(crate) fn load(&self) -> Objects {
        Kind::ALL.into_iter().flat_map(|kind| self.load_kind(kind)).collect()
    }

    /// As [`Store::load`], of one kind.
    pub(crate) fn load_kind(&self, kind: Kind) -> Objects {
        let mut objects = Objects::new();
        for namespace in entries(&self.state.path(OBJECTS)) {
            for path in entries(&namespace.join(kind.plural())) {
                let Ok(text) = std::fs::read(&path) else { continue };
                let Some(object) = parse(kind, &text) else { continue };
                self.note(&path, &text);
                insert(&mut objects, kind, object);
            }
        }
        objects
    }

    /// Writes an object with its status; `true`: it was not there like this already.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn write<T: Serialize>(
        &self,
        identity: &Identity,
        object: &T,
    ) -> Result<bool, StateError> {
        let path = self.path(identity);
        let mut text = serde_json::to_vec_pretty(object).unwrap_or_default();
        text.push(b'\n');
        if !self.note(&path, &text) {
            return Ok(false);
        }
        write_private(&path, &text)?;
        Ok(true)
    }

    /// Reads one object as it was written last; `None` when it is not there or can't be read.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, identity: &Identity) -> Option<T> {
        serde_json::from_slice(&std::fs::read(self.path(identity)).ok()?).ok()
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) fn remove(&self, identity: &Identity) {
        let path = self.path(identity);
        self.lock().remove(&path);
        let _ = std::fs::remove_file(path);
    }

    fn path(&self, identity: &Identity) -> PathBuf {
        self.state
            .path(OBJECTS)
            .join(&identity.namespace)
            .join(identity.kind.plural())
            .join(format!("{}.json", identity.name))
    }

    /// Remembers what a file holds; whether that is another than before.
    fn note(&self, path: &Path, text: &[u8]) -> bool {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = hasher.finish();
        self.lock().insert(path.to_owned(), hash) != Some(hash)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What a Secret that was made holds; `None` when there is none.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<SecretData> {
        read_secret(&self.secret_dir(namespace, name))
    }

    /// Writes a Secret, one file an entry, for its owner only; `true`: something in it is new.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub(crate) fn write_secret(
        &self,
        namespace: &str,
        name: &str,
        data: &SecretData,
    ) -> Result<bool, StateError> {
        let folder = self.secret_dir(namespace, name);
        let before = read_secret(&folder).unwrap_or_default();
        if before == *data {
            return Ok(false);
        }
        // Keys first: who reads a certificate then finds its key.
        let (keys, others): (Vec<_>, Vec<_>) =
            data.iter().partition(|(key, _)| key.ends_with(".key"));
        for (key, content) in keys.into_iter().chain(others) {
            if before.get(key) != Some(content) {
                write_private(&folder.join(key), content)?;
            }
        }
        for key in before.keys().filter(|key| !data.contains_key(*key)) {
            let _ = std::fs::remove_file(folder.join(key));
        }
        Ok(true)
    }

    /// Removes a Secret; one that is not there is no error.
    pub(crate) fn remove_secret(&self, namespace: &str, name: &str) {
        let _ = std::fs::remove_dir_all(self.secret_dir(namespace, name));
    }

    /// The folder of a Secret.
    pub(crate) fn secret_dir(&self, namespace: &str, name: &str) -> PathBuf {
        self.state.path(SECRETS).join(scoped(namespace, name))
    }

    /// The folder of a Secret as it is told to people.
    pub(crate) fn shown_secret_dir(&self, namespace: &str, name: &str) -> String {
        self.state.shown(Path::new(SECRETS).join(scoped(namespace, name)))
    }

    /// Names of all Secrets that were made, with their namespaces, sorted.
    pub(crate) fn secret_names(&self) -> Vec<(String, String)> {
        let folders = entries(&self.state.path(SECRETS));
        let names = folders.iter().filter_map(|folder| {
            let name = folder.file_name()?.to_str()?;
            Some(match name.split_once('_') {
                Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
                None => ("default".to_owned(), name.to_owned()),
            })
        });
        names.collect()
    }
}

fn read_secret(folder: &Path) -> Option<SecretData> {
    if !folder.is_dir() {
        return None;
    }
    let files = entries(folder);
    let data = files.iter().filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        if name.ends_with(".new") { None } else { Some((name, std::fs::read(path).ok()?)) }
    });
    Some(data.collect())
}

fn parse(kind: Kind, text: &[u8]) -> Option<ManifestObject> {
    match kind {
        Kind::Cluster => {
            serde_json::from_slice(text).ok().map(Arc::new).map(ManifestObject::Cluster)
        }
        Kind::User => serde_json::from_slice(text).ok().map(Arc::new).map(ManifestObject::User),
        Kind::Acl => serde_json::from_slice(text).ok().map(Arc::new).map(ManifestObject::Acl),
        // Secrets of manifests are not kept: they are read again with the folder.
        Kind::Secret => None,
    }
}

fn insert(objects: &mut Objects, kind: Kind, object: ManifestObject) {
    let metadata = object.metadata();
    let (Some(namespace), Some(name)) = (metadata.namespace.clone(), metadata.name.clone()) else {
        return;
    };
    let annotations = metadata.annotations.as_ref();
    let source = annotations.and_then(|all| all.get(SOURCE_ANNOTATION)).cloned();
    let source = source.unwrap_or_default();
    objects.insert(Identity { kind, namespace, name }, Stored { object, source });
}

/// What is in a folder, sorted; nothing when it is not there.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(listing) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(dir: &tempfile::TempDir) -> Store {
        Store::new(&StateDir::new(dir.path()).unwrap())
    }

    fn identity() -> Identity {
        Identity { kind: Kind::User, namespace: "default".into(), name: "a".into() }
    }

    fn user() -> operator_api::MqttUser {
        let spec = serde_json::json!({"clusterRef": {"name": "fleet"}, "authentication": {"password": {}}});
        let mut user = operator_api::MqttUser::new("a", serde_json::from_value(spec).unwrap());
        user.metadata.namespace = Some("default".into());
        user
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        assert!(store(&dir).write(&identity(), &user()).unwrap());
        let again = store(&dir);
        assert_eq!(again.load().len(), 1);
        assert!(!again.write(&identity(), &user()).unwrap());
    }

    #[test]
    fn a_secret_comes_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        let data = SecretData::from([
            ("tls.key".into(), b"k".to_vec()),
            ("tls.crt".into(), b"c".to_vec()),
        ]);
        assert!(store.write_secret("default", "s", &data).unwrap());
        assert!(!store.write_secret("default", "s", &data).unwrap());
        assert_eq!(store.secret("default", "s"), Some(data));
        let smaller = SecretData::from([("tls.key".into(), b"k2".to_vec())]);
        assert!(store.write_secret("default", "s", &smaller).unwrap());
        assert_eq!(store.secret("default", "s"), Some(smaller));
        store.write_secret("iot", "t", &SecretData::new()).unwrap();
        store.remove_secret("default", "s");
        assert_eq!(store.secret("default", "s"), None);
    }

    #[test]
    fn an_object_that_cannot_be_read_is_as_if_it_were_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir);
        store.write(&identity(), &user()).unwrap();
        write_private(&dir.path().join("objects/default/mqttusers/b.json"), b"{").unwrap();
        assert_eq!(store.load().len(), 1);
        store.remove(&identity());
        assert!(store.load().is_empty());
    }
}
