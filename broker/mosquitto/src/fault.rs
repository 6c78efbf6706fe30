//! What is wrong with a file. Each message says where, and what to change.

use std::fmt;

use crate::conf::Position;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A file or a folder can't be read.
    #[error("{}{path}: {reason}", place(at))]
    Unreadable {
        /// The line that names it.
        at: Option<Position>,
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A line is too long.
    #[error("{at}: the line is longer than {max} bytes; split it")]
    LineTooLong {
        /// The line.
        at: Position,
        /// The most.
        max: usize,
    },
    /// There are too many lines.
    #[error("{at}: the configuration has more than {max} lines; shorten it")]
    TooManyLines {
        /// The first one too many.
        at: Position,
        /// The most.
        max: usize,
    },
    /// There are too many files.
    #[error("{at}: the configuration has more than {max} files; put some together")]
    TooManyFiles {
        /// The line that includes them.
        at: Position,
        /// The most.
        max: usize,
    },
    /// An included file includes others.
    #[error("{at}: include_dir counts in the main file only; move the line there")]
    NestedInclude {
        /// The line.
        at: Position,
    },
    /// No such directive.
    #[error("{at}: unknown directive {name:?}; {}", advice(name, *nearest))]
    Unknown {
        /// The line.
        at: Position,
        /// The directive.
        name: String,
        /// The known one that is nearest.
        nearest: Option<&'static str>,
    },
    /// Nothing follows the directive.
    #[error("{at}: {name} has no value; write one after it")]
    NoValue {
        /// The line.
        at: Position,
        /// The directive.
        name: String,
    },
    /// The value is not what the directive takes.
    #[error("{at}: {name} {value:?}: {expected} is expected")]
    Value {
        /// The line.
        at: Position,
        /// The directive.
        name: &'static str,
        /// What stands there.
        value: String,
        /// What should, with its article.
        expected: String,
    },
    /// A directive that stands once stands twice.
    #[error("{at}: {name} is given a second time, after {first}; remove one of the lines")]
    Duplicate {
        /// The second line.
        at: Position,
        /// The directive.
        name: &'static str,
        /// The first line.
        first: Position,
    },
    /// The directive belongs to something that no line before it begins.
    #[error("{at}: {name} belongs after a line {needs:?}; move it there")]
    Misplaced {
        /// The line.
        at: Position,
        /// The directive.
        name: &'static str,
        /// The directive that must stand before.
        needs: &'static str,
    },
    /// Ignoring the line would make the broker less safe, and it can't be honoured.
    #[error("{at}: {name} can't be honoured, and the broker does not start without it: {why}")]
    Refused {
        /// The line.
        at: Position,
        /// The directive.
        name: String,
        /// Why, and what to do.
        why: String,
    },
    /// A line of a password or ACL file is wrong.
    #[error("{at}: {problem}")]
    Line {
        /// The line.
        at: Position,
        /// What is wrong, and what to write.
        problem: String,
    },
}

/// Everything that is wrong, in the order of the lines; one message a line when shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// Itself, when something is.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

fn place(at: &Option<Position>) -> String {
    at.as_ref().map_or_else(String::new, |at| format!("{at}: "))
}

fn advice(name: &str, nearest: Option<&str>) -> String {
    if name.contains('\t') {
        return "put a space, not a tab, between a directive and its value".to_owned();
    }
    match nearest {
        Some(nearest) => format!("did you mean {nearest:?}?"),
        None => "Mosquitto has none of this name: remove the line".to_owned(),
    }
}
