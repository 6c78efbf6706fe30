//! How consensus is laid out on disk and on the wire: this project's own forms, so that another
//! version of openraft with other types reads the same bytes. Pure.
//!
//! Everything is postcard behind a version byte. A form is never changed: a new one gets a new
//! version, and the old one stays readable.

use std::collections::BTreeSet;
use std::io;

use broker_core::cluster_state::CommandBatch;
use bytes::Bytes;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Membership};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::type_config::{
    Entry, LogId, MemberNode, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

/// Version of every form here.
const VERSION: u8 = 1;

/// A type with a form of its own.
pub(super) trait Layout: Sized {
    type Form: Serialize + DeserializeOwned;

    fn to_form(&self) -> Self::Form;
    fn from_form(form: Self::Form) -> io::Result<Self>;
}

/// Encodes a value in its form.
pub(super) fn encode<T: Layout>(value: &T) -> io::Result<Bytes> {
    encode_form(&value.to_form())
}

/// Decodes a value from its form; what the bytes are goes into the error.
pub(super) fn decode<T: Layout>(what: &str, bytes: &[u8]) -> io::Result<T> {
    T::from_form(decode_form(what, bytes)?)
}

/// Encodes a type that is its own form.
pub(super) fn encode_form<T: Serialize>(form: &T) -> io::Result<Bytes> {
    let bytes = postcard::to_extend(form, vec![VERSION]).map_err(io::Error::other)?;
    Ok(Bytes::from(bytes))
}

/// Decodes a type that is its own form; bytes behind it are left alone.
pub(super) fn decode_form<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, encoded)) => {
            postcard::from_bytes(encoded).map_err(|error| invalid(&format!("{what}: {error}")))
        }
        Some((version, _)) => Err(invalid(&format!(
            "{what} has version {version}, this broker reads version {VERSION}: run a newer one"
        ))),
        None => Err(invalid(&format!("{what} is empty"))),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[derive(Serialize, Deserialize)]
pub(super) struct LogIdForm {
    term: u64,
    index: u64,
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

impl<T: Layout> Layout for Option<T> {
    type Form = Option<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.as_ref().map(T::to_form)
    }

    fn from_form(form: Self::Form) -> io::Result<Self> {
        form.map(T::from_form).transpose()
    }
}

