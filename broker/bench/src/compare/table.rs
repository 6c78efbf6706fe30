//! The measured rows as Markdown. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::measure::{IdleFigures, LoadFigures, SubscribeFigures};
use super::row::{IDLE_KILOBYTES_BAR, OPENED_MICROS_BAR};
use crate::tally::Latency;

/// A measured row: the figures of each broker, Dunlin first.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Measured<F> {
    pub(super) name: String,
    #[serde(skip)]
    pub(super) title: String,
    pub(super) bar: Option<f64>,
    pub(super) dunlin: F,
    pub(super) mosquitto: Option<F>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Results {
    pub(super) load: Vec<Measured<LoadFigures>>,
    pub(super) idle: Vec<Measured<IdleFigures>>,
    pub(super) subscribe: Vec<Measured<SubscribeFigures>>,
}

/// The heading of the rows of load.
pub(super) const LOAD_HEAD: &str = "\
| CPU-us per delivered message | Dunlin | Mosquitto | ratio | bar | msg/s Dunlin | Mosquitto | p50 / p99 / p999 us Dunlin | Mosquitto |
|---|---:|---:|---:|---:|---:|---:|---:|---:|";

/// The heading of the rows of idle connections.
pub(super) const IDLE_HEAD: &str = "\
| idle | KB per connection: Dunlin | Mosquitto | bar | CPU-us per opened: Dunlin | Mosquitto | ratio | bar | opened/s Dunlin | Mosquitto |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// The heading of the rows of subscriptions.
pub(super) const SUBSCRIBE_HEAD: &str = "\
| subscriptions | CPU-us each: Dunlin | Mosquitto | ratio | bytes each: Dunlin | Mosquitto | added/s Dunlin | Mosquitto | CPU-us per message without -> with: Dunlin | Mosquitto |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

/// A figure of a broker that may be left out.
fn cell<F>(figures: Option<&F>, show: impl Fn(&F) -> String) -> String {
    figures.map_or_else(|| "-".to_owned(), show)
}

/// Dunlin's share of Mosquitto's cost: `1/12.3`, or `1.2` where it costs more.
fn ratio(dunlin: f64, mosquitto: Option<f64>) -> String {
    match mosquitto {
        Some(mosquitto) if mosquitto > 0.0 && dunlin > mosquitto => {
            format!("{:.1}", dunlin / mosquitto)
        }
        Some(mosquitto) if dunlin > 0.0 && mosquitto > 0.0 => {
            format!("1/{:.1}", mosquitto / dunlin)
        }
        _ => "-".to_owned(),
    }
}

fn quantiles(latency: &Latency) -> String {
    format!("{:.0} / {:.0} / {:.0}", latency.p50, latency.p99, latency.p999)
}

pub(super) fn load_row(row: &Measured<LoadFigures>) -> String {
    let (dunlin, mosquitto) = (&row.dunlin, row.mosquitto.as_ref());
    let mut text = format!(
        "| {} | {:.2} | {} | {} | {} | {:.0} | {} | {} | {} |",
        row.title,
        dunlin.cpu_micros_per_message,
        cell(mosquitto, |m| format!("{:.2}", m.cpu_micros_per_message)),
        ratio(dunlin.cpu_micros_per_message, mosquitto.map(|m| m.cpu_micros_per_message)),
        cell(row.bar.as_ref(), |bar| format!("{bar:.2}")),
        dunlin.messages_per_second,
        cell(mosquitto, |m| format!("{:.0}", m.messages_per_second)),
        quantiles(&dunlin.latency_micros),
        cell(mosquitto, |m| quantiles(&m.latency_micros)),
    );
    for (name, figures) in [("Dunlin", Some(dunlin)), ("Mosquitto", mosquitto)] {
        if let Some(lost) = figures.map(|figures| figures.lost).filter(|lost| *lost > 0) {
            let _ = write!(text, " **{name} lost {lost}**");
        }
    }
    text
}

pub(super) fn idle_row(row: &Measured<IdleFigures>) -> String {
    let (dunlin, mosquitto) = (&row.dunlin, row.mosquitto.as_ref());
    format!(
        "| {} | {:.2} | {} | {IDLE_KILOBYTES_BAR} | {:.1} | {} | {} | {OPENED_MICROS_BAR} | {:.0} | {} |",
        row.title,
        dunlin.bytes_per_connection / 1000.0,
        cell(mosquitto, |m| format!("{:.2}", m.bytes_per_connection / 1000.0)),
        dunlin.cpu_micros_per_connection,
        cell(mosquitto, |m| format!("{:.1}", m.cpu_micros_per_connection)),
        ratio(dunlin.cpu_micros_per_connection, mosquitto.map(|m| m.cpu_micros_per_connection)),
        dunlin.opened_per_second,
        cell(mosquitto, |m| format!("{:.0}", m.opened_per_second)),
    )
}

