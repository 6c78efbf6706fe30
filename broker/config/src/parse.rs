//! Text -> [`RawConfig`] -> [`Config`], with errors that point at the line. Pure.

use crate::config::Config;
use crate::error::ParseError;
use crate::name::nearest;
use crate::raw::RawConfig;
use crate::raw_features::RawMetrics;

/// Environment variables that override a key, with the key. Few on purpose: the file is what the
/// operator and the broker agree on.
pub const OVERRIDES: [(&str, &str); 6] = [
    ("DUNLIN_DATA_DIR", "data_dir"),
    ("DUNLIN_WORKERS", "workers"),
    ("DUNLIN_LOG_FORMAT", "log.format"),
    ("DUNLIN_LOG_LEVEL", "log.level"),
    ("DUNLIN_METRICS_ADDRESS", "metrics.address"),
    ("DUNLIN_METRICS_ACKNOWLEDGE_PLAINTEXT", "metrics.acknowledge_plaintext"),
];

impl Config {
    /// Reads and checks the text of `broker.toml`.
    ///
    /// # Errors
    /// [`ParseError`]: where the text is wrong, or which of its values do not fit.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, |_| None)
    }

    /// As [`Config::parse`], with the variables of [`OVERRIDES`] looked up in `environment`.
    ///
    /// # Errors
    /// [`ParseError`]: where the text is wrong, or which of its values do not fit.
    pub fn parse_with(
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ParseError> {
        let mut raw = RawConfig::parse(text)?;
        raw.apply_overrides(environment)?;
        Ok(Self::try_from(raw)?)
    }
}

impl RawConfig {
    /// Reads the text, without a look at how its values fit together.
    ///
    /// # Errors
    /// [`ParseError::Syntax`] and [`ParseError::UnknownKey`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        toml::from_str(text).map_err(|error| locate(text, &error))
    }

    /// The text of the file. Parsing it again gives an equal value.
    ///
    /// # Panics
    /// Never: every type here has a TOML form.
    #[must_use]
    pub fn render(&self) -> String {
        toml::to_string(self).expect("invariant: every key of the configuration has a TOML form")
    }

    fn apply_overrides(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ParseError> {
        if let Some(value) = environment("DUNLIN_DATA_DIR") {
            self.data_dir = value.into();
        }
        if let Some(value) = environment("DUNLIN_WORKERS") {
            self.workers = scalar("DUNLIN_WORKERS", value, "a number from 0 to 32")?;
        }
        if let Some(value) = environment("DUNLIN_LOG_FORMAT") {
            self.log.format = word("DUNLIN_LOG_FORMAT", value, "json or text")?;
        }
        if let Some(value) = environment("DUNLIN_LOG_LEVEL") {
            self.log.level = word("DUNLIN_LOG_LEVEL", value, "error, warn, info, debug or trace")?;
        }
        if let Some(value) = environment("DUNLIN_METRICS_ADDRESS") {
            let expected = "an address and a port, as 127.0.0.1:9090";
            let address = scalar("DUNLIN_METRICS_ADDRESS", value, expected)?;
            let acknowledge_plaintext =
                self.metrics.take().is_some_and(|m| m.acknowledge_plaintext);
            self.metrics = Some(RawMetrics { address, acknowledge_plaintext });
        }
        let variable = "DUNLIN_METRICS_ACKNOWLEDGE_PLAINTEXT";
        if let (Some(metrics), Some(value)) = (&mut self.metrics, environment(variable)) {
            metrics.acknowledge_plaintext = scalar(variable, value, "true or false")?;
        }
        Ok(())
    }
}

fn scalar<T: std::str::FromStr>(
    variable: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, ParseError> {
    value.parse().map_err(|_| ParseError::Override { variable, value, expected })
}

fn word<T: serde::de::DeserializeOwned>(
    variable: &'static str,
    value: String,
    expected: &'static str,
) -> Result<T, ParseError> {
    use serde::de::IntoDeserializer as _;
    use serde::de::value::{Error, StrDeserializer};
    let source: StrDeserializer<'_, Error> = value.as_str().into_deserializer();
    T::deserialize(source).map_err(|_| ParseError::Override { variable, value, expected })
}

/// Turns the parser's error into one that names line and column, and for an unknown key the
/// nearest valid one.
fn locate(text: &str, error: &toml::de::Error) -> ParseError {
    let at = error.span().map_or(0, |span| span.start).min(text.len());
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    let message = error.message();
    // serde writes: unknown field `x`, expected one of `a`, `b` (or: expected `a`).
    if message.starts_with("unknown field") {
        let mut quoted = message.split('`').skip(1).step_by(2).map(str::to_owned);
        if let Some(key) = quoted.next() {
            let valid: Vec<String> = quoted.collect();
            let words: Vec<&str> = valid.iter().map(String::as_str).collect();
            let nearest = nearest(&key, &words).map(str::to_owned);
            return ParseError::UnknownKey { line, key, nearest, valid };
        }
    }
    ParseError::Syntax { line, column, message: message.to_owned() }
}
