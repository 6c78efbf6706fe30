//! Reads the configuration file, and turns it into what the parts want.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use broker_config::{
    Config, Discovery as ConfiguredDiscovery, Durability, ParseError,
    SharedSubscriptionStrategy as Configured,
};
use broker_core::cluster_state::{FEATURE_LEVEL_MAX, RetainedLimits};
use broker_core::codec::packet::{RetainHandling, SubscriptionOptions};
use broker_core::engine::{
    AcknowledgeWhen, AutoSubscription, DelayedLimits, DurabilityRule, EngineConfig, ListenerRates,
    Profile, QUEUED_BYTES_TOTAL_MAX, SharedSubscriptionStrategy,
};
use broker_core::shard::{DelayLimits, SessionLimits};
use broker_core::topic::{Rewrite, RewriteAction};
use broker_core::types::QoS;
use broker_mosquitto::Faults;
use broker_policy::{Digest, Quotas};

use super::listeners;
use super::mosquitto::{TransientFolder, translate_mosquitto};
use crate::args::MosquittoArgs;
use crate::cluster::Discovery;
use crate::cluster::meta::COMMAND_BYTES_MAX;
use crate::node::WORKERS_MAX;

/// A configuration and the digest of its text.
#[derive(Debug)]
pub struct LoadedConfig {
    /// What it says.
    pub config: Config,
    /// SHA-256 of the file, lower-case hexadecimal: how the operator knows which one is in force.
    pub digest: String,
    /// What is to be told of it.
    pub warnings: Vec<String>,
    /// The data folder, if it goes with the process.
    pub(super) transient: Option<TransientFolder>,
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its text is wrong.
    #[error("{}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ParseError,
    },
    /// A `mosquitto.conf` can't be used.
    #[error(transparent)]
    Mosquitto(#[from] Faults),
    /// No folder for what need not outlive the process.
    #[error("make the folder {} for what need not be kept", path.display())]
    TransientFolder {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither kind of configuration is named.
    #[error("name the configuration: --config FILE, or --mosquitto-conf FILE")]
    NoFile,
}

/// Reads and checks the file, with the overrides of the environment.
///
/// # Errors
/// [`LoadError`]: it can't be read, or what is wrong with it.
pub fn load(path: &Path) -> Result<LoadedConfig, LoadError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let config = Config::parse_with(&text, |name| std::env::var(name).ok())
        .map_err(|source| LoadError::Parse { path: path.to_owned(), source })?;
    Ok(LoadedConfig {
        config,
        digest: Digest::of(text.as_bytes()).to_string(),
        warnings: Vec::new(),
        transient: None,
    })
}

/// Reads a `mosquitto.conf`, or what Mosquitto is without one.
///
/// # Errors
/// [`LoadError`]: everything that is wrong with it, or can't be honoured and matters.
pub fn load_mosquitto(args: &MosquittoArgs) -> Result<LoadedConfig, LoadError> {
    let place = TransientFolder::place()?;
    let translation = translate_mosquitto(args, &place)?;
    let text = translation.config.render();
    let path = args.file().to_owned();
    let config = Config::parse_with(&text, |name| std::env::var(name).ok())
        .map_err(|source| LoadError::Parse { path, source })?;
    let is_transient = config.data_dir == place;
    let transient = is_transient.then(|| TransientFolder::create(place)).transpose()?;
    let warnings = translation.warnings.iter().map(ToString::to_string).collect();
    Ok(LoadedConfig {
        config,
        digest: Digest::of(text.as_bytes()).to_string(),
        warnings,
        transient,
    })
}

