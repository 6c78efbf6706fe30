//! The directives of `mosquitto.conf`: what each takes, where it may stand, what becomes of it. Pure.

mod table;

use broker_config::nearest;

pub use table::DIRECTIVES;

/// What a directive takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `true`, `false`, `1` or `0`; what follows it is ignored.
    Bool,
    /// A whole number of this range; what follows it is ignored.
    Integer(i64, i64),
    /// The rest of the line.
    Text,
    /// One of these words; what follows it is ignored.
    Word(&'static [&'static str]),
    /// As [`Shape::Text`], and it may stand several times.
    Repeated,
    /// Anything, also nothing.
    Any,
}

/// Where a directive may stand, and what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Anywhere; about the whole broker.
    Global,
    /// After `listener`, or before the first one for the default listener.
    Listener,
    /// As [`Scope::Listener`] where `per_listener_settings` is true, else as [`Scope::Global`].
    Security,
    /// After `plugin`, `plugin_load` or `plugin_use`.
    Plugin,
    /// After `connection`.
    Bridge,
}

/// What becomes of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does here what it does there.
    Applied,
    /// It changes nothing that a client or an administrator could miss.
    Harmless,
    /// It is accepted and does nothing: this is told.
    Warned(&'static str),
    /// As [`Fate::Warned`], unless it has this value, which is how the broker is anyhow.
    WarnedUnless(&'static str, &'static str),
    /// Ignoring it would make the broker less safe: it does not start.
    Refused(&'static str),
    /// As [`Fate::Refused`], unless it has this value, which is how the broker is anyhow.
    RefusedUnless(&'static str, &'static str),
}

/// One directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub shape: Shape,
    /// Where it may stand.
    pub scope: Scope,
    /// What becomes of it.
    pub fate: Fate,
}

/// The options of a plugin: the rest of the name is the plugin's own.
const PLUGIN_OPTIONS: [&str; 2] = ["plugin_opt_", "auth_opt_"];

/// The directive with this name.
pub fn find(name: &str) -> Option<&'static Directive> {
    if plugin_option(name).is_some() {
        return find_exactly("plugin_opt_*");
    }
    find_exactly(name)
}

fn find_exactly(name: &str) -> Option<&'static Directive> {
    let at = DIRECTIVES.binary_search_by(|directive| directive.name.cmp(name)).ok()?;
    DIRECTIVES.get(at)
}

/// What a plugin calls the option: `config_file` for `plugin_opt_config_file`.
pub(crate) fn plugin_option(name: &str) -> Option<&str> {
    let option = PLUGIN_OPTIONS.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    (!option.is_empty() && option != "*").then_some(option)
}

/// Longest unknown name that another one is looked for, in bytes; the longest known has 30.
const UNKNOWN_BYTES_MAX: usize = 64;

/// The known name that is nearest to an unknown one.
pub(crate) fn nearest_name(name: &str) -> Option<&'static str> {
    if name.len() > UNKNOWN_BYTES_MAX {
        return None;
    }
    let names: Vec<&'static str> = DIRECTIVES.iter().map(|directive| directive.name).collect();
    nearest(name, &names)
}
