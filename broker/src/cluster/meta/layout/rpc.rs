//! The forms of what the members of the group ask each other.

use std::io;

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::Layout;
use super::log::{EntryForm, LogIdForm, VoteForm};
use crate::cluster::environment::Environment;
use crate::cluster::meta::type_config::{TypeConfig, Vote};

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct AppendForm {
    vote: VoteForm,
    previous: Option<LogIdForm>,
    entries: Vec<EntryForm>,
    committed: Option<LogIdForm>,
}

impl<E: Environment> Layout for AppendEntriesRequest<TypeConfig<E>> {
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
pub(in crate::cluster::meta) enum AppendedForm {
    Success,
    PartialSuccess(Option<LogIdForm>),
    Conflict,
    HigherVote(VoteForm),
}

impl<E: Environment> Layout for AppendEntriesResponse<TypeConfig<E>> {
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
pub(in crate::cluster::meta) struct VoteRequestForm {
    vote: VoteForm,
    last: Option<LogIdForm>,
    is_transfer: bool,
}

impl<E: Environment> Layout for VoteRequest<TypeConfig<E>> {
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
pub(in crate::cluster::meta) struct VotedForm {
    vote: VoteForm,
    is_granted: bool,
    last: Option<LogIdForm>,
}

impl<E: Environment> Layout for VoteResponse<TypeConfig<E>> {
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

impl<E: Environment> Layout for SnapshotResponse<TypeConfig<E>> {
    type Form = VoteForm;

    fn to_form(&self) -> VoteForm {
        self.vote.to_form()
    }

    fn from_form(form: VoteForm) -> io::Result<Self> {
        Vote::from_form(form).map(Self::new)
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::cluster::meta) struct TransferForm {
    from: VoteForm,
    to: u64,
    last: Option<LogIdForm>,
}

impl<E: Environment> Layout for TransferLeaderRequest<TypeConfig<E>> {
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
pub(in crate::cluster::meta) enum TransferredForm {
    Accepted,
    VoteChanged { expected: VoteForm, actual: VoteForm },
    LogNotFlushed { expected: Option<LogIdForm>, actual: Option<LogIdForm> },
}

impl<E: Environment> Layout for TransferLeaderResponse<TypeConfig<E>> {
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
