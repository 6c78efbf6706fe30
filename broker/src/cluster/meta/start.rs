//! How a node's part in the meta group begins.

use std::io;
use std::sync::Arc;

use broker_core::cluster_state::ClusterState;
use broker_core::stored::MessageStore;
use broker_core::types::NodeId;
use tokio::sync::watch;

use super::config::{MetaConfig, MetaError, MetaTiming, raft_config};
use super::disk::follow_disk;
use super::features::{FeatureLevel, announce};
use super::joint::finish_joint;
use super::layout::decode;
use super::log_store::LogStore;
use super::network::NetworkFactory;
use super::proposer::Proposer;
use super::service::{Heard, IncomingSnapshots, RaftService};
use super::sessions::SessionProposer;
use super::state_machine::StateMachine;
use super::type_config::{Raft, Vote};
use super::upkeep::{
    expire_retained, follow_leadership, give_secret, keep_sessions, make_snapshots,
};
use super::view::Views;
use super::{Leadership, MetaGroup};
use crate::cluster::environment::{Environment, PeerLinks, Process, spawn};
use crate::cluster::frame::FrameKind;
use crate::cluster::links::Links;
use crate::node::Clock;
use crate::storage::{
    DataDirectory, GroupId, LogWriter, LogWriterStats, RecoveredGroup, RecoveryReport,
    SnapshotStore, SpillStore,
};

/// Longest silence, in times of the longest election timeout, of a leader that counts as heard.
/// An election is over by then, so that a change of leader does not show as a loss of it.
const HEARD_ELECTIONS: u32 = 3;

/// What a node's part in the group is made of.
pub struct MetaParts<E: Environment> {
    /// The peers; not started yet, so that no frame is missed.
    pub links: E::Links,
    /// The write-ahead log.
    pub writer: E::Log,
    /// What it held of the group.
    pub recovered: RecoveredGroup,
    /// The snapshots.
    pub snapshots: E::Snapshots,
    /// Where queued messages go that memory has no room for.
    pub messages: E::Messages,
    /// Tells when sessions and messages expire.
    pub clock: E::Clock,
    /// Number of this process among those that had the disk, above all before it.
    pub start: u64,
    /// A number that clients can't foresee.
    pub seed: u64,
}

impl MetaGroup {
    /// Recovers the node's state and joins in: serves other nodes' consensus on `links`, which
    /// must not have been started yet. `clock` is the workers'. Runs on the current runtime; reads
    /// the disk before it returns.
    ///
    /// # Errors
    /// As [`MetaError`] says. None of them is healed by another try.
    pub async fn start(
        config: MetaConfig,
        links: Links,
        directory: &DataDirectory,
        clock: Clock,
    ) -> Result<Self, MetaError> {
        let (writer, mut recovered, report) =
            LogWriter::open(&directory.log_path()).map_err(|source| MetaError::Log { source })?;
        log_recovery(&report);
        let messages = SpillStore::open(&directory.queues_path(), config.cache_bytes_max);
        let parts = MetaParts {
            links,
            writer,
            recovered: recovered.remove(&GroupId::META).unwrap_or_default(),
            snapshots: SnapshotStore::new(&directory.snapshots_path()),
            messages: messages.map_err(|source| MetaError::State { source })?,
            clock,
            start: directory.count_start().map_err(|source| MetaError::Start { source })?,
            seed: seed().map_err(|source| MetaError::State { source })?,
        };
        Self::start_with(config, parts).await
    }

    /// Counters of the write-ahead log.
    #[must_use]
    pub fn log_stats(&self) -> &LogWriterStats {
        self.writer.stats()
    }

    /// Free bytes of the data directory's disk as of the last look; `None`: not known.
    #[must_use]
    pub fn disk_free_bytes(&self) -> Option<u64> {
        self.writer.free_bytes()
    }
}

