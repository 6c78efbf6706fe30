//! Folders as people leave them: edits, mistakes, moves.

use std::path::Path;

use jiff::Timestamp;

use super::folder::Reading;
use super::{Folder, Identity, Kind, Objects};

const CLUSTER: &str = "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttCluster\nmetadata: {name: fleet}\nspec: {version: 0.1.0}\n";

fn user(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MqttUser\nmetadata: {{name: {name}}}\nspec:\n  clusterRef: {{name: fleet}}\n{extra}"
    )
}

struct Desk {
    dir: tempfile::TempDir,
    folder: Folder,
    objects: Objects,
    writes: u64,
}

impl Desk {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let mut desk = Self { dir, folder, objects: Objects::new(), writes: 0 };
        files.iter().for_each(|(name, text)| desk.write(name, text));
        desk
    }

    /// Writes a file, with another time stamp each time.
    fn write(&mut self, name: &str, text: &str) {
        self.writes += 1;
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(self.writes);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(Path::new(self.dir.path()).join(name)).unwrap();
    }

    fn read(&mut self) -> Reading {
        let now = Timestamp::from_second(1_000).unwrap();
        let reading = self.folder.read(&self.objects, now).unwrap();
        self.objects = reading.objects.clone();
        reading
    }

    fn generation(&self, kind: Kind, name: &str) -> Option<i64> {
        let identity = Identity { kind, namespace: "default".into(), name: name.into() };
        self.objects.get(&identity).and_then(|stored| stored.object.metadata().generation)
    }
}

fn told(reading: &Reading) -> Vec<String> {
    reading.complaints.iter().map(ToString::to_string).collect()
}

#[test]
fn all_documents_of_all_files_are_read() {
    let users = format!("{}---\n{}", user("a", ""), user("b", "  authentication: {x509: {}}\n"));
    let mut desk =
        Desk::new(&[("cluster.yaml", CLUSTER), ("users.yml", &users), ("notes.txt", "x")]);
    let reading = desk.read();
    assert!(reading.complaints.is_empty(), "{:?}", told(&reading));
    assert_eq!(reading.objects.len(), 3);
    assert_eq!(desk.generation(Kind::User, "b"), Some(1));
}

#[test]
fn an_edit_raises_the_generation_of_what_it_changes() {
    let users = format!("{}---\n{}", user("a", ""), user("b", ""));
    let mut desk = Desk::new(&[("users.yaml", &users)]);
    desk.read();
    let before = desk.objects.clone();
    desk.write(
        "users.yaml",
        &format!("{}---\n{}", user("a", ""), user("b", "  suspended: true\n")),
    );
    let reading = desk.read();
    assert_eq!(desk.generation(Kind::User, "a"), Some(1));
    assert_eq!(desk.generation(Kind::User, "b"), Some(2));
    let same = before.iter().filter(|(id, old)| reading.objects[*id].object.is_same(&old.object));
    assert_eq!(same.count(), 1, "what was not edited is the very same object");
}

#[test]
fn a_refused_edit_keeps_what_was_in_force_and_says_where_and_what_to_change() {
    let mut desk = Desk::new(&[("users.yaml", &user("a", ""))]);
    desk.read();
    desk.write("users.yaml", &user("a", "  quotas: {connections: 0}\n"));
    let reading = desk.read();
    assert_eq!(reading.objects.len(), 1);
    assert_eq!(desk.generation(Kind::User, "a"), Some(1));
    let told = told(&reading);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("users.yaml:6: MqttUser a: spec.quotas.connections: "), "{told:?}");
    desk.write("users.yaml", &user("a", "  quotas: {connections: 7}\n"));
    assert!(desk.read().complaints.is_empty());
    assert_eq!(desk.generation(Kind::User, "a"), Some(2));
}

#[test]
fn an_unknown_field_is_refused_with_its_line() {
    let mut desk = Desk::new(&[("users.yaml", &user("a", "  grups: [x]\n"))]);
    let told = told(&desk.read());
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("users.yaml:6: MqttUser a: spec.grups"), "{told:?}");
}

#[test]
fn a_file_that_is_no_yaml_keeps_its_objects_and_stops_no_other() {
    let mut desk = Desk::new(&[("a.yaml", &user("a", "")), ("b.yaml", &user("b", ""))]);
    desk.read();
    desk.write("a.yaml", "kind: [\n");
    desk.write("b.yaml", &user("b", "  suspended: true\n"));
    let reading = desk.read();
    assert_eq!(reading.objects.len(), 2);
    assert_eq!(desk.generation(Kind::User, "b"), Some(2));
    let told = told(&reading);
    assert!(told[0].starts_with("a.yaml:") && told[0].contains("no YAML"), "{told:?}");
}

#[test]
fn a_bad_document_does_not_stop_its_neighbours() {
    let text = format!("{}---\nkind: MqttUser\n---\n{}", user("a", ""), user("b", ""));
    let mut desk = Desk::new(&[("users.yaml", &text)]);
    let reading = desk.read();
    assert_eq!(reading.objects.len(), 2);
    let told = told(&reading);
    assert!(told[0].starts_with("users.yaml:"), "{told:?}");
    assert!(told[0].contains("(document 2): metadata.name must be given"), "{told:?}");
}

