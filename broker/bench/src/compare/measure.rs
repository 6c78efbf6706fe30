//! Measures one row: the brokers take turns, round by round, and the median counts.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::broker::Broker;
use super::row::LoadRow;
use crate::tally::{Latency, median};
use crate::{idle, load, subscribe};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: usize,
    pub(super) warm_up: Duration,
    pub(super) length: Duration,
    /// Messages delivered each second while the latency is measured.
    pub(super) latency_rate: f64,
    pub(super) latency_length: Duration,
}

/// What one broker showed under load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct LoadFigures {
    pub(super) cpu_micros_per_message: f64,
    pub(super) messages_per_second: f64,
    /// At the given rate.
    pub(super) latency_micros: Latency,
    pub(super) lost: u64,
}

/// What one broker showed with idle connections.
#[derive(Clone, Debug, Serialize)]
pub(super) struct IdleFigures {
    pub(super) bytes_per_connection: f64,
    pub(super) cpu_micros_per_connection: f64,
    pub(super) opened_per_second: f64,
}

/// What one broker showed with many subscriptions.
#[derive(Clone, Debug, Serialize)]
pub(super) struct SubscribeFigures {
    pub(super) bytes_per_subscription: f64,
    pub(super) cpu_micros_per_subscription: f64,
    pub(super) subscriptions_per_second: f64,
    /// CPU for each delivered message, without and with the subscriptions.
    pub(super) cpu_micros_per_message: [f64; 2],
}

pub(super) fn load(row: &LoadRow, brokers: &[Broker], effort: &Effort) -> Result<Vec<LoadFigures>> {
    let mut rounds: Vec<Vec<load::Report>> = brokers.iter().map(|_| Vec::new()).collect();
    for _ in 0..effort.rounds {
        for (broker, reports) in brokers.iter().zip(&mut rounds) {
            let settings = settings(row, broker, effort)?;
            reports.push(load::run(&settings).with_context(|| broker.name)?);
        }
    }
    let mut figures = Vec::new();
    for (broker, reports) in brokers.iter().zip(rounds) {
        let mut settings = settings(row, broker, effort)?;
        settings.rate = Some((effort.latency_rate / settings.plan.subscribers as f64).max(1.0));
        settings.length = effort.latency_length;
        let paced = load::run(&settings).with_context(|| broker.name)?;
        let of = |value: fn(&load::Report) -> f64| {
            median(&reports.iter().map(value).collect::<Vec<_>>())
        };
        figures.push(LoadFigures {
            cpu_micros_per_message: of(cost),
            messages_per_second: of(|report| report.messages_per_second),
            latency_micros: paced.latency_micros,
            lost: paced.lost + reports.iter().map(|report| report.lost).sum::<u64>(),
        });
    }
    Ok(figures)
}

fn cost(report: &load::Report) -> f64 {
    report.broker.as_ref().map_or(0.0, |broker| broker.cpu_micros_per_message)
}

fn settings(row: &LoadRow, broker: &Broker, effort: &Effort) -> Result<load::Settings> {
    Ok(load::Settings {
        target: if row.is_tls { broker.tls.clone() } else { broker.plain.clone() },
        spread: None,
        pids: vec![broker.pid],
        topology: row.topology,
        plan: row.plan()?,
        qos: row.qos,
        is_durable: row.is_durable,
        payload_bytes: row.payload_bytes,
        window: None,
        warm_up: effort.warm_up,
        length: effort.length,
        rate: None,
        threads: 2,
        topic: "bench".to_owned(),
    })
}

pub(super) fn idle(connections: usize, broker: &Broker) -> Result<IdleFigures> {
    let settings = idle::Settings {
        target: broker.plain.clone(),
        pid: Some(broker.pid),
        connections,
        opening: 64,
        per_second: None,
        hold: Duration::ZERO,
    };
    let report = idle::run(&settings).with_context(|| broker.name)?;
    Ok(IdleFigures {
        bytes_per_connection: report.bytes_per_connection.unwrap_or_default(),
        cpu_micros_per_connection: report.cpu_micros_per_connection.unwrap_or_default(),
        opened_per_second: report.opened_per_second,
    })
}

pub(super) fn subscribe(
    filters: usize,
    broker: &Broker,
    effort: &Effort,
) -> Result<SubscribeFigures> {
    let settings = subscribe::Settings {
        target: broker.plain.clone(),
        pid: Some(broker.pid),
        filters,
        connections: filters.div_ceil(1000),
        filter: "bench/filters/{n}/+".to_owned(),
        qos: 0,
        load: effort.length,
    };
    let report = subscribe::run(&settings).with_context(|| broker.name)?;
    let message = |load: &Option<load::Report>| load.as_ref().map_or(0.0, cost);
    Ok(SubscribeFigures {
        bytes_per_subscription: report.bytes_per_subscription.unwrap_or_default(),
        cpu_micros_per_subscription: report.cpu_micros_per_subscription.unwrap_or_default(),
        subscriptions_per_second: report.subscriptions_per_second,
        cpu_micros_per_message: [message(&report.load_before), message(&report.load_after)],
    })
}
