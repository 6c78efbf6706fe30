//! What one scrape writes.

use std::collections::HashMap;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::latency::{BOUNDS_MICROS, LatencyCounts};

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

    /// How long something takes, in seconds.
    pub(super) fn seconds(&mut self, name: &str, help: &str, read: &LatencyCounts) -> Written {
        let name = format!("{PREFIX}{name}");
        let desc = Desc::new(name, help.to_owned(), Vec::new(), HashMap::new())?;
        self.add(Times { desc, read: *read })
    }

    /// The page in Prometheus' text format.
    pub(super) fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    fn add(&mut self, family: impl Collector + 'static) -> Written {
        self.registry.register(Box::new(family))
    }
}

/// Times that were counted elsewhere, as a histogram.
struct Times {
    desc: Desc,
    read: LatencyCounts,
}

impl Collector for Times {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let buckets = BOUNDS_MICROS.iter().zip(self.read.cumulative).map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound as f64 / 1e6);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(self.read.count);
        histogram.set_sample_sum(self.read.sum_micros as f64 / 1e6);
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latency::Latency;

    #[test]
    fn a_page_has_help_types_and_labels() {
        let mut page = Page::new();
        let workers = &[("0", 3), ("1", 4)];
        page.family(Kind::Gauge, "connections", "Open.", "worker", workers).unwrap();
        page.family(Kind::Counter, "bytes_total", "Bytes.", "direction", &[("sent", 9)]).unwrap();
        page.single(Kind::Counter, "log_syncs_total", "Fsyncs.", 5).unwrap();
        let latency = Latency::default();
        latency.note(Duration::from_micros(1_500));
        latency.note(Duration::from_secs(9));
        page.seconds("log_sync_seconds", "Time.", &latency.read()).unwrap();
        let text = page.text().unwrap();
        for line in [
            "# TYPE mqtt_broker_log_sync_seconds histogram",
            "mqtt_broker_log_sync_seconds_bucket{le=\"0.001\"} 0",
            "mqtt_broker_log_sync_seconds_bucket{le=\"0.0025\"} 1",
            "mqtt_broker_log_sync_seconds_bucket{le=\"5\"} 1",
            "mqtt_broker_log_sync_seconds_bucket{le=\"+Inf\"} 2",
            "mqtt_broker_log_sync_seconds_sum 9.0015",
            "mqtt_broker_log_sync_seconds_count 2",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.contains("# TYPE mqtt_broker_connections gauge"), "{text}");
        assert!(text.contains("mqtt_broker_connections{worker=\"1\"} 4"), "{text}");
        assert!(text.contains("mqtt_broker_bytes_total{direction=\"sent\"} 9"), "{text}");
        assert!(text.contains("# TYPE mqtt_broker_log_syncs_total counter"), "{text}");
        assert!(text.contains("mqtt_broker_log_syncs_total 5"), "{text}");
    }
}