#[test]
fn duplicate_keys_are_errors() {
    let mut desk = Desk::new(&[("users.yaml", &user("a", "  groups: [x]\n  groups: [y]\n"))]);
    let told = told(&desk.read());
    assert!(told[0].starts_with("users.yaml:7:") && told[0].contains("duplicate"), "{told:?}");
}

#[test]
fn deleted_files_and_documents_take_their_objects_with_them() {
    let users = format!("{}---\n{}", user("a", ""), user("b", ""));
    let mut desk = Desk::new(&[("cluster.yaml", CLUSTER), ("users.yaml", &users)]);
    desk.read();
    desk.write("users.yaml", &user("a", ""));
    assert_eq!(desk.read().objects.len(), 2);
    desk.remove("users.yaml");
    assert_eq!(desk.read().objects.len(), 1);
}

#[test]
fn a_link_that_leads_nowhere_for_a_while_deletes_nothing() {
    let mut desk = Desk::new(&[("cluster.yaml", CLUSTER), ("away.txt", &user("a", ""))]);
    let link = desk.dir.path().join("users.yaml");
    std::os::unix::fs::symlink("away.txt", &link).unwrap();
    assert_eq!(desk.read().objects.len(), 2);
    desk.remove("away.txt");
    let reading = desk.read();
    assert_eq!(reading.objects.len(), 2);
    let told = told(&reading);
    assert!(told[0].starts_with("users.yaml") && told[0].contains("can't be read"), "{told:?}");
    desk.write("away.txt", &user("b", ""));
    assert_eq!(desk.generation(Kind::User, "a"), Some(1));
    let reading = desk.read();
    assert!(reading.complaints.is_empty());
    assert_eq!(
        (desk.generation(Kind::User, "a"), desk.generation(Kind::User, "b")),
        (None, Some(1))
    );
    std::fs::remove_file(&link).unwrap();
    assert_eq!(desk.read().objects.len(), 1);
}

#[test]
fn of_two_objects_with_one_name_the_first_is_in_force() {
    let mut desk =
        Desk::new(&[("a.yaml", &user("a", "")), ("b.yaml", &user("a", "  suspended: true\n"))]);
    let told = told(&desk.read());
    assert!(
        told[0].starts_with("b.yaml") && told[0].contains("a.yaml has one already"),
        "{told:?}"
    );
}

#[test]
fn unknown_kinds_are_noted_and_near_misses_corrected() {
    let mut desk = Desk::new(&[
        ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"),
        ("b.yaml", "apiVersion: mqtt.dunlin.io/v1alpha1\nkind: MQTTUser\nmetadata: {name: x}\n"),
        ("c.yaml", "apiVersion: mqtt.dunlin.io/v1\nkind: MqttUser\nmetadata: {name: x}\n"),
    ]);
    let reading = desk.read();
    let told = told(&reading);
    assert!(told[0].contains("kind ConfigMap has no meaning here"), "{told:?}");
    assert!(!reading.complaints[0].is_refusal);
    assert!(told[1].contains("write MqttUser"), "{told:?}");
    assert!(told[2].contains("apiVersion must be mqtt.dunlin.io/v1alpha1"), "{told:?}");
}

#[test]
fn fields_that_mean_nothing_here_are_said_in_one_line() {
    let text = CLUSTER
        .replace("0.1.0", "0.1.0, image: {pullPolicy: Always}, resources: {limits: {cpu: '1'}}");
    let mut desk = Desk::new(&[("cluster.yaml", &text)]);
    let reading = desk.read();
    assert_eq!(reading.objects.len(), 1);
    let told = told(&reading);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("spec.image, spec.resources mean nothing without Kubernetes"),
        "{told:?}"
    );
}

#[test]
fn secrets_are_read_from_both_fields() {
    let good = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: aGk=}\nstringData: {b: plain}\n";
    let bad = "apiVersion: v1\nkind: Secret\nmetadata: {name: t}\ndata: {a: '%%'}\n";
    let mut desk = Desk::new(&[("s.yaml", good), ("t.yaml", bad)]);
    let reading = desk.read();
    let told = told(&reading);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("data.a: must be base64"), "{told:?}");
    let stored = reading.objects.values().next().unwrap();
    let super::ManifestObject::Secret(secret) = &stored.object else { panic!() };
    assert_eq!(secret.1["a"], b"hi");
    assert_eq!(secret.1["b"], b"plain");
}

#[test]
fn rules_about_changes_compare_with_what_is_in_force() {
    let mut desk = Desk::new(&[("users.yaml", &user("a", ""))]);
    desk.read();
    desk.write("users.yaml", &user("a", "").replace("fleet", "other"));
    let told = told(&desk.read());
    assert!(told[0].contains("clusterRef can't change"), "{told:?}");
}
