//! What the operator counts; `/metrics` prints it. Labels are bounded: controllers, kinds and outcomes, never object names.

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
    /// `mqtt_operator_policy_records_sent_total{change}`: records sent to brokers: `upsert` or `removal`.
    pub policy_records_sent: IntCounterVec,
    /// `mqtt_operator_disruptions_total{reason}`: brokers that were restarted or removed, by the planner's reason.
    pub disruptions: IntCounterVec,
    /// `mqtt_operator_objects{kind}`: custom resources known.
    pub objects: IntGaugeVec,
    /// `mqtt_operator_leader`: 1 while this process leads.
    pub leader: IntGauge,
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
            registry,
        };
        metrics.register()?;
        Ok(metrics)
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

    /// Counts records that were sent to brokers: those put in or replaced, and those taken out.
    pub fn records_sent(&self, upserts: usize, removals: usize) {
        for (change, count) in [("upsert", upserts), ("removal", removals)] {
            self.policy_records_sent.with_label_values(&[change]).inc_by(count as u64);
        }
    }

    /// All of it in Prometheus' text format.
    ///
    /// # Errors
    /// A metric could not be written as text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
