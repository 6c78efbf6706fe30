//! What a load measured.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;

use super::plan::Topology;
use super::{Measured, Settings};
use crate::tally::{Latency, Tally};
use crate::wire::Version;

/// What a load measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Who published to whom.
    pub topology: Topology,
    /// Publishers in all.
    pub publishers: usize,
    /// Subscribers in all.
    pub subscribers: usize,
    /// QoS of messages and subscriptions.
    pub qos: u8,
    /// Whether the subscribers' sessions outlived their connections.
    pub is_durable: bool,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// The protocol.
    pub mqtt: Version,
    /// Whether TLS was spoken.
    pub is_tls: bool,
    /// Messages on their way per publisher, at most.
    pub window: u32,
    /// Messages that were to be published each second; `None`: as many as possible.
    pub rate: Option<f64>,
    /// Seconds measured.
    pub seconds: f64,
    /// Messages that arrived at subscribers.
    pub delivered: u64,
    /// The same, each second.
    pub messages_per_second: f64,
    /// Deliveries that did not come, warm-up included.
    pub lost: u64,
    /// Messages that came again.
    pub duplicates: u64,
    /// Messages that were due and not sent: the broker did not keep up.
    pub skipped: u64,
    /// From sending to receiving.
    pub latency_micros: Latency,
    /// What it cost the broker, where its process is known.
    pub broker: Option<BrokerCost>,
    /// The generator's own CPU time for each delivered message, in microseconds.
    pub generator_cpu_micros_per_message: f64,
}

/// What a load cost the broker.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BrokerCost {
    /// CPU time for each delivered message, in microseconds.
    pub cpu_micros_per_message: f64,
    /// CPU time over time: 1 is one core.
    pub cores: f64,
    /// Resident memory at the end.
    pub resident_bytes: u64,
}

impl Report {
    pub(super) fn new(settings: &Settings, measured: &Measured, tally: &Tally) -> Result<Self> {
        if measured.delivered == 0 {
            bail!(
                "no message was delivered: may this user publish to and receive {}/load/+?",
                settings.topic
            );
        }
        let per_message =
            |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / measured.delivered as f64;
        let broker = measured.broker_cpu.zip(measured.broker_resident_bytes);
        Ok(Self {
            topology: settings.topology,
            publishers: settings.plan.groups * settings.plan.publishers,
            subscribers: settings.plan.groups * settings.plan.subscribers,
            qos: settings.qos,
            is_durable: settings.is_durable,
            payload_bytes: settings.payload_bytes,
            mqtt: settings.target.version,
            is_tls: settings.target.tls.is_some(),
            window: settings.window_size(),
            rate: settings.rate,
            seconds: measured.seconds,
            delivered: measured.delivered,
            messages_per_second: measured.delivered as f64 / measured.seconds,
            lost: tally.lost,
            duplicates: tally.duplicates,
            skipped: tally.skipped,
            latency_micros: tally.latency(),
            broker: broker.map(|(cpu, resident_bytes)| BrokerCost {
                cpu_micros_per_message: per_message(cpu),
                cores: cpu.as_secs_f64() / measured.seconds,
                resident_bytes,
            }),
            generator_cpu_micros_per_message: per_message(measured.generator_cpu),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} publishers to {} {}subscribers, QoS {}, {} bytes, window {}, {:.1} s",
            self.publishers,
            self.subscribers,
            if self.is_durable { "durable " } else { "" },
            self.qos,
            self.payload_bytes,
            self.window,
            self.seconds
        )?;
        let Latency { p50, p99, p999, max, .. } = self.latency_micros;
        writeln!(f, "  messages/s    {:.0}", self.messages_per_second)?;
        writeln!(
            f,
            "  latency       p50 {p50:.0} us, p99 {p99:.0} us, p999 {p999:.0} us, max {max:.0} us"
        )?;
        if let Some(broker) = &self.broker {
            writeln!(
                f,
                "  broker        {:.2} CPU-us per delivered message, {:.2} cores, {:.1} MiB resident",
                broker.cpu_micros_per_message,
                broker.cores,
                broker.resident_bytes as f64 / f64::from(1 << 20)
            )?;
        }
        write!(
            f,
            "  generator     {:.2} CPU-us per message",
            self.generator_cpu_micros_per_message
        )?;
        if self.lost > 0 {
            write!(f, "\n  LOST          {} deliveries did not come", self.lost)?;
        }
        if self.duplicates > 0 {
            write!(f, "\n  duplicates    {}", self.duplicates)?;
        }
        if self.skipped > 0 {
            write!(
                f,
                "\n  not sent      {}: the broker did not keep up with the rate",
                self.skipped
            )?;
        }
        Ok(())
    }
}
