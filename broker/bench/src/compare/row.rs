//! The rows of the comparison, by name, each with the bar that Dunlin holds itself to. Pure.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::load::{Plan, Topology};

/// Traffic that is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LoadRow {
    pub(super) topology: Topology,
    pub(super) publishers: usize,
    pub(super) subscribers: usize,
    pub(super) qos: u8,
    pub(super) payload_bytes: usize,
    pub(super) is_tls: bool,
    /// Whether the subscribers' sessions outlive their connections.
    pub(super) is_durable: bool,
    /// CPU-microseconds for each delivered message.
    pub(super) bar: Option<f64>,
}

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Row {
    Load(LoadRow),
    Idle { connections: usize },
    Subscribe { filters: usize },
}

/// KB for each idle connection.
pub(super) const IDLE_KILOBYTES_BAR: f64 = 1.5;
/// CPU-microseconds for each opened connection.
pub(super) const OPENED_MICROS_BAR: f64 = 40.0;

/// Topologies, and their bars at 64 bytes by QoS.
const TOPOLOGIES: [(Topology, usize, usize, [f64; 3]); 3] = [
    (Topology::Pairs, 10, 10, [0.65, 0.85, 1.3]),
    (Topology::FanIn, 20, 1, [0.6, 0.75, 1.3]),
    (Topology::FanOut, 1, 50, [0.18, 0.45, 0.7]),
];
const PAYLOADS: [usize; 2] = [64, 1024];
/// The payload that the bars are for.
const BAR_PAYLOAD: usize = 64;

impl LoadRow {
    pub(super) fn plan(&self) -> Result<Plan> {
        Plan::new(self.topology, self.publishers, self.subscribers)
    }
}

impl Row {
    /// The name by which `--only` selects it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Load(row) => {
                let tls = if row.is_tls { "tls-" } else { "" };
                let durable = if row.is_durable { "durable-" } else { "" };
                let topology = match row.topology {
                    Topology::Pairs => "pairs",
                    Topology::FanIn => "fan-in",
                    Topology::FanOut => "fan-out",
                };
                format!("{tls}{durable}{topology}-qos{}-{}", row.qos, row.payload_bytes)
            }
            Self::Idle { connections } => format!("idle-{connections}"),
            Self::Subscribe { filters } => format!("subscribe-{filters}"),
        }
    }

    /// How it is called in the table.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Load(row) => {
                let kind = match row {
                    LoadRow { is_tls: true, .. } => "TLS, ",
                    LoadRow { is_durable: true, .. } => "durable sessions, ",
                    _ => "",
                };
                let (publishers, subscribers) = (row.publishers, row.subscribers);
                format!(
                    "{kind}{publishers}:{subscribers}, QoS {}, {} B",
                    row.qos, row.payload_bytes
                )
            }
            Self::Idle { connections } => format!("{connections} idle connections"),
            Self::Subscribe { filters } => format!("{filters} subscriptions"),
        }
    }
}

/// Every row of load.
fn load_rows() -> impl Iterator<Item = LoadRow> {
    let plain = TOPOLOGIES.into_iter().flat_map(|(topology, publishers, subscribers, bars)| {
        PAYLOADS.into_iter().flat_map(move |payload_bytes| {
            (0..3u8).map(move |qos| LoadRow {
                topology,
                publishers,
                subscribers,
                qos,
                payload_bytes,
                is_tls: false,
                is_durable: false,
                bar: (payload_bytes == BAR_PAYLOAD).then_some(bars[usize::from(qos)]),
            })
        })
    });
    let tls = (0..3u8).map(|qos| LoadRow {
        topology: Topology::Pairs,
        publishers: 10,
        subscribers: 10,
        qos,
        payload_bytes: BAR_PAYLOAD,
        is_tls: true,
        is_durable: false,
        bar: None,
    });
    let durable = [(1, 64), (1, 512), (2, 64)].map(|(qos, payload_bytes)| LoadRow {
        topology: Topology::Pairs,
        publishers: 10,
        subscribers: 10,
        qos,
        payload_bytes,
        is_tls: false,
        is_durable: true,
        bar: None,
    });
    plain.chain(tls).chain(durable)
}

/// The rows whose names contain one of the comma-separated words of `only`; all of them for an empty text.
///
/// # Errors
/// No row has such a name; the text lists them.
pub(super) fn rows(only: &str, idle: &[usize], filters: &[usize]) -> Result<Vec<Row>> {
    let idle = idle.iter().map(|connections| Row::Idle { connections: *connections });
    let filters = filters.iter().map(|filters| Row::Subscribe { filters: *filters });
    let all: Vec<Row> = load_rows().map(Row::Load).chain(idle).chain(filters).collect();
    let words: Vec<&str> = only.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    let names: Vec<String> = all.iter().map(Row::name).collect();
    // A word that is a row's whole name means that row alone.
    let means = |word: &str, name: &str| {
        if names.iter().any(|known| known == word) { name == word } else { name.contains(word) }
    };
    let wanted = |row: &Row| {
        let name = row.name();
        words.is_empty() || words.iter().any(|word| means(word, &name))
    };
    let chosen: Vec<Row> = all.iter().filter(|row| wanted(row)).copied().collect();
    ensure!(!chosen.is_empty(), "--only {only} selects no row; there are: {}", names.join(", "));
    Ok(chosen)
}

/// How long the rows take at most, for two brokers; connections and subscriptions are taken as Mosquitto's, which is slower.
pub(super) fn estimate(rows: &[Row], load: Duration, rounds: u32, latency: Duration) -> Duration {
    let one = |row: &Row| match row {
        Row::Load(_) => 2 * (load * rounds + latency),
        Row::Idle { connections } => {
            Duration::from_secs(6) + Duration::from_micros(300) * (*connections as u32)
        }
        Row::Subscribe { filters } => {
            4 * load + Duration::from_secs(6) + Duration::from_micros(40) * (*filters as u32)
        }
    };
    rows.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &str) -> Vec<String> {
        let rows = rows(only, &[10_000], &[100_000, 1_000_000]).unwrap();
        rows.iter().map(Row::name).collect()
    }

    #[test]
    fn every_cell_of_the_table_is_there_once() {
        let mut all = names("");
        assert_eq!(all.len(), 3 * 3 * 2 + 3 + 3 + 1 + 2);
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 27);
        for row in rows("", &[], &[]).unwrap() {
            let Row::Load(load) = row else { panic!("{row:?}") };
            load.plan().unwrap();
            let has_bar = load.payload_bytes == 64 && !load.is_tls && !load.is_durable;
            assert_eq!(load.bar.is_some(), has_bar, "{row:?}");
        }
    }

    #[test]
    fn rows_are_chosen_by_parts_of_their_names_or_by_whole_names() {
        assert_eq!(names("fan-in-qos1"), ["fan-in-qos1-64", "fan-in-qos1-1024"]);
        assert_eq!(names("idle, tls-pairs-qos2"), ["tls-pairs-qos2-64", "idle-10000"]);
        assert_eq!(names("pairs-qos0-64"), ["pairs-qos0-64"]);
        assert_eq!(names("pairs-qos0-64,fan-out-qos2-6"), ["pairs-qos0-64", "fan-out-qos2-64"]);
        let error = rows("nothing", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("fan-out-qos2-1024"), "{error}");
    }
}