impl<T: Layout> Layout for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.iter().map(T::to_form).collect()
    }

    fn from_form(form: Self::Form) -> io::Result<Self> {
        form.into_iter().map(T::from_form).collect()
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct VoteForm {
    term: u64,
    node: u64,
    is_committed: bool,
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
pub(super) struct MembershipForm {
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
        let nodes: std::collections::BTreeMap<u64, MemberNode> =
            form.nodes.into_iter().map(|(id, name)| (id, MemberNode { name })).collect();
        if form.voters.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(form.voters, nodes).map_err(|error| invalid(&format!("membership: {error}")))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct EntryForm {
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
pub(super) struct SnapshotMetaForm {
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

#[derive(Serialize, Deserialize)]
pub(super) struct AppendForm {
    vote: VoteForm,
    previous: Option<LogIdForm>,
    entries: Vec<EntryForm>,
    committed: Option<LogIdForm>,
}

impl Layout for AppendEntriesRequest<TypeConfig> {
    type Form = AppendForm;

    fn to_form(&self) -> AppendForm {
        AppendForm {
            vote: self.vote.to_form(),
            previous: self.prev_log_id.to_form(),
            entries: self.entries.to_form(),
            committed: self.leader_commit.to_form(),
        }
    }

    fn from_form(form: AppendForm) -> io::Result<Self> {
        Ok(Self {
            vote: Vote::from_form(form.vote)?,
            prev_log_id: Option::from_form(form.previous)?,
            entries: Vec::from_form(form.entries)?,
            leader_commit: Option::from_form(form.committed)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum AppendedForm {
    Success,
    PartialSuccess(Option<LogIdForm>),
    Conflict,
    HigherVote(VoteForm),
}

impl Layout for AppendEntriesResponse<TypeConfig> {
    type Form = AppendedForm;

    fn to_form(&self) -> AppendedForm {
        match self {
            Self::Success => AppendedForm::Success,
            Self::PartialSuccess(last) => AppendedForm::PartialSuccess(last.to_form()),
            Self::Conflict => AppendedForm::Conflict,
            Self::HigherVote(vote) => AppendedForm::HigherVote(vote.to_form()),
        }
    }

    fn from_form(form: AppendedForm) -> io::Result<Self> {
        Ok(match form {
            AppendedForm::Success => Self::Success,
            AppendedForm::PartialSuccess(last) => Self::PartialSuccess(Option::from_form(last)?),
            AppendedForm::Conflict => Self::Conflict,
            AppendedForm::HigherVote(vote) => Self::HigherVote(Vote::from_form(vote)?),
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct VoteRequestForm {
    vote: VoteForm,
    last: Option<LogIdForm>,
    is_transfer: bool,
}

impl Layout for VoteRequest<TypeConfig> {
    type Form = VoteRequestForm;

    fn to_form(&self) -> VoteRequestForm {
        VoteRequestForm {
            vote: self.vote.to_form(),
            last: self.last_log_id.to_form(),
            is_transfer: self.leadership_transfer,
        }
    }

    fn from_form(form: VoteRequestForm) -> io::Result<Self> {
        Ok(Self {
            vote: Vote::from_form(form.vote)?,
            last_log_id: Option::from_form(form.last)?,
            leadership_transfer: form.is_transfer,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct VotedForm {
    vote: VoteForm,
    is_granted: bool,
    last: Option<LogIdForm>,
}

impl Layout for VoteResponse<TypeConfig> {
    type Form = VotedForm;

    fn to_form(&self) -> VotedForm {
        VotedForm {
            vote: self.vote.to_form(),
            is_granted: self.vote_granted,
            last: self.last_log_id.to_form(),
        }
    }

    fn from_form(form: VotedForm) -> io::Result<Self> {
        Ok(Self {
            vote: Vote::from_form(form.vote)?,
            vote_granted: form.is_granted,
            last_log_id: Option::from_form(form.last)?,
        })
    }
}

impl Layout for SnapshotResponse<TypeConfig> {
    type Form = VoteForm;

    fn to_form(&self) -> VoteForm {
        self.vote.to_form()
    }

    fn from_form(form: VoteForm) -> io::Result<Self> {
        Vote::from_form(form).map(Self::new)
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct TransferForm {
    from: VoteForm,
    to: u64,
    last: Option<LogIdForm>,
}

impl Layout for TransferLeaderRequest<TypeConfig> {
    type Form = TransferForm;

    fn to_form(&self) -> TransferForm {
        TransferForm {
            from: self.from_leader().to_form(),
            to: *self.to_node_id(),
            last: self.last_log_id().map(Layout::to_form),
        }
    }

    fn from_form(form: TransferForm) -> io::Result<Self> {
        let from = Vote::from_form(form.from)?;
        Ok(Self::new(from, form.to, Option::from_form(form.last)?))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) enum TransferredForm {
    Accepted,
    VoteChanged { expected: VoteForm, actual: VoteForm },
    LogNotFlushed { expected: Option<LogIdForm>, actual: Option<LogIdForm> },
}

impl Layout for TransferLeaderResponse<TypeConfig> {
    type Form = TransferredForm;

    fn to_form(&self) -> TransferredForm {
        match self {
            Ok(()) => TransferredForm::Accepted,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                let (expected, actual) = (expected.to_form(), actual.to_form());
                TransferredForm::VoteChanged { expected, actual }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                let (expected, actual) = (expected.to_form(), actual.to_form());
                TransferredForm::LogNotFlushed { expected, actual }
            }
        }
    }

    fn from_form(form: TransferredForm) -> io::Result<Self> {
        Ok(match form {
            TransferredForm::Accepted => Ok(()),
            TransferredForm::VoteChanged { expected, actual } => {
                let (expected, actual) = (Vote::from_form(expected)?, Vote::from_form(actual)?);
                Err(TransferLeaderError::VoteChanged { expected, actual })
            }
            TransferredForm::LogNotFlushed { expected, actual } => {
                let expected = Option::from_form(expected)?;
                let actual = Option::from_form(actual)?;
                Err(TransferLeaderError::LogNotFlushed { expected, actual })
            }
        })
    }
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;
