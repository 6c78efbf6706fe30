//! Manifests as people write them: files in a folder to objects, with words for what can't be one.
//!
//! What the API server would refuse is refused here by the same schema and rules, and the version that was accepted before stays
//! in force; a file that can't be read keeps all its objects. [`Folder`] does the reading, [`document`] understands one document.

pub(crate) mod document;
mod folder;
mod ignored;
mod located;
mod object;
mod split;

#[cfg(test)]
mod folder_test;

pub(crate) use folder::Folder;
pub(crate) use object::{
    Identity, Kind, ManifestObject, Objects, SOURCE_ANNOTATION, Stored, scoped,
};

/// A sentence about a place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Complaint {
    /// The file, its name within the folder.
    pub(crate) file: String,
    /// The line, where it is known; from 1.
    pub(crate) line: Option<usize>,
    /// Which of the file's documents, from 1, when it has several.
    pub(crate) document: Option<usize>,
    /// What it is about, such as `MqttAcl pumps`; empty when that can't be told.
    pub(crate) subject: String,
    /// What is wrong and what to change.
    pub(crate) message: String,
    /// Whether something was refused by it; otherwise it is a note.
    pub(crate) is_refusal: bool,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(document) = self.document {
            write!(f, " (document {document})")?;
        }
        if !self.subject.is_empty() {
            write!(f, ": {}", self.subject)?;
        }
        write!(f, ": {}", self.message)
    }
}
