//! What the operator counts; `/metrics` prints it. Labels are bounded: controllers, kinds and outcomes, never object names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// Seconds of a reconcile or a push: from a millisecond to half a minute.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];

/// The operator's metrics, one set a process, shared by both platforms.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// `mqtt_operator_reconcile_seconds{controller}`: how long reconciles take.
    pub reconcile_seconds: HistogramVec,
    /// `mqtt_operator_reconcile_errors_total{controller,reason}`: those that failed, by the error's variant.
    pub reconcile_errors: IntCounterVec,
    /// `mqtt_operator_writes_total{kind}`: objects and statuses written (at rest: none).
    pub writes: IntCounterVec,
    /// `mqtt_operator_policy_push_seconds`: from a compiled policy that differs to every serving broker enforcing it.
    pub policy_push_seconds: Histogram,
    /// `mqtt_operator_policy_records_sent_total{change}`: see [`Metrics::records_sent`].
    policy_records_sent: IntCounterVec,
    /// `mqtt_operator_disruptions_total{reason}`: brokers that were restarted, by the rollout planner's reason, or taken out
    /// of the membership (`Remove`).
    pub disruptions: IntCounterVec,
    /// `mqtt_operator_objects{kind}`: custom resources known.
    pub objects: IntGaugeVec,
    /// `mqtt_operator_leader`: 1 while this process leads.
    pub leader: IntGauge,
    known: Known,
}

/// Who knows how many objects there are, asked when the metrics are printed.
#[derive(Clone, Default)]
struct Known(Arc<Mutex<Vec<Count>>>);

type Count = Box<dyn Fn() -> Vec<(&'static str, usize)> + Send>;

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Metrics {
    /// A new set.
    ///
    /// # Errors
    /// A name was registered twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let seconds =
            |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let metrics = Self {
            reconcile_seconds: HistogramVec::new(
                seconds("mqtt_operator_reconcile_seconds", "Duration of reconciles."),
                &["controller"],
            )?,
            reconcile_errors: IntCounterVec::new(
                Opts::new("mqtt_operator_reconcile_errors_total", "Reconciles that failed."),
                &["controller", "reason"],
            )?,
            writes: IntCounterVec::new(
                Opts::new("mqtt_operator_writes_total", "Objects and statuses written."),
                &["kind"],
            )?,
            policy_push_seconds: Histogram::with_opts(seconds(
                "mqtt_operator_policy_push_seconds",
                "From a policy that differs to every serving broker enforcing it.",
            ))?,
            policy_records_sent: IntCounterVec::new(
                Opts::new("mqtt_operator_policy_records_sent_total", "Policy records sent."),
                &["change"],
            )?,
            disruptions: IntCounterVec::new(
                Opts::new("mqtt_operator_disruptions_total", "Brokers restarted or removed."),
                &["reason"],
            )?,
            objects: IntGaugeVec::new(
                Opts::new("mqtt_operator_objects", "Custom resources known."),
                &["kind"],
            )?,
            leader: IntGauge::new("mqtt_operator_leader", "1 while this process leads.")?,
            known: Known::default(),
            registry,
        };
        metrics.register()?;
        Ok(metrics)
    }

    /// Notes how many policy records a push sent to the brokers: `upserts` were added or replaced, `removals` taken out.
    pub fn records_sent(&self, upserts: usize, removals: usize) {
        for (change, count) in [("upsert", upserts), ("removal", removals)] {
            self.policy_records_sent.with_label_values(&[change]).inc_by(count as u64);
        }
    }

    /// From now on `mqtt_operator_objects` is the sum of what all who were given here say by kind, asked whenever the metrics
    /// are printed.
    pub fn count_objects(&self, count: impl Fn() -> Vec<(&'static str, usize)> + Send + 'static) {
        self.known.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(count));
    }

    fn update_objects(&self) {
        let mut sums: BTreeMap<&'static str, usize> = BTreeMap::new();
        let known = self.known.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, count) in known.iter().flat_map(|count| count()) {
            *sums.entry(kind).or_default() += count;
        }
        for (kind, sum) in sums {
            self.objects.with_label_values(&[kind]).set(i64::try_from(sum).unwrap_or(i64::MAX));
        }
    }

    fn register(&self) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(self.reconcile_seconds.clone()))?;
        self.registry.register(Box::new(self.reconcile_errors.clone()))?;
        self.registry.register(Box::new(self.writes.clone()))?;
        self.registry.register(Box::new(self.policy_push_seconds.clone()))?;
        self.registry.register(Box::new(self.policy_records_sent.clone()))?;
        self.registry.register(Box::new(self.disruptions.clone()))?;
        self.registry.register(Box::new(self.objects.clone()))?;
        self.registry.register(Box::new(self.leader.clone()))
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// A metric could not be written as text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        self.update_objects();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_name_and_counts_what_was_counted() {
        let metrics = Metrics::new().unwrap();
        metrics.records_sent(3, 0);
        metrics.records_sent(1, 2);
        metrics.disruptions.with_label_values(&["Remove"]).inc();
        metrics.reconcile_errors.with_label_values(&["cluster", "NameTaken"]).inc();
        metrics.reconcile_seconds.with_label_values(&["cluster"]).observe(0.002);
        metrics.writes.with_label_values(&["Secret"]).inc();
        metrics.policy_push_seconds.observe(0.02);
        metrics.leader.set(1);
        let text = metrics.text().unwrap();
        for line in [
            "mqtt_operator_policy_records_sent_total{change=\"upsert\"} 4",
            "mqtt_operator_policy_records_sent_total{change=\"removal\"} 2",
            "mqtt_operator_disruptions_total{reason=\"Remove\"} 1",
            "mqtt_operator_reconcile_errors_total{controller=\"cluster\",reason=\"NameTaken\"} 1",
            "mqtt_operator_reconcile_seconds_bucket{controller=\"cluster\",le=\"0.005\"} 1",
            "mqtt_operator_writes_total{kind=\"Secret\"} 1",
            "mqtt_operator_policy_push_seconds_count 1",
            "mqtt_operator_leader 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn objects_are_summed_over_all_who_count_each_time_they_are_printed() {
        let metrics = Metrics::new().unwrap();
        let users = Arc::new(Mutex::new(2));
        let counted = Arc::clone(&users);
        metrics.count_objects(move || vec![("MqttUser", *counted.lock().unwrap())]);
        metrics.count_objects(|| vec![("MqttUser", 5), ("MqttAcl", 1)]);
        let has = |line: &str| metrics.text().unwrap().lines().any(|found| found == line);
        assert!(has("mqtt_operator_objects{kind=\"MqttUser\"} 7"));
        *users.lock().unwrap() = 0;
        assert!(has("mqtt_operator_objects{kind=\"MqttUser\"} 5"));
        assert!(has("mqtt_operator_objects{kind=\"MqttAcl\"} 1"));
    }
}