/// Limits and choices of the engines; the node is not known here.
pub(super) fn engine(config: &Config) -> EngineConfig {
    let (mqtt, sessions) = (&config.mqtt, config.sessions);
    let seconds = |duration: std::time::Duration| duration.as_secs();
    let share = |total: Option<u64>, otherwise| {
        total.map_or(otherwise, |total| total.div_ceil(u64::from(workers(config))))
    };
    EngineConfig {
        queued_bytes_total_max: share(sessions.queued_bytes_total_max, QUEUED_BYTES_TOTAL_MAX),
        queued_messages_total_max: share(sessions.queued_messages_total_max, u64::MAX),
        durable_messages_max: sessions.queued_messages_total_max.unwrap_or(u64::MAX),
        durable_bytes_max: durable_sessions(config).bytes_total_max,
        message_expiry_seconds_max: mqtt
            .message_expiry_max
            .map_or(u32::MAX, |expiry| u32::try_from(seconds(expiry)).unwrap_or(u32::MAX)),
        shared_subscription_strategy: strategy(mqtt.shared_subscription_strategy),
        packet_bytes_max: mqtt.packet_bytes_max,
        receive_maximum: mqtt.receive_maximum,
        inflight_max: sessions.inflight_max,
        topic_alias_maximum: mqtt.topic_alias_maximum,
        topic_alias_maximum_outbound: mqtt.topic_alias_maximum_outbound,
        response_information: mqtt.response_information.clone(),
        session_expiry_seconds_max: u32::try_from(seconds(sessions.expiry_max)).unwrap_or(u32::MAX),
        keep_alive_seconds_max: u16::try_from(seconds(mqtt.keep_alive_max)).unwrap_or(u16::MAX),
        connect_timeout_millis: u64::try_from(mqtt.connect_timeout.as_millis()).unwrap_or(u64::MAX),
        queue_messages_max: sessions.queued_messages_max as usize,
        queue_bytes_max: usize::try_from(sessions.queued_bytes_max).unwrap_or(usize::MAX),
        output_bytes_soft_max: mqtt.output_bytes_max as usize,
        subscriptions_max: sessions.subscriptions_max as usize,
        topic_levels_max: usize::from(mqtt.topic_levels_max),
        retained_expiry_seconds_max: config
            .retained
            .expiry_max
            .map_or(u32::MAX, |expiry| u32::try_from(seconds(expiry)).unwrap_or(u32::MAX)),
        listener_rates: listener_rates(config),
        listeners: listeners::options(config),
        durability_rules: config.durability_rules.iter().map(durability_rule).collect(),
        rewrites: config.rewrites.iter().map(rewrite).collect(),
        auto_subscriptions: config.auto_subscriptions.iter().map(auto_subscription).collect(),
        delayed: delayed(config),
        server_reference: config.redirect.as_ref().map(|to| Arc::clone(&to.server_reference)),
        refuses_connects: config.redirect.as_ref().is_some_and(|to| to.refuse_connects),
        profile: match mqtt.profile {
            broker_config::Profile::Dunlin => Profile::Dunlin,
            broker_config::Profile::Mosquitto => Profile::Mosquitto,
        },
        ..EngineConfig::default()
    }
}

/// How fast the clients of each listener may publish. What all of one may together is shared out
/// among the workers, which take its clients in turn.
fn listener_rates(config: &Config) -> Arc<[ListenerRates]> {
    let workers = u64::from(workers(config));
    let rates = config.listeners.iter().map(|listener| {
        let limits = listener.limits;
        let share = |count: u64| count.div_ceil(workers);
        ListenerRates {
            client: Quotas {
                connections: None,
                publishes_per_second: limits.client_publishes_per_second,
                bytes_per_second: limits.client_bytes_per_second,
            },
            all: Quotas {
                connections: None,
                publishes_per_second: limits
                    .publishes_per_second
                    .map(|count| u32::try_from(share(count.into())).unwrap_or(u32::MAX)),
                bytes_per_second: limits.bytes_per_second.map(share),
            },
        }
    });
    let rates: Vec<ListenerRates> = rates.collect();
    match rates.iter().all(|rates| *rates == ListenerRates::default()) {
        true => Arc::default(),
        false => rates.into(),
    }
}

