//! [`MosquittoConfig`] -> the broker's own configuration, and what will not be as it was. Pure.

mod limits;
mod listeners;
mod log;
mod policy;
mod protocol;
mod tls;

use std::fmt;
use std::path::{Path, PathBuf};

use broker_config::{Config, Durability, Profile, RawConfig, RawDelayed, RawMqtt, RawSys};

use crate::conf::{self, Position, Source};
use crate::fault::{Fault, Faults};
use crate::model::{Built, MosquittoConfig, PluginKind};

/// Folder for the broker's files, in Mosquitto's own.
const DATA_FOLDER: &str = "dunlin";

/// What the command line adds to the file.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// `-p`: the port, where the file has no listener.
    pub port: Option<u16>,
    /// `-v`: everything is logged.
    pub verbose: bool,
    /// Whether the process is the superuser's.
    pub is_root: bool,
    /// Where files lie that need not outlive the process: those of a broker without `persistence`.
    pub transient_dir: &'a Path,
}

/// What is to be told of a configuration that the broker starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The line.
    pub at: Option<Position>,
    /// What will not be as it was, as a sentence.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Some(at) => write!(f, "{at}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The broker's own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// What `broker.toml` would say.
    pub config: RawConfig,
    /// What will not be as it was, in the order of the lines.
    pub warnings: Vec<Warning>,
}

/// Reads a configuration and what it includes, and says it in the broker's own words.
///
/// `path`: the main file; `None`: Mosquitto was started without one.
///
/// # Errors
/// Every line that is wrong, or that can't be honoured and matters.
pub fn translate(
    path: Option<&str>,
    source: &mut dyn Source,
    options: Options<'_>,
) -> Result<Translation, Faults> {
    let (lines, faults) = match path {
        Some(path) => conf::read(path, source),
        None => Default::default(),
    };
    let mut built = MosquittoConfig::build(&lines);
    let mut all = faults.0;
    all.append(&mut built.faults.0);
    let Built { mut config, warnings, .. } = built;
    let mut translator = Translator { source, faults: all, warnings };
    translator.command_line(&mut config, options);
    let raw = translator.raw(&config, options);
    let Translator { mut faults, mut warnings, .. } = translator;
    if faults.is_empty()
        && let Err(error) = Config::try_from(raw.clone())
    {
        let (path, reason) = (path.unwrap_or_default().to_owned(), error.to_string());
        faults.push(Fault::Unreadable { at: None, path, reason });
    }
    let place = |at: &Option<Position>| {
        let file = |at: &Position| lines.iter().position(|line| line.at == *at);
        at.as_ref().and_then(file).unwrap_or(usize::MAX)
    };
    warnings.sort_by_key(|warning| place(&warning.at));
    Faults(faults).into_result()?;
    Ok(Translation { config: raw, warnings })
}

struct Translator<'a> {
    source: &'a mut dyn Source,
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
}