pub(super) fn subscribe_row(row: &Measured<SubscribeFigures>) -> String {
    let (dunlin, mosquitto) = (&row.dunlin, row.mosquitto.as_ref());
    let messages = |f: &SubscribeFigures| {
        let [without, with] = f.cpu_micros_per_message;
        format!("{without:.2} -> {with:.2}")
    };
    format!(
        "| {} | {:.2} | {} | {} | {:.0} | {} | {:.0} | {} | {} | {} |",
        row.title,
        dunlin.cpu_micros_per_subscription,
        cell(mosquitto, |m| format!("{:.2}", m.cpu_micros_per_subscription)),
        ratio(dunlin.cpu_micros_per_subscription, mosquitto.map(|m| m.cpu_micros_per_subscription)),
        dunlin.bytes_per_subscription,
        cell(mosquitto, |m| format!("{:.0}", m.bytes_per_subscription)),
        dunlin.subscriptions_per_second,
        cell(mosquitto, |m| format!("{:.0}", m.subscriptions_per_second)),
        messages(dunlin),
        cell(mosquitto, messages),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(cost: f64, lost: u64) -> LoadFigures {
        let latency_micros = Latency { samples: 9, p50: 40.2, p99: 99.9, p999: 812.0, max: 1e4 };
        LoadFigures {
            cpu_micros_per_message: cost,
            messages_per_second: 1234.5,
            latency_micros,
            lost,
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_heading_and_the_ratio_to_mosquitto() {
        let mut row = Measured {
            name: "pairs-qos0-64".into(),
            title: "10:10, QoS 0, 64 B".into(),
            bar: Some(0.65),
            dunlin: figures(0.6, 0),
            mosquitto: Some(figures(8.4, 2)),
        };
        assert_eq!(
            load_row(&row),
            "| 10:10, QoS 0, 64 B | 0.60 | 8.40 | 1/14.0 | 0.65 | 1234 | 1234 | 40 / 100 / 812 | 40 / 100 / 812 | \
             **Mosquitto lost 2**"
        );
        row.mosquitto = None;
        let text = load_row(&row);
        assert!(text.contains("| 0.60 | - | - | 0.65 |"), "{text}");
        assert_eq!(
            text.matches('|').count(),
            LOAD_HEAD.lines().nth(1).unwrap().matches('|').count()
        );
    }

    #[test]
    fn a_cost_above_mosquittos_is_not_shown_as_a_fraction() {
        assert_eq!(ratio(2.0, Some(25.0)), "1/12.5");
        assert_eq!(ratio(25.0, Some(10.0)), "2.5");
        assert_eq!(ratio(25.0, Some(0.0)), "-");
        assert_eq!(ratio(25.0, None), "-");
    }

    #[test]
    fn the_rows_of_connections_and_subscriptions_have_a_cell_for_each_heading() {
        let idle = IdleFigures {
            bytes_per_connection: 1500.0,
            cpu_micros_per_connection: 30.0,
            opened_per_second: 9000.0,
        };
        let row = Measured {
            name: String::new(),
            title: "t".into(),
            bar: None,
            dunlin: idle.clone(),
            mosquitto: Some(idle),
        };
        assert_eq!(
            idle_row(&row),
            "| t | 1.50 | 1.50 | 1.5 | 30.0 | 30.0 | 1/1.0 | 40 | 9000 | 9000 |"
        );
        let cells = |text: &str| text.matches('|').count();
        assert_eq!(cells(&idle_row(&row)), cells(IDLE_HEAD.lines().nth(1).unwrap()));
        let subscribe = SubscribeFigures {
            bytes_per_subscription: 200.0,
            cpu_micros_per_subscription: 2.0,
            subscriptions_per_second: 1e5,
            cpu_micros_per_message: [0.6, 0.7],
        };
        let row = Measured {
            name: String::new(),
            title: "t".into(),
            bar: None,
            dunlin: subscribe,
            mosquitto: None,
        };
        let text = subscribe_row(&row);
        assert!(text.contains("| 0.60 -> 0.70 | - |"), "{text}");
        assert_eq!(cells(&text), cells(SUBSCRIBE_HEAD.lines().nth(1).unwrap()));
    }
}