/// Has the limits that the configuration leaves open follow from what the process may use of memory,
/// in bytes; `None`: nobody knows.
pub(super) fn within(config: Config, budget: Option<u64>) -> Config {
    let (sessions, retained) = (config.sessions.within(budget), config.retained.within(budget));
    Config { sessions, retained, ..config }
}

fn durability_rule(configured: &broker_config::DurabilityRule) -> DurabilityRule {
    let when = match configured.durability {
        Durability::Quorum | Durability::Local => AcknowledgeWhen::Committed,
        Durability::Memory => AcknowledgeWhen::Proposed,
    };
    DurabilityRule { filter: configured.filter.as_str().into(), when }
}

fn rewrite(configured: &broker_config::Rewrite) -> Rewrite {
    let action = match configured.action {
        broker_config::RewriteAction::Publish => RewriteAction::Publish,
        broker_config::RewriteAction::Subscribe => RewriteAction::Subscribe,
        broker_config::RewriteAction::All => RewriteAction::All,
    };
    Rewrite::new(action, &configured.source, &configured.destination)
}

fn auto_subscription(configured: &broker_config::AutoSubscription) -> AutoSubscription {
    let options = SubscriptionOptions {
        qos: match configured.qos {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        },
        no_local: configured.no_local,
        retain_as_published: configured.retain_as_published,
        retain_handling: match configured.send_retained {
            true => RetainHandling::SendAtSubscribe,
            false => RetainHandling::DoNotSend,
        },
    };
    AutoSubscription { filter: Arc::clone(&configured.filter), options }
}

/// Each worker's share of what engines hold, and all that the replicated state keeps.
fn delayed(config: &Config) -> DelayedLimits {
    let Some(limits) = config.delayed else { return DelayedLimits::NONE };
    let workers = u64::from(workers(config));
    let share = |total: u64| usize::try_from(total.div_ceil(workers)).unwrap_or(usize::MAX);
    DelayedLimits {
        messages_max: share(limits.messages_max.into()),
        // A message that may be sent may be held.
        bytes_max: share(limits.bytes_max).max(config.mqtt.packet_bytes_max as usize),
        seconds_max: limits.seconds_max,
        kept: DelayLimits { messages_max: limits.messages_max.into(), bytes_max: limits.bytes_max },
    }
}

const fn strategy(configured: Configured) -> SharedSubscriptionStrategy {
    match configured {
        Configured::RoundRobin => SharedSubscriptionStrategy::RoundRobin,
        Configured::Random => SharedSubscriptionStrategy::Random,
        Configured::Sticky => SharedSubscriptionStrategy::Sticky,
        Configured::HashClient => SharedSubscriptionStrategy::HashClient,
        Configured::HashTopic => SharedSubscriptionStrategy::HashTopic,
        Configured::LocalFirst => SharedSubscriptionStrategy::LocalFirst,
    }
}

/// Where peers are looked for; `name` is this broker's own, which needs no link. On the runtime of the
/// links, where what watches for them runs.
pub(super) fn discovery(config: &Config, name: &str) -> Discovery {
    match config.cluster.as_ref().map(|cluster| &cluster.peers.discovery) {
        None => Discovery::Static { peers: Vec::new() },
        Some(ConfiguredDiscovery::Dns { host, port }) => {
            Discovery::Dns { host: host.clone(), port: *port }
        }
        Some(ConfiguredDiscovery::Kubernetes(peers)) => Discovery::kubernetes(peers.clone()),
        Some(ConfiguredDiscovery::Etcd(peers)) => Discovery::etcd(peers.clone(), name),
        Some(ConfiguredDiscovery::Static(peers)) => Discovery::Static {
            peers: peers
                .iter()
                .filter(|peer| peer.name != name)
                .map(|peer| peer.address.clone())
                .collect(),
        },
    }
}

/// What the cluster's feature level may rise to.
pub(super) fn feature_level_max(config: &Config) -> u16 {
    let configured = config.cluster.as_ref().and_then(|cluster| cluster.feature_level_max);
    configured.unwrap_or(FEATURE_LEVEL_MAX).min(FEATURE_LEVEL_MAX)
}

