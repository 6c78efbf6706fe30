//! Lines -> [`MosquittoConfig`]: each line checked, and put where it belongs. Pure.

use std::collections::BTreeMap;

use super::settings::Setting;
use super::shape::check;
use super::{Bridge, Listener, MosquittoConfig, PORT_DEFAULT, Plugin};
use crate::conf::Line;
use crate::directive::{Directive, Fate, Scope, Shape, find, nearest_name, plugin_option};
use crate::fault::{Fault, Faults};
use crate::translate::Warning;

/// Where the only listener of a configuration without one is.
const LOOPBACK: &str = "127.0.0.1";

/// A configuration, and what is to be told of it.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) config: MosquittoConfig,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) faults: Faults,
}

impl MosquittoConfig {
    /// Checks the lines and puts them together. Every fault is told.
    pub(crate) fn build(lines: &[Line]) -> Built {
        let per_listener = lines.iter().any(|line| {
            line.name == "per_listener_settings"
                && matches!(line.value.split(' ').next(), Some("true" | "1"))
        });
        let mut builder = Builder::default();
        builder.built.config.per_listener = per_listener;
        // The default listener; it goes again if nothing is said of it.
        builder.built.config.listeners.push(Listener::default());
        for line in lines {
            builder.line(line);
        }
        builder.finish()
    }
}

/// What a file's lines are about; a file begins with the default listener.
#[derive(Debug, Clone, Copy, Default)]
struct Current {
    listener: usize,
    bridge: Option<usize>,
    plugin: Option<usize>,
}

#[derive(Debug, Default)]
struct Builder {
    built: Built,
    current: BTreeMap<usize, Current>,
}

impl Builder {
    fn fault(&mut self, fault: Fault) {
        self.built.faults.0.push(fault);
    }

    fn line(&mut self, line: &Line) {
        let Some(directive) = find(&line.name) else {
            let (at, name) = (line.at.clone(), line.name.clone());
            let nearest = nearest_name(&line.name);
            return self.fault(Fault::Unknown { at, name, nearest });
        };
        let value = match check(line, directive) {
            Ok(value) => value,
            Err(fault) => return self.fault(fault),
        };
        if !self.accept(line, directive, &value) {
            return;
        }
        match directive.name {
            "listener" => self.listener(line, &value),
            "connection" => self.connection(line, &value),
            "plugin" | "auth_plugin" | "global_plugin" | "plugin_load" | "plugin_use" => {
                self.plugin(line, directive.name, &value);
            }
            _ => self.setting(line, directive, value),
        }
    }

    /// Whether the line is one that the broker may start with.
    fn accept(&mut self, line: &Line, directive: &Directive, value: &str) -> bool {
        let (at, name) = (line.at.clone(), line.name.clone());
        match directive.fate {
            Fate::Applied | Fate::Harmless => {}
            Fate::WarnedUnless(harmless, _) | Fate::RefusedUnless(harmless, _)
                if value == harmless => {}
            Fate::Warned(why) | Fate::WarnedUnless(_, why) => {
                let message = match directive.name {
                    "connection" => format!("{name} {value}: {why}"),
                    _ => format!("{name}: {why}"),
                };
                self.built.warnings.push(Warning { at: Some(at), message });
            }
            Fate::Refused(why) | Fate::RefusedUnless(_, why) => {
                self.fault(Fault::Refused { at, name, why: why.to_owned() });
                return false;
            }
        }
        true
    }

    fn current(&mut self, file: usize) -> &mut Current {
        self.current.entry(file).or_default()
    }

    fn listener(&mut self, line: &Line, value: &str) {
        let mut words = value.split(' ').filter(|word| !word.is_empty());
        let port = words.next().unwrap_or_default();
        let host = words.next().filter(|host| !host.starts_with('#'));
        let Ok(port) = port.parse::<u16>() else {
            return self.fault(Fault::Value {
                at: line.at.clone(),
                name: "listener",
                value: value.to_owned(),
                expected: "a port, and after it an address if only that one is to be bound,"
                    .to_owned(),
            });
        };
        if port == 0 && host.is_none() {
            return self.fault(Fault::Value {
                at: line.at.clone(),
                name: "listener",
                value: value.to_owned(),
                expected: "a port other than 0".to_owned(),
            });
        }
        let listeners = &mut self.built.config.listeners;
        let number = listeners.len();
        let (at, host) = (Some(line.at.clone()), host.map(str::to_owned));
        listeners.push(Listener { at, port, host, settings: Default::default() });
        self.current(line.file).listener = number;
    }

