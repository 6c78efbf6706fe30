//! What is measured of a cluster, its bars, and the tables. Pure.

use std::fmt::Write as _;

use serde::Serialize;

/// Where publishers and subscribers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// On all brokers, a pair's two ends on different ones.
    All,
    /// Both on the leader.
    Local,
    /// Publishers on the leader, subscribers on another broker.
    Across,
    /// On two brokers that don't lead.
    Lone,
}

/// One load.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) route: Route,
    pub(super) pairs: usize,
    /// Messages of one publisher on their way.
    pub(super) window: u32,
    pub(super) qos: u8,
    pub(super) is_durable: bool,
    pub(super) payload_bytes: usize,
    pub(super) rate: Option<f64>,
    /// CPU-microseconds for each message, over all brokers.
    pub(super) bar: Option<f64>,
    /// The case whose cost is the measure, and how many times that it may cost.
    pub(super) compared_with: Option<String>,
    pub(super) ratio_bar: Option<f64>,
    pub(super) p50_bar: Option<f64>,
    /// Cores that all brokers together may keep busy.
    pub(super) cores_bar: Option<f64>,
}

impl Case {
    /// Ten pairs with a window of 100 each: 1,000 messages on their way.
    fn pairs(name: impl Into<String>, title: impl Into<String>, route: Route, qos: u8) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            route,
            pairs: 10,
            window: 100,
            qos,
            is_durable: false,
            payload_bytes: 64,
            rate: None,
            bar: None,
            compared_with: None,
            ratio_bar: None,
            p50_bar: None,
            cores_bar: None,
        }
    }
}

/// QoS 1 to durable sessions.
pub(super) fn durable() -> Vec<Case> {
    let durable = |name: &str, title: &str| Case {
        is_durable: true,
        ..Case::pairs(name, format!("durable, QoS 1, {title}"), Route::All, 1)
    };
    let slower = |rate: u32| Case {
        rate: Some(f64::from(rate)),
        cores_bar: Some(1.0),
        ..durable(&format!("durable-{rate}"), &format!("{rate} a second, 64 B"))
    };
    vec![
        Case { bar: Some(8.0), ..durable("durable-64", "1,000 in flight, 64 B") },
        Case {
            payload_bytes: 512,
            bar: Some(12.0),
            ..durable("durable-512", "1,000 in flight, 512 B")
        },
        Case {
            rate: Some(20_000.0),
            bar: Some(40.0),
            ..durable("durable-20000", "20000 a second, 64 B")
        },
        slower(10_000),
        slower(1_000),
        Case {
            route: Route::Lone,
            pairs: 1,
            window: 1,
            p50_bar: Some(3_000.0),
            ..durable("durable-lone", "a lone message, 64 B")
        },
    ]
}

/// From one broker to another.
pub(super) fn forward() -> Vec<Case> {
    [0, 1]
        .into_iter()
        .flat_map(|qos| {
            let local = format!("local-qos{qos}");
            let across = Case {
                compared_with: Some(local.clone()),
                ratio_bar: (qos == 0).then_some(2.0),
                ..Case::pairs(
                    format!("forward-qos{qos}"),
                    format!("QoS {qos}, from one broker to another"),
                    Route::Across,
                    qos,
                )
            };
            [Case::pairs(local, format!("QoS {qos}, on one broker"), Route::Local, qos), across]
        })
        .collect()
}

/// One broker with so many workers: as fast as it goes, and at a rate that one worker has time for, which shows what a second one
/// costs.
pub(super) fn workers(workers: u16) -> Vec<Case> {
    let case = |qos: u8, load: &str, title: &str, rate: Option<f64>| Case {
        rate,
        compared_with: (workers > 1).then(|| format!("workers-1-qos{qos}{load}")),
        ..Case::pairs(
            format!("workers-{workers}-qos{qos}{load}"),
            format!("one broker, QoS {qos}, workers: {workers}{title}"),
            Route::Local,
            qos,
        )
    };
    let of =
        |qos| [case(qos, "", "", None), case(qos, "-paced", ", 200000 a second", Some(200_000.0))];
    [0, 1].into_iter().flat_map(of).collect()
}

/// A measured load.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) title: String,
    /// Over all brokers, without the generator.
    pub(super) cpu_micros_per_message: f64,
    pub(super) cpu_micros_bar: Option<f64>,
    /// To the cost of what it is compared with.
    pub(super) ratio: Option<f64>,
    pub(super) ratio_bar: Option<f64>,
    /// CPU time of the brokers over time.
    pub(super) cores: f64,
    pub(super) cores_bar: Option<f64>,
    pub(super) messages_per_second: f64,
    /// From sending to receiving.
    pub(super) p50_micros: f64,
    pub(super) p50_micros_bar: Option<f64>,
    pub(super) p99_micros: f64,
    pub(super) generator_cpu_micros_per_message: f64,
    pub(super) lost: u64,
    pub(super) skipped: u64,
}

impl Measured {
    /// The bars that it misses, in words.
    pub(super) fn missed(&self) -> Vec<String> {
        let figures = [
            ("CPU-us per message", Some(self.cpu_micros_per_message), self.cpu_micros_bar),
            ("times its comparison", self.ratio, self.ratio_bar),
            ("cores", Some(self.cores), self.cores_bar),
            ("us at the median", Some(self.p50_micros), self.p50_micros_bar),
        ];
        let over = figures.into_iter().filter_map(|(what, value, bar)| {
            let (value, bar) = (value?, bar?);
            (value > bar).then(|| format!("{}: {value:.2} {what}, bar {bar}", self.name))
        });
        let lost = (self.lost > 0).then(|| format!("{}: {} messages lost", self.name, self.lost));
        over.chain(lost).collect()
    }
}