impl Translator<'_> {
    fn warn(&mut self, at: Option<&Position>, message: impl Into<String>) {
        self.warnings.push(Warning { at: at.cloned(), message: message.into() });
    }

    fn refuse(&mut self, at: &Position, name: &str, why: impl Into<String>) {
        let (at, name) = (at.clone(), name.to_owned());
        self.faults.push(Fault::Refused { at, name, why: why.into() });
    }

    /// As Mosquitto does: `-p` is for a configuration without listeners.
    fn command_line(&mut self, config: &mut MosquittoConfig, options: Options<'_>) {
        match options.port {
            None => {}
            Some(port) if config.is_local => config.listeners[0].port = port,
            Some(port) => {
                let why = "the configuration has listeners of its own";
                self.warn(None, format!("-p {port} is ignored: {why}"));
            }
        }
    }

    fn raw(&mut self, config: &MosquittoConfig, options: Options<'_>) -> RawConfig {
        self.plugins(config);
        let is_persistent = self.is_persistent(config);
        self.user(config, options);
        let mqtt = RawMqtt { profile: Profile::Mosquitto, ..self.mqtt(config) };
        let (listeners, tls, policy) = self.listeners(config, &mqtt);
        RawConfig {
            data_dir: data_dir(config, is_persistent, options.transient_dir),
            workers: 0,
            pid_file: config.global.text("pid_file").map(PathBuf::from),
            durability: if is_persistent { Durability::Local } else { Durability::Memory },
            partition_policy: Default::default(),
            cluster: None,
            peers: None,
            admin: None,
            metrics: None,
            tls,
            policy,
            listeners,
            sessions: self.sessions(config, &mqtt),
            mqtt,
            retained: Default::default(),
            limits: self.limits(config),
            sys: sys(config),
            redirect: Default::default(),
            durability_rules: Vec::new(),
            rewrites: Vec::new(),
            auto_subscriptions: Vec::new(),
            // To Mosquitto these topics are like others.
            delayed: RawDelayed { messages_max: 0, ..RawDelayed::default() },
            log: self.log(config, options.verbose),
        }
    }

    /// Mosquitto becomes this user once it listens. The broker does not: where it would stay the
    /// superuser it does not start.
    fn user(&mut self, config: &MosquittoConfig, options: Options<'_>) {
        let Some(setting) = config.global.get("user") else {
            if options.is_root {
                self.warn(
                    None,
                    "user: the broker stays root, which starts it, where Mosquitto would become the \
                     user mosquitto; start it as that user",
                );
            }
            return;
        };
        if setting.text == "root" {
            return;
        }
        let advice = format!("start it as {}, and give that user the files", setting.text);
        match options.is_root {
            true => {
                let why = format!(
                    "the broker stays the user that starts it, which is root: {advice}; or write \
                     `user root`"
                );
                self.refuse(&setting.at, "user", why);
            }
            false => {
                let what = "the broker stays the user that starts it";
                self.warn(Some(&setting.at), format!("user: {what}"));
            }
        }
    }

    fn is_persistent(&mut self, config: &MosquittoConfig) -> bool {
        let setting = ["persistence", "retained_persistence"]
            .into_iter()
            .find_map(|name| config.global.get(name));
        let is_persistent = setting.is_some_and(|setting| setting.text == "true");
        if is_persistent {
            let at = setting.map(|setting| &setting.at);
            let what = "retained messages and sessions are kept in a form of this broker's own; \
                        mosquitto.db is neither read nor written";
            self.warn(at, format!("persistence: {what}"));
        }
        is_persistent
    }

    fn plugins(&mut self, config: &MosquittoConfig) {
        for plugin in &config.plugins {
            match plugin.kind() {
                None => self.refuse(
                    &plugin.at,
                    "plugin",
                    format!(
                        "{:?} is none of the plugins that are known here: \
                         mosquitto_dynamic_security, mosquitto_password_file, mosquitto_acl_file",
                        plugin.path
                    ),
                ),
                Some(PluginKind::DynamicSecurity) => self.warn(
                    Some(&plugin.at),
                    "plugin: dynamic security is read from its file, at the start and at HUP; \
                     there are no $CONTROL topics yet",
                ),
                Some(PluginKind::PasswordFile | PluginKind::AclFile) => {}
            }
        }
    }
}

fn sys(config: &MosquittoConfig) -> RawSys {
    let asked = config.global.integer("sys_interval").and_then(|n| u16::try_from(n).ok());
    asked.map_or_else(RawSys::default, |interval_seconds| RawSys { interval_seconds })
}

fn data_dir(config: &MosquittoConfig, is_persistent: bool, transient_dir: &Path) -> PathBuf {
    if !is_persistent {
        return transient_dir.to_owned();
    }
    let folder = config.global.text("persistence_location").unwrap_or_default();
    Path::new(folder).join(DATA_FOLDER)
}
