//! How often what a simulation is about has happened. Pure.

use std::sync::{Arc, Mutex, PoisonError};

/// Something that is counted: a kind of harm, what follows from harm, what an invariant looks at.
/// One that stays at nought over many seeds tests nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Count {
    Killed,
    AllKilled,
    DiskLost,
    CutOff,
    NotHeard,
    HearsNobody,
    PairCut,
    PairCutOneWay,
    LinksSlow,
    DiskSlow,
    DiskFailing,
    HandedOver,
    VoteMoved,
    TakenOut,
    StartedAgain,
    StartedEmpty,
    ConsensusStopped,
    WorkersStalled,
    Elections,
    SnapshotsSent,
    FramesHeld,
    FramesOvertaken,
    LinksGivenUp,
    ClocksApart,
    AcknowledgedQos1,
    AcknowledgedQos2,
    RetainedAcknowledged,
    Denied,
    Revoked,
    OutcomeUnknown,
    SentAgain,
    TakenOver,
    Resumed,
    LateSubscriptions,
    LateReceived,
    LiveChecked,
    RetainedRead,
    Probed,
    SessionsKept,
    SessionsOver,
    SessionsFoundOver,
}

impl Count {
    /// All, in the order in which they are printed.
    pub const ALL: [Self; 41] = [
        Self::Killed,
        Self::AllKilled,
        Self::DiskLost,
        Self::CutOff,
        Self::NotHeard,
        Self::HearsNobody,
        Self::PairCut,
        Self::PairCutOneWay,
        Self::LinksSlow,
        Self::DiskSlow,
        Self::DiskFailing,
        Self::HandedOver,
        Self::VoteMoved,
        Self::TakenOut,
        Self::StartedAgain,
        Self::StartedEmpty,
        Self::ConsensusStopped,
        Self::WorkersStalled,
        Self::Elections,
        Self::SnapshotsSent,
        Self::FramesHeld,
        Self::FramesOvertaken,
        Self::LinksGivenUp,
        Self::ClocksApart,
        Self::AcknowledgedQos1,
        Self::AcknowledgedQos2,
        Self::RetainedAcknowledged,
        Self::Denied,
        Self::Revoked,
        Self::OutcomeUnknown,
        Self::SentAgain,
        Self::TakenOver,
        Self::Resumed,
        Self::LateSubscriptions,
        Self::LateReceived,
        Self::LiveChecked,
        Self::RetainedRead,
        Self::Probed,
        Self::SessionsKept,
        Self::SessionsOver,
        Self::SessionsFoundOver,
    ];

    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "brokers killed",
            Self::AllKilled => "all brokers killed",
            Self::DiskLost => "disks lost",
            Self::CutOff => "brokers cut off",
            Self::NotHeard => "brokers that nobody hears",
            Self::HearsNobody => "brokers that hear nobody",
            Self::PairCut => "pairs of brokers cut",
            Self::PairCutOneWay => "pairs cut in one direction",
            Self::LinksSlow => "brokers with slow links",
            Self::DiskSlow => "disks slow",
            Self::DiskFailing => "disks failing",
            Self::HandedOver => "leadership handed over",
            Self::VoteMoved => "votes moved",
            Self::TakenOut => "brokers taken out of the cluster for a while",
            Self::StartedAgain => "starts with what was synced",
            Self::StartedEmpty => "starts with an empty disk, the first ones aside",
            Self::ConsensusStopped => "processes ended by their disk",
            Self::WorkersStalled => "workers held up",
            Self::Elections => "elections won",
            Self::SnapshotsSent => "parts of snapshots sent",
            Self::FramesHeld => "frames held up by a partition",
            Self::FramesOvertaken => "frames overtaken by one of another link",
            Self::LinksGivenUp => "links given up",
            Self::ClocksApart => "clusters whose clocks are a second apart or more",
            Self::AcknowledgedQos1 => "QoS 1 messages acknowledged",
            Self::AcknowledgedQos2 => "QoS 2 messages acknowledged",
            Self::RetainedAcknowledged => "retained messages acknowledged",
            Self::Denied => "messages refused for want of a right",
            Self::Revoked => "rights revoked and enforced",
            Self::OutcomeUnknown => "messages whose outcome the cluster could not tell",
            Self::SentAgain => "messages sent again on a new connection",
            Self::TakenOver => "sessions taken over from a live connection",
            Self::Resumed => "durable sessions gone on with",
            Self::LateSubscriptions => "subscriptions of new sessions, under harm",
            Self::LateReceived => "messages that these received",
            Self::LiveChecked => "messages due to a live session without durability",
            Self::RetainedRead => "retained messages read at the end",
            Self::Probed => "messages that brokers took at the end",
            Self::SessionsKept => "sessions gone on with before their time was over",
            Self::SessionsOver => "sessions looked for when their time was over",
            Self::SessionsFoundOver => "sessions that were over after some time away",
        }
    }
}

/// How often each has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts([u64; Count::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Count::ALL.len()])
    }
}

impl Counts {
    /// How often this has happened.
    #[must_use]
    pub const fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }

    /// Adds what another simulation has seen.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }
}

/// The counts of one simulation. A clone has the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Counts>>);

impl Tally {
    /// It has happened once more.
    pub(crate) fn count(&self, count: Count) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0[count as usize] += 1;
    }

    pub(crate) fn read(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_place_in_the_list() {
        for (place, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, place, "{}", count.name());
        }
    }
}
