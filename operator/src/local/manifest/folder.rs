//! The folder of manifests: read again when something changed, and only what changed. IO: reads files.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use super::Complaint;
use super::document::{Admissions, Outcome};
use super::object::{Identity, Objects, Stored};
use super::split;

/// Endings of files that are read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// Largest file that is read, in bytes: 100,000 users of 300 bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A folder of manifests and what was read of it before.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    admissions: Admissions,
    files: BTreeMap<String, File>,
}

/// What a file was when it was read.
#[derive(Debug)]
struct File {
    stamp: Option<(SystemTime, u64)>,
    documents: Vec<Read>,
    /// Why it could not be read.
    problem: Option<String>,
}

#[derive(Debug, Clone)]
struct Read {
    hash: u64,
    lines_before: usize,
    outcome: Outcome,
}

/// What the folder says now.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What is in force: what was accepted, and what was before where the newest is refused.
    pub(crate) objects: Objects,
    /// What was refused, and notes.
    pub(crate) complaints: Vec<Complaint>,
}

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        let admissions = Admissions::new();
        Self { path: path.to_owned(), admissions, files: BTreeMap::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the folder; `before` is what is in force.
    ///
    /// # Errors
    /// The folder itself can't be listed.
    pub(crate) fn read(&mut self, before: &Objects, now: Timestamp) -> std::io::Result<Reading> {
        let names = self.list()?;
        self.files.retain(|name, _| names.contains(name));
        for name in names {
            self.refresh(&name, before);
        }
        Ok(self.assemble(before, now))
    }

    fn list(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let ending = Path::new(&name).extension().and_then(|ending| ending.to_str());
            let is_manifest = ending.is_some_and(|ending| ENDINGS.contains(&ending));
            if is_manifest && !name.starts_with('.') && is_to_be_read(&entry) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn refresh(&mut self, name: &str, before: &Objects) {
        let path = self.path.join(name);
        let metadata = std::fs::metadata(&path).ok();
        let stamp = metadata.and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        let known = self.files.get(name);
        if known.is_some_and(|file| file.stamp.is_some() && file.stamp == stamp) {
            return;
        }
        let is_too_large = stamp.is_some_and(|(_, bytes)| bytes > FILE_BYTES_MAX);
        let text = match std::fs::read_to_string(&path) {
            _ if is_too_large => Err(format!("it has more than {FILE_BYTES_MAX} bytes: split it")),
            Ok(text) => Ok(text),
            Err(error) => Err(format!("it can't be read: {error}")),
        };
        let file = match text {
            Err(problem) => File { stamp: None, documents: Vec::new(), problem: Some(problem) },
            Ok(text) => {
                let empty = Vec::new();
                let documents = known.map_or(&empty, |file| &file.documents);
                let known: HashMap<u64, &Read> =
                    documents.iter().map(|read| (read.hash, read)).collect();
                let documents = self.documents(&text, name, &known, before);
                File { stamp, documents, problem: None }
            }
        };
        self.files.insert(name.to_owned(), file);
    }

    fn documents(
        &self,
        text: &str,
        name: &str,
        known: &HashMap<u64, &Read>,
        before: &Objects,
    ) -> Vec<Read> {
        split::documents(text)
            .into_iter()
            .map(|document| {
                let mut hasher = DefaultHasher::new();
                document.text.hash(&mut hasher);
                let hash = hasher.finish();
                let lines_before = document.lines_before;
                let unchanged = known.get(&hash).map(|read| &read.outcome);
                // What was refused may have been refused because of what was in force.
                let outcome = match unchanged {
                    Some(outcome @ (Outcome::Accepted { .. } | Outcome::Skipped { .. })) => {
                        outcome.clone()
                    }
                    _ => self.admissions.read(document.text, name, |identity| {
                        before.get(identity).map(|stored| stored.object.clone())
                    }),
                };
                Read { hash, lines_before, outcome }
            })
            .collect()
    }

    /// Puts the files' documents together, with what was in force in the place of what is refused.
    fn assemble(&mut self, before: &Objects, now: Timestamp) -> Reading {
        let mut reading = Reading { objects: Objects::new(), complaints: Vec::new() };
        let mut kept_files: Vec<String> = Vec::new();
        for (name, file) in &mut self.files {
            if let Some(problem) = &file.problem {
                reading.complaints.push(complaint(name, None, None, "", problem, true));
                kept_files.push(name.clone());
            }
            let count = file.documents.len();
            for (at, read) in file.documents.iter_mut().enumerate() {
                let number = (count > 1).then_some(at + 1);
                let is_whole = take(read, name, number, before, now, &mut reading);
                if !is_whole {
                    kept_files.push(name.clone());
                }
            }
        }
        for (identity, stored) in before {
            if kept_files.contains(&stored.source) && !reading.objects.contains_key(identity) {
                reading.objects.insert(identity.clone(), stored.clone());
            }
        }
        reading
    }
}

/// Files, and links that lead nowhere now: a disk that is away for a moment deletes no user and no password.
fn is_to_be_read(entry: &std::fs::DirEntry) -> bool {
    match std::fs::metadata(entry.path()) {
        Ok(found) => found.is_file(),
        Err(_) => entry.file_type().is_ok_and(|kind| kind.is_symlink()),
    }
}

/// Takes one document in. `false`: which object it was meant to be can't be told, so all of its file's must be kept.
fn take(
    read: &mut Read,
    name: &str,
    number: Option<usize>,
    before: &Objects,
    now: Timestamp,
    reading: &mut Reading,
) -> bool {
    let place = |line: Option<usize>| line.map(|line| line + read.lines_before);
    match &mut read.outcome {
        Outcome::Skipped { message } => {
            let line = Some(read.lines_before + 1);
            reading.complaints.push(complaint(name, line, number, "", message, false));
        }
        Outcome::Refused { identity, problems } => {
            let subject = identity.as_ref().map(Identity::to_string).unwrap_or_default();
            for (line, message) in problems {
                let line = place(*line);
                reading.complaints.push(complaint(name, line, number, &subject, message, true));
            }
            let Some(identity) = identity else { return false };
            if let Some(stored) = before.get(identity) {
                reading.objects.entry(identity.clone()).or_insert_with(|| stored.clone());
            }
        }
        Outcome::Accepted { identity, object, notes } => {
            let subject = identity.to_string();
            if let Some(first) = reading.objects.get(identity) {
                let message = format!(
                    "{} has one already, which is in force: rename one or remove one",
                    first.source
                );
                reading.complaints.push(complaint(
                    name,
                    place(Some(1)),
                    number,
                    &subject,
                    &message,
                    true,
                ));
                return true;
            }
            for (line, note) in notes {
                reading.complaints.push(complaint(
                    name,
                    place(*line),
                    number,
                    &subject,
                    note,
                    false,
                ));
            }
            let earlier = before.get(identity).map(|stored| &stored.object);
            let succeeding = object.clone().succeeding(earlier, now);
            *object = succeeding.clone();
            let stored = Stored { object: succeeding, source: name.to_owned() };
            reading.objects.insert(identity.clone(), stored);
        }
    }
    true
}

fn complaint(
    file: &str,
    line: Option<usize>,
    document: Option<usize>,
    subject: &str,
    message: &str,
    is_refusal: bool,
) -> Complaint {
    Complaint {
        file: file.to_owned(),
        line,
        document,
        subject: subject.to_owned(),
        message: message.to_owned(),
        is_refusal,
    }
}
