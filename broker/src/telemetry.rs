//! Where the log goes, and in which shape: standard error, one line an event.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal as _;

use broker_config::{Log, LogFormat};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts logging. `RUST_LOG` wins over the level of the configuration. A second call in one
/// process changes nothing.
pub fn start(log: Log) {
    // openraft tells each of its steps at INFO; a broker's log is for what its operator can act on.
    let default = match log.level.as_str() {
        level @ ("debug" | "trace") => level.to_owned(),
        level => format!("{level},openraft=warn"),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let started = match log.format {
        LogFormat::Json => {
            let layer = layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
        LogFormat::Text => {
            let is_terminal = std::io::stderr().is_terminal();
            let layer = layer().with_ansi(is_terminal).with_writer(std::io::stderr);
            registry.with(layer).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging has been started before");
    }
}

/// Shows an error with its causes in one line: each level tells its own part only.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
