//! What a configuration says: listeners with their settings, plugins, bridges, and the rest. Pure.

mod build;
mod security;
mod settings;
mod shape;

use crate::conf::Position;

pub(crate) use security::PluginKind;
pub use security::Security;
pub use settings::{Setting, Settings};

pub(crate) use build::Built;

/// Port of a listener that names none.
const PORT_DEFAULT: u16 = 1_883;

/// A configuration, line by line correct. Made by `MosquittoConfig::build`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MosquittoConfig {
    /// What holds for the whole broker.
    pub global: Settings,
    /// Where clients connect, at least one, in the order of the file; the default listener comes
    /// first if it is used.
    pub listeners: Vec<Listener>,
    /// Neither `listener` nor `port` nor `bind_address` is there: only this machine connects, and
    /// anonymous clients may.
    pub is_local: bool,
    /// Extensions.
    pub plugins: Vec<Plugin>,
    /// Connections to other brokers.
    pub bridges: Vec<Bridge>,
    /// `per_listener_settings`.
    pub per_listener: bool,
}

/// A place where clients connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listener {
    /// The line that begins it; `None` for the default listener.
    pub at: Option<Position>,
    /// TCP port; 0 with a path in `host` for a Unix socket.
    pub port: u16,
    /// The address, host name or socket path to bind; `None`: every address.
    pub host: Option<String>,
    /// What is said of it.
    pub settings: Settings,
}

/// An extension of Mosquitto.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// The line that loads it.
    pub at: Position,
    /// What `plugin_load` calls it.
    pub name: Option<String>,
    /// Its file.
    pub path: String,
    /// Its options, by the plugin's own names.
    pub options: Vec<(String, Setting)>,
    /// Whether it is used by all listeners; else by those in `listeners`.
    pub is_global: bool,
    /// Indices of the listeners that use it.
    pub listeners: Vec<usize>,
}

impl Plugin {
    /// Its file's name without folder and suffix.
    pub fn file_stem(&self) -> &str {
        let file = self.path.rsplit('/').next().unwrap_or_default();
        file.split('.').next().unwrap_or_default()
    }

    /// An option.
    pub fn option(&self, name: &str) -> Option<&Setting> {
        self.options.iter().find(|(key, _)| key == name).map(|(_, setting)| setting)
    }

    fn is_used_by(&self, listener: usize) -> bool {
        self.is_global || self.listeners.contains(&listener)
    }
}

/// A connection to another broker; kept for the day when it can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The line that begins it.
    pub at: Position,
    /// Its name.
    pub name: String,
    /// What is said of it.
    pub settings: Settings,
}
