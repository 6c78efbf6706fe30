//! Text -> lines: what stands where, includes followed. Pure.
//!
//! As Mosquitto reads it: a line that begins with `#` is a comment; the directive ends at the first
//! space (a tab is no space); the value is the rest of the line; `include_dir` counts in the main
//! file only and takes the folder's `*.conf` files in order.

mod order;

use std::fmt;
use std::sync::Arc;

use crate::fault::{Fault, Faults};

pub use order::include_order;

/// Longest line, in bytes; Mosquitto's longest value is 65,535 bytes.
pub const LINE_BYTES_MAX: usize = 66_000;
/// Most files that one configuration includes.
pub const FILES_MAX: usize = 1_000;
/// Most lines that mean something, in all files together.
pub const LINES_MAX: usize = 100_000;

/// What this crate asks of the system. Reasons are told to people, after the path.
pub trait Source {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it can't be read, or that it is no UTF-8.
    fn read(&mut self, path: &str) -> Result<String, String>;

    /// The names of a folder's files, in any order.
    ///
    /// # Errors
    /// Why it can't be read.
    fn list(&mut self, folder: &str) -> Result<Vec<String>, String>;

    /// An address that a host name stands for.
    ///
    /// # Errors
    /// Why there is none.
    fn resolve(&mut self, host: &str) -> Result<std::net::IpAddr, String>;
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it stands.
    pub at: Position,
    /// Which file of the configuration, from 0 for the main one; a listener or a bridge that a file
    /// begins ends with it.
    pub file: usize,
    /// The directive.
    pub name: String,
    /// What follows, without blanks around it; empty when nothing does.
    pub value: String,
}

/// Reads the main file and what it includes. Every fault is told, with the lines that are well.
pub fn read(path: &str, source: &mut dyn Source) -> (Vec<Line>, Faults) {
    let mut reader = Reader { source, lines: Vec::new(), faults: Vec::new(), files: 0 };
    reader.file(path, None);
    (reader.lines, Faults(reader.faults))
}

struct Reader<'a> {
    source: &'a mut dyn Source,
    lines: Vec<Line>,
    faults: Vec<Fault>,
    files: usize,
}

impl Reader<'_> {
    /// `included`: the line that asks for it; `None` for the main file.
    fn file(&mut self, path: &str, included: Option<&Position>) {
        let number = self.files;
        self.files += 1;
        let text = match self.source.read(path) {
            Ok(text) => text,
            Err(reason) => {
                let (at, path) = (included.cloned(), path.to_owned());
                return self.faults.push(Fault::Unreadable { at, path, reason });
            }
        };
        let file: Arc<str> = path.into();
        for (index, text) in text.split('\n').enumerate() {
            let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let at = Position { file: Arc::clone(&file), line };
            match split(text) {
                _ if self.lines.len() >= LINES_MAX => {
                    return self.faults.push(Fault::TooManyLines { at, max: LINES_MAX });
                }
                _ if text.len() > LINE_BYTES_MAX => {
                    self.faults.push(Fault::LineTooLong { at, max: LINE_BYTES_MAX });
                }
                None => {}
                Some(("include_dir", folder)) => self.include(&at, folder, included.is_some()),
                Some((name, value)) => {
                    let (name, value) = (name.to_owned(), value.to_owned());
                    self.lines.push(Line { at, file: number, name, value });
                }
            }
        }
    }

    fn include(&mut self, at: &Position, folder: &str, is_included: bool) {
        if is_included {
            return self.faults.push(Fault::NestedInclude { at: at.clone() });
        }
        if folder.is_empty() {
            return self.faults.push(Fault::NoValue { at: at.clone(), name: "include_dir".into() });
        }
        let names = match self.source.list(folder) {
            Ok(names) => include_order(names),
            Err(reason) => {
                let (at, path) = (Some(at.clone()), folder.to_owned());
                return self.faults.push(Fault::Unreadable { at, path, reason });
            }
        };
        if self.files + names.len() > FILES_MAX {
            return self.faults.push(Fault::TooManyFiles { at: at.clone(), max: FILES_MAX });
        }
        for name in names {
            self.file(&format!("{}/{name}", folder.trim_end_matches('/')), Some(at));
        }
    }
}

/// The directive and its value; `None` for a comment or a blank line.
fn split(line: &str) -> Option<(&str, &str)> {
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim_end_matches(['\r', '\n']).trim_start_matches(' ');
    let (name, value) = line.split_once(' ').unwrap_or((line, ""));
    let is_blank = |c: char| c == ' ' || c == '\t';
    if name.trim_matches(is_blank).is_empty() && value.trim_matches(is_blank).is_empty() {
        return None;
    }
    Some((name, value.trim_matches(is_blank)))
}
