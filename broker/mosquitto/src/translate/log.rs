//! What is logged, and where to. Pure.

use broker_config::{LogFormat, LogLevel, RawLog};

use super::Translator;
use crate::fault::Fault;
use crate::model::{MosquittoConfig, Setting};

impl Translator<'_> {
    pub(super) fn log(&mut self, config: &MosquittoConfig, verbose: bool) -> RawLog {
        for setting in config.global.all("log_dest") {
            let word = setting.text.split(' ').next().unwrap_or_default();
            match word {
                "stderr" => {}
                "stdout" | "file" | "syslog" | "topic" | "dlt" | "none" | "android" => {
                    let message = format!("log_dest {word}: the log goes to standard error");
                    self.warn(Some(&setting.at), message);
                }
                _ => self.unknown(
                    setting,
                    "log_dest",
                    "stderr, stdout, syslog, topic, file and none",
                ),
            }
        }
        let mut level = None;
        for setting in config.global.all("log_type") {
            let word = setting.text.split(' ').next().unwrap_or_default();
            let this = match word {
                "none" | "error" => LogLevel::Error,
                "warning" => LogLevel::Warn,
                "notice" | "information" | "websockets" | "internal" => LogLevel::Info,
                "subscribe" | "unsubscribe" | "debug" | "all" => LogLevel::Debug,
                _ => {
                    let words = "debug, error, warning, notice, information, none and all";
                    self.unknown(setting, "log_type", words);
                    continue;
                }
            };
            level = Some(level.map_or(this, |level| more(level, this)));
        }
        let level = if verbose { LogLevel::Debug } else { level.unwrap_or_default() };
        RawLog { format: LogFormat::Text, level }
    }

    fn unknown(&mut self, setting: &Setting, name: &'static str, expected: &str) {
        let (at, value) = (setting.at.clone(), setting.text.clone());
        let expected = format!("one of {expected}");
        self.faults.push(Fault::Value { at, name, value, expected });
    }
}

/// The level that logs more.
fn more(one: LogLevel, other: LogLevel) -> LogLevel {
    let rank = |level| match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
        LogLevel::Trace => 4,
    };
    if rank(other) > rank(one) { other } else { one }
}