    fn connection(&mut self, line: &Line, value: &str) {
        let name = value.split(' ').next().unwrap_or_default().to_owned();
        let bridges = &mut self.built.config.bridges;
        if let Some(other) = bridges.iter().find(|bridge| bridge.name == name) {
            let (at, first) = (line.at.clone(), other.at.clone());
            return self.fault(Fault::Duplicate { at, name: "connection", first });
        }
        let number = bridges.len();
        bridges.push(Bridge { at: line.at.clone(), name, settings: Default::default() });
        self.current(line.file).bridge = Some(number);
    }

    fn plugin(&mut self, line: &Line, directive: &'static str, value: &str) {
        let listener = self.current(line.file).listener;
        let per_listener = self.built.config.per_listener;
        let (first, rest) = value.split_once(' ').unwrap_or((value, ""));
        let plugins = &mut self.built.config.plugins;
        let number = if directive == "plugin_use" {
            let Some(number) = plugins.iter().position(|p| p.name.as_deref() == Some(first)) else {
                let (at, needs) = (line.at.clone(), "plugin_load");
                return self.fault(Fault::Misplaced { at, name: "plugin_use", needs });
            };
            plugins[number].listeners.push(listener);
            number
        } else {
            let is_load = directive == "plugin_load";
            plugins.push(Plugin {
                at: line.at.clone(),
                name: is_load.then(|| first.to_owned()),
                path: if is_load { rest.trim() } else { first }.to_owned(),
                options: Vec::new(),
                is_global: directive == "global_plugin" || (!per_listener && !is_load),
                listeners: if per_listener && !is_load { vec![listener] } else { Vec::new() },
            });
            plugins.len() - 1
        };
        self.current(line.file).plugin = Some(number);
    }

    fn setting(&mut self, line: &Line, directive: &'static Directive, text: String) {
        let setting = Setting { at: line.at.clone(), text };
        let current = *self.current(line.file);
        let config = &mut self.built.config;
        let misplaced =
            |needs| Fault::Misplaced { at: line.at.clone(), name: directive.name, needs };
        let settings = match directive.scope {
            Scope::Global => &mut config.global,
            Scope::Security if !config.per_listener => &mut config.global,
            // These two make the default listener, wherever they stand.
            Scope::Listener if matches!(directive.name, "port" | "bind_address") => {
                self.current(line.file).listener = 0;
                return self.default_listener(directive, setting);
            }
            Scope::Listener | Scope::Security => &mut config.listeners[current.listener].settings,
            Scope::Bridge => match current.bridge {
                Some(bridge) => &mut config.bridges[bridge].settings,
                None => return self.fault(misplaced("connection")),
            },
            Scope::Plugin => {
                let Some(plugin) = current.plugin else {
                    return self.fault(misplaced("plugin"));
                };
                if let Some(option) = plugin_option(&line.name) {
                    config.plugins[plugin].options.push((option.to_owned(), setting));
                }
                return;
            }
        };
        let first = settings.get(directive.name).map(|first| first.at.clone());
        if let (Some(first), Shape::Text) = (first, directive.shape) {
            let at = line.at.clone();
            return self.fault(Fault::Duplicate { at, name: directive.name, first });
        }
        settings.push(directive.name, setting);
    }

    fn default_listener(&mut self, directive: &'static Directive, setting: Setting) {
        let listener = &mut self.built.config.listeners[0];
        match directive.name {
            "port" => listener.port = setting.text.parse().unwrap_or(PORT_DEFAULT),
            _ => listener.host = Some(setting.text.clone()),
        }
        listener.settings.push(directive.name, setting);
    }

    fn finish(mut self) -> Built {
        let config = &mut self.built.config;
        let default = &config.listeners[0];
        config.is_local =
            default.port == 0 && default.host.is_none() && config.listeners.len() == 1;
        let default = &mut config.listeners[0];
        let is_plugged = config.plugins.iter().any(|plugin| plugin.listeners.contains(&0));
        if config.is_local {
            default.host = Some(LOOPBACK.to_owned());
            default.port = PORT_DEFAULT;
        } else if default.settings.is_empty() && !is_plugged {
            config.listeners.remove(0);
            for plugin in &mut config.plugins {
                plugin.listeners.iter_mut().for_each(|listener| *listener -= 1);
            }
        } else if default.port == 0 {
            default.port = PORT_DEFAULT;
        }
        self.built
    }
}
