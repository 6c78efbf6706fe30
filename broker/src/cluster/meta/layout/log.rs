//! The forms of what the log and its snapshots hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use broker_core::cluster_state::CommandBatch;
use openraft::impls::leader_id_std::LeaderId;
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};

use super::{Layout, invalid};
use crate::cluster::meta::type_config::{
    Entry, LogId, MemberNode, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct LogIdForm {
    term: u64,
    index: u64,
}

impl LogIdForm {
    pub(in crate::cluster::meta) const fn new(term: u64, index: u64) -> Self {
        Self { term, index }
    }
}

impl Layout for LogId {
    type Form = LogIdForm;

    fn to_form(&self) -> LogIdForm {
        LogIdForm { term: self.leader_id.term, index: self.index }
    }

    fn from_form(form: LogIdForm) -> io::Result<Self> {
        let leader_id = openraft::alias::CommittedLeaderIdOf::<TypeConfig>::new(form.term);
        Ok(Self::new(leader_id, form.index))
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct VoteForm {
    term: u64,
    node: u64,
    is_committed: bool,
}

impl VoteForm {
    /// The vote of those who follow an elected leader.
    pub(in crate::cluster::meta) const fn committed(term: u64, node: u64) -> Self {
        Self { term, node, is_committed: true }
    }
}

impl Layout for Vote {
    type Form = VoteForm;

    fn to_form(&self) -> VoteForm {
        VoteForm {
            term: self.leader_id.term,
            node: self.leader_id.voted_for,
            is_committed: self.committed,
        }
    }

    fn from_form(form: VoteForm) -> io::Result<Self> {
        let leader_id = LeaderId { term: form.term, voted_for: form.node };
        Ok(Self { leader_id, committed: form.is_committed })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct MembershipForm {
    /// One set, or two while the membership changes.
    voters: Vec<BTreeSet<u64>>,
    /// Every member, voter or not, with its broker's name.
    nodes: Vec<(u64, String)>,
}

impl Layout for Membership<u64, MemberNode> {
    type Form = MembershipForm;

    fn to_form(&self) -> MembershipForm {
        MembershipForm {
            voters: self.get_joint_config().clone(),
            nodes: self.nodes().map(|(id, node)| (*id, node.name.clone())).collect(),
        }
    }

    fn from_form(form: MembershipForm) -> io::Result<Self> {
        let nodes: BTreeMap<u64, MemberNode> =
            form.nodes.into_iter().map(|(id, name)| (id, MemberNode { name })).collect();
        if form.voters.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(form.voters, nodes).map_err(|error| invalid(&format!("membership: {error}")))
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct EntryForm {
    id: LogIdForm,
    payload: PayloadForm,
}

#[derive(Serialize, Deserialize)]
enum PayloadForm {
    Blank,
    Commands(CommandBatch),
    Membership(MembershipForm),
}

impl Layout for Entry {
    type Form = EntryForm;

    fn to_form(&self) -> EntryForm {
        let payload = match &self.payload {
            EntryPayload::Blank => PayloadForm::Blank,
            EntryPayload::Normal(batch) => PayloadForm::Commands(batch.clone()),
            EntryPayload::Membership(membership) => PayloadForm::Membership(membership.to_form()),
        };
        EntryForm { id: self.log_id.to_form(), payload }
    }

    fn from_form(form: EntryForm) -> io::Result<Self> {
        let payload = match form.payload {
            PayloadForm::Blank => EntryPayload::Blank,
            PayloadForm::Commands(batch) => EntryPayload::Normal(batch),
            PayloadForm::Membership(form) => EntryPayload::Membership(Membership::from_form(form)?),
        };
        Ok(Self { log_id: LogId::from_form(form.id)?, payload })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct SnapshotMetaForm {
    last: Option<LogIdForm>,
    membership_id: Option<LogIdForm>,
    membership: MembershipForm,
}

impl Layout for SnapshotMeta {
    type Form = SnapshotMetaForm;

    fn to_form(&self) -> SnapshotMetaForm {
        SnapshotMetaForm {
            last: self.last_log_id.to_form(),
            membership_id: self.last_membership.log_id().to_form(),
            membership: self.last_membership.membership().to_form(),
        }
    }

    fn from_form(form: SnapshotMetaForm) -> io::Result<Self> {
        let membership = Membership::from_form(form.membership)?;
        let membership_id = Option::from_form(form.membership_id)?;
        Ok(Self {
            last_log_id: Option::from_form(form.last)?,
            last_membership: StoredMembership::new(membership_id, membership),
        })
    }
}