impl<E: Environment> MetaGroup<E> {
    /// Joins in with what was recovered from the disk, as [`MetaGroup::start`] does.
    ///
    /// # Errors
    /// `State`, `SnapshotMissing`, `Raft`.
    pub async fn start_with(config: MetaConfig, parts: MetaParts<E>) -> Result<Self, MetaError> {
        let group = GroupId::META;
        let MetaParts { links, writer, recovered, snapshots, messages, clock, start, seed } = parts;
        let failed = |source| MetaError::State { source };
        let log = LogStore::open(writer.clone(), group, &recovered).map_err(failed)?;
        let this = links.node_id();
        let kept: Arc<dyn MessageStore> = Arc::new(messages.clone());
        let (state, incoming) =
            (ClusterState::new(seed, kept), IncomingSnapshots::new(snapshots.clone()));
        let machine = StateMachine::open(snapshots, group, (this, start), state).map_err(failed)?;
        let first = recovered.purged.as_ref().map_or(0, |(purged, _)| purged + 1);
        let applied = machine.applied_index();
        if recovered.purged.is_some() && applied.is_none_or(|applied| applied + 1 < first) {
            let applied = applied.unwrap_or(0);
            return Err(MetaError::SnapshotMissing { first, applied });
        }

        let raft = start_raft(&config, &links, &log, &machine).await?;
        let (retained, longest) = (config.retained_limits, config.command_bytes_max);
        let (proposer, proposals) = Proposer::new(raft.clone(), links.clone(), retained, longest);
        spawn::<E>(proposer.run());
        let (sender, leadership) = watch::channel(Leadership::default());
        spawn::<E>(follow_leadership(raft.clone(), links.clone(), sender));
        let session_proposer =
            SessionProposer::new(this, start, config.session_limits, proposals.clone());
        let views = Views::new(raft.clone(), links.clone(), machine.applied());
        let meta = Self {
            raft,
            links,
            log,
            writer,
            messages,
            machine,
            proposals,
            session_proposer,
            leadership,
            heard: Heard::default(),
            heard_within: config.timing.election_max * HEARD_ELECTIONS,
            views,
            is_view_followed: config.is_view_followed,
            steps: Arc::default(),
        };
        if config.is_view_followed {
            let sessions = meta.sessions();
            sessions.require_confirmation();
            spawn::<E>(meta.views.clone().stay_in_touch());
            spawn::<E>(meta.views.clone().follow(clock, sessions));
        }
        meta.spawn_upkeep(&config.timing, clock);
        meta.spawn_features(&config);
        let service = RaftService {
            raft: meta.raft.clone(),
            proposals: meta.proposals.clone(),
            log: meta.log.clone(),
            applied: meta.machine.applied(),
            incoming,
            heard: meta.heard.clone(),
            views: meta.views.clone(),
        };
        let kinds = FrameKind::CONSENSUS_FIRST..=FrameKind::CONSENSUS_LAST;
        meta.links.serve(kinds, Arc::new(service));
        Ok(meta)
    }

    fn spawn_features(&self, config: &MetaConfig) {
        let level = FeatureLevel {
            raft: self.raft.clone(),
            links: self.links.clone(),
            steps: Arc::clone(&self.steps),
            current: self.machine.watch_feature_level(),
            interval: config.timing.feature_interval,
            highest: config.feature_level_max,
            retained_limits: config.retained_limits,
        };
        spawn::<E>(announce::<E>(self.links.clone(), level.current.clone()));
        spawn::<E>(level.raise());
    }

    fn spawn_upkeep(&self, timing: &MetaTiming, clock: E::Clock) {
        let (raft, machine) = (&self.raft, &self.machine);
        spawn::<E>(finish_joint(raft.clone()));
        spawn::<E>(give_secret(raft.clone(), machine.secret(), self.proposals.clone()));
        let entries = timing.snapshot_entries;
        let log = (self.log.clone(), self.writer.clone());
        spawn::<E>(make_snapshots(raft.clone(), machine.clone(), log, entries));
        spawn::<E>(follow_disk(self.clone()));
        spawn::<E>(expire_retained(
            raft.clone(),
            clock,
            machine.retained(),
            self.proposals.clone(),
            timing.expiry_interval,
        ));
        spawn::<E>(keep_sessions(
            raft.clone(),
            (self.links.clone(), clock),
            machine.sessions(),
            self.session_proposer.clone(),
            timing.session_interval,
        ));
    }
}

/// A number that clients can't foresee.
fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    Process::fill_random(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

async fn start_raft<E: Environment>(
    config: &MetaConfig,
    links: &E::Links,
    log: &LogStore<E>,
    machine: &StateMachine<E>,
) -> Result<Raft<E>, MetaError> {
    let failed = |reason: String| MetaError::Raft { reason };
    let membership = log.last_membership().unwrap_or_else(|| machine.membership());
    let is_alone = membership.nodes().all(|(node, _)| *node == links.node_id().0);
    let raft_config =
        raft_config(config, is_alone).validate().map_err(|e| failed(e.to_string()))?;
    let network = NetworkFactory { links: links.clone() };
    let this = links.node_id().0;
    Raft::new(this, Arc::new(raft_config), network, log.clone(), machine.clone())
        .await
        .map_err(|e| failed(e.to_string()))
}

/// Which node a data directory's log is of that belongs to a broker on its own: only it has ever
/// been voted for. `None`: the log is empty, or can't be read. The log is left as it is, but for an
/// incomplete last batch.
#[must_use]
pub fn node_of_log(directory: &DataDirectory) -> Option<NodeId> {
    let (writer, recovered, _) = LogWriter::open(&directory.log_path()).ok()?;
    writer.close();
    let vote = recovered.get(&GroupId::META)?.vote.as_ref()?;
    let vote: Vote = decode("vote", vote).ok()?;
    Some(NodeId(vote.leader_id.voted_for))
}

fn log_recovery(report: &RecoveryReport) {
    tracing::info!(
        segments = report.segments,
        records = report.records,
        cut_bytes = report.cut_bytes,
        cut_records = report.cut_records,
        "write-ahead log read"
    );
}