/// How long nothing was acknowledged, from the kill on.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failover {
    pub(super) kills: usize,
    pub(super) p50_millis: f64,
    pub(super) p99_millis: f64,
    pub(super) max_millis: f64,
    pub(super) p99_millis_bar: f64,
}

/// The bar for [`Failover`].
const FAILOVER_MILLIS_BAR: f64 = 2_000.0;

impl Failover {
    /// From one time in milliseconds for each kill; at least one.
    pub(super) fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        // The least value that this share of all lies at or below.
        let quantile = |q: f64| {
            let at = (millis.len() as f64 * q).ceil() as usize;
            millis.get(at.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self {
            kills: millis.len(),
            p50_millis: quantile(0.5),
            p99_millis: quantile(0.99),
            max_millis: quantile(1.0),
            p99_millis_bar: FAILOVER_MILLIS_BAR,
        }
    }

    /// The bar, in words, if it is missed.
    pub(super) fn missed(&self) -> Option<String> {
        let (value, bar) = (self.p99_millis, self.p99_millis_bar);
        (value > bar).then(|| format!("failover: {value:.0} ms at p99, bar {bar:.0}"))
    }
}

/// The heading of loads.
pub(super) const LOAD_HEAD: &str = "\
| three brokers, TLS between them | CPU-us per message, all brokers | bar | to its comparison | bar | brokers' cores | bar | msg/s | p50 / p99 us | bar p50 | generator CPU-us |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// The heading of failovers.
pub(super) const FAILOVER_HEAD: &str = "\
| leader killed to the next durable acknowledgement | p50 ms | p99 ms | max ms | bar p99 |
|---|---:|---:|---:|---:|";

pub(super) fn load_row(row: &Measured) -> String {
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let mut text = format!(
        "| {} | {:.2} | {} | {} | {} | {:.2} | {} | {:.0} | {:.0} / {:.0} | {} | {:.2} |",
        row.title,
        row.cpu_micros_per_message,
        optional(row.cpu_micros_bar, 0),
        optional(row.ratio, 2),
        optional(row.ratio_bar, 0),
        row.cores,
        optional(row.cores_bar, 0),
        row.messages_per_second,
        row.p50_micros,
        row.p99_micros,
        optional(row.p50_micros_bar, 0),
        row.generator_cpu_micros_per_message,
    );
    for (what, count) in [("lost", row.lost), ("not sent", row.skipped)] {
        if count > 0 {
            let _ = write!(text, " **{what}: {count}**");
        }
    }
    text
}

pub(super) fn failover_row(row: &Failover) -> String {
    format!(
        "| {} kills | {:.0} | {:.0} | {:.0} | {:.0} |",
        row.kills, row.p50_millis, row.p99_millis, row.max_millis, row.p99_millis_bar
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_is_compared_with_one_before_it() {
        let cases: Vec<Case> =
            [durable(), forward(), workers(1), workers(2)].into_iter().flatten().collect();
        for (at, case) in cases.iter().enumerate() {
            let before = &cases[..at];
            assert!(before.iter().all(|other| other.name != case.name), "{}", case.name);
            if let Some(name) = &case.compared_with {
                assert!(before.iter().any(|other| other.name == *name), "{name}");
            }
            assert!(case.window > 0 && case.pairs > 0);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_heading_and_names_what_was_lost() {
        let row = Measured {
            name: String::new(),
            title: "t".into(),
            cpu_micros_per_message: 7.456,
            cpu_micros_bar: Some(8.0),
            ratio: None,
            ratio_bar: None,
            cores: 1.5,
            cores_bar: Some(1.0),
            messages_per_second: 2e5,
            p50_micros: 900.0,
            p50_micros_bar: None,
            p99_micros: 4000.0,
            generator_cpu_micros_per_message: 0.5,
            lost: 3,
            skipped: 0,
        };
        let text = load_row(&row);
        assert_eq!(
            text,
            "| t | 7.46 | 8 | - | - | 1.50 | 1 | 200000 | 900 / 4000 | - | 0.50 | **lost: 3**"
        );
        let cells = |text: &str| text.matches('|').count();
        assert_eq!(cells(&text), cells(LOAD_HEAD.lines().nth(1).unwrap()));
        assert_eq!(row.missed(), [": 1.50 cores, bar 1", ": 3 messages lost"]);
        let failover = failover_row(&Failover::of(vec![1.0]));
        assert_eq!(cells(&failover), cells(FAILOVER_HEAD.lines().nth(1).unwrap()));
    }

    #[test]
    fn of_twenty_kills_the_99th_percentile_is_the_worst_and_the_median_the_tenth() {
        let figures = Failover::of((1..=20).rev().map(f64::from).collect());
        assert_eq!(
            (figures.p50_millis, figures.p99_millis, figures.max_millis),
            (10.0, 20.0, 20.0)
        );
        assert_eq!(figures.missed(), None);
        let slow = Failover::of(vec![2_001.0]).missed();
        assert_eq!(slow.as_deref(), Some("failover: 2001 ms at p99, bar 2000"));
    }
}
