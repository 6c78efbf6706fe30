//! What one scrape writes.

use std::collections::HashMap;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// What every name begins with.
const PREFIX: &str = "mqtt_broker_";

/// What became of writing a family.
pub(super) type Written = Result<(), prometheus::Error>;

/// How a number behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The families of one scrape.
pub(super) struct Page {
    registry: Registry,
}

impl Page {
    /// An empty page.
    pub(super) fn new() -> Self {
        Self { registry: Registry::new() }
    }

    /// One number without labels.
    pub(super) fn single(&mut self, kind: Kind, name: &str, help: &str, value: u64) -> Written {
        let name = format!("{PREFIX}{name}");
        match kind {
            Kind::Counter => {
                let counter = IntCounter::new(name, help)?;
                counter.inc_by(value);
                self.add(counter)
            }
            Kind::Gauge => {
                let gauge = IntGauge::new(name, help)?;
                gauge.set(signed(value));
                self.add(gauge)
            }
        }
    }

    /// One number for each value of a label.
    pub(super) fn family(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&str, u64)],
    ) -> Written {
        let options = Opts::new(format!("{PREFIX}{name}"), help);
        match kind {
            Kind::Counter => {
                let family = IntCounterVec::new(options, &[label])?;
                for (value, number) in values {
                    family.get_metric_with(&HashMap::from([(label, *value)]))?.inc_by(*number);
                }
                self.add(family)
            }
            Kind::Gauge => {
                let family = IntGaugeVec::new(options, &[label])?;
                for (value, number) in values {
                    let number = signed(*number);
                    family.get_metric_with(&HashMap::from([(label, *value)]))?.set(number);
                }
                self.add(family)
            }
        }
    }

    /// The page in Prometheus' text format.
    pub(super) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn add(&mut self, family: impl Collector + 'static) -> Written {
        self.registry.register(Box::new(family))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_help_types_and_labels() {
        let mut page = Page::new();
        let workers = &[("0", 3), ("1", 4)];
        page.family(Kind::Gauge, "connections", "Open.", "worker", workers).unwrap();
        page.family(Kind::Counter, "bytes_total", "Bytes.", "direction", &[("sent", 9)]).unwrap();
        page.single(Kind::Counter, "log_syncs_total", "Fsyncs.", 5).unwrap();
        let text = page.text().unwrap();
        assert!(text.contains("# TYPE mqtt_broker_connections gauge"), "{text}");
        assert!(text.contains("mqtt_broker_connections{worker=\"1\"} 4"), "{text}");
        assert!(text.contains("mqtt_broker_bytes_total{direction=\"sent\"} 9"), "{text}");
        assert!(text.contains("# TYPE mqtt_broker_log_syncs_total counter"), "{text}");
        assert!(text.contains("mqtt_broker_log_syncs_total 5"), "{text}");
    }
}
