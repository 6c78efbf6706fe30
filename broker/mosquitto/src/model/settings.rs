//! Values by directive, each with its line. Pure data.

use std::collections::BTreeMap;

use crate::conf::Position;

/// One value, as it is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The line.
    pub at: Position,
    /// The value; of a Boolean, a number or a word its first word alone.
    pub text: String,
}

/// The values of one scope. Their shapes are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<&'static str, Vec<Setting>>);

impl Settings {
    pub(super) fn push(&mut self, name: &'static str, setting: Setting) {
        self.0.entry(name).or_default().push(setting);
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last value of a directive: later ones override.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.0.get(name).and_then(|all| all.last())
    }

    /// Every value of a directive that may stand several times.
    pub fn all(&self, name: &str) -> &[Setting] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The text of a directive.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|setting| setting.text.as_str())
    }

    /// Whether a Boolean is set to true; `None` when it is not set.
    pub fn bool(&self, name: &str) -> Option<bool> {
        self.text(name).map(|text| text == "true")
    }

    /// A number.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.text(name).and_then(|text| text.parse().ok())
    }
}