/// Limits of the retained messages.
pub(super) fn retained(config: &Config) -> RetainedLimits {
    RetainedLimits {
        messages_max: config.retained.messages_max,
        bytes_max: config.retained.bytes_max.unwrap_or(u64::MAX),
    }
}

/// Limits of the durable sessions.
pub(super) fn durable_sessions(config: &Config) -> SessionLimits {
    let sessions = config.sessions;
    SessionLimits {
        sessions_max: sessions.durable_max,
        messages_max: u64::from(sessions.queued_messages_max),
        in_flight_max: u64::from(sessions.inflight_max),
        bytes_max: sessions.queued_bytes_max,
        bytes_total_max: sessions.durable_bytes_max.unwrap_or(u64::MAX),
    }
}

/// What a command has beside the packet that it carries: client identifiers, keys of groups.
const COMMAND_ROOM_BYTES: usize = 1 << 20;

/// Longest command of the log: the largest packet that is taken fits. Brokers of a cluster take none
/// that a frame between them would not hold.
pub(super) fn command_bytes_max(config: &Config) -> usize {
    match &config.cluster {
        Some(_) => COMMAND_BYTES_MAX,
        None => COMMAND_BYTES_MAX.max(config.mqtt.packet_bytes_max as usize + COMMAND_ROOM_BYTES),
    }
}

/// How many workers to start: as configured, or one per core.
pub(super) fn workers(config: &Config) -> u8 {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let wanted = config.workers.map_or_else(cores, usize::from);
    u8::try_from(wanted.clamp(1, WORKERS_MAX)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str = "protocol = 'mqtt'\nacknowledge_plaintext = true\n";

    fn config(sessions: &str, limits: &str) -> Config {
        let text = format!(
            "data_dir = '/d'\nworkers = 4\n[policy]\n[sessions]\n{sessions}\n\
             [[listeners]]\nname = 'a'\nport = 1\n{LISTENER}\
             [[listeners]]\nname = 'b'\nport = 2\n{LISTENER}[listeners.limits]\n{limits}\n"
        );
        Config::parse(&text).unwrap()
    }

    #[test]
    fn what_a_listeners_clients_may_together_is_shared_out_among_the_workers() {
        let rates = listener_rates(&config(
            "",
            "client_publishes_per_second = 10\nclient_bytes_per_second = 1000\n\
             publishes_per_second = 100\nbytes_per_second = 4001",
        ));
        assert_eq!(rates[0], ListenerRates::default());
        let expected = |publishes, bytes| Quotas {
            connections: None,
            publishes_per_second: Some(publishes),
            bytes_per_second: Some(bytes),
        };
        assert_eq!(rates[1].client, expected(10, 1000));
        assert_eq!(rates[1].all, expected(25, 1001));
        assert!(listener_rates(&config("", "")).is_empty(), "nothing is limited: it costs nothing");
    }

    #[test]
    fn each_limit_of_what_is_kept_takes_what_is_configured_or_its_share_of_the_budget() {
        let of = |sessions, budget| {
            let config = within(config(sessions, ""), Some(budget));
            let engine = engine(&config);
            (engine.queued_bytes_total_max, engine.queued_messages_total_max, config)
        };
        let budget = 256 * 100_000;
        let (bytes, messages, config) = of("", budget);
        assert_eq!((bytes, messages), (budget / 5 / 4, 100_000 / 5 / 4), "of four workers");
        assert_eq!(durable_sessions(&config).bytes_total_max, budget / 5);
        assert_eq!(engine(&config).durable_messages_max, 100_000 / 5);
        assert_eq!(retained(&config).bytes_max, budget / 100 * 15);
        let written = "queued_bytes_total_max = 800\nqueued_messages_total_max = 80\n\
                       durable_bytes_max = 7000000";
        let (bytes, messages, config) = of(written, budget);
        assert_eq!((bytes, messages), (200, 20));
        assert_eq!(durable_sessions(&config).bytes_total_max, 7_000_000);
    }
}
