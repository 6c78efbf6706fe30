//! One link: two ends, a lane each way, the calls that wait for answers. Pure but for channels.

use std::collections::{BTreeMap, VecDeque};

use broker_core::types::NodeId;
use bytes::Bytes;
use openraft_rt_sim::SimInstant;
use tokio::sync::oneshot;

/// An end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The node that dialled: it asks.
    Dialler,
    /// The node that accepted: it answers.
    Acceptor,
}

impl End {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// What travels.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Of a kind; with the call's number, or 0 where no answer is waited for.
    Message { kind: u8, call: u64, body: Bytes },
    /// To a call.
    Answer { call: u64, answer: Result<Bytes, String> },
}

pub(super) type Answer = Result<Bytes, String>;

#[derive(Debug, Default)]
pub(super) struct Lane {
    /// When the last frame arrives that is on its way: none overtakes another.
    pub(super) last: Option<SimInstant>,
    /// Frames that a partition holds up.
    pub(super) held: VecDeque<Frame>,
}

#[derive(Debug)]
pub(super) struct Link {
    pub(super) dialler: NodeId,
    pub(super) acceptor: NodeId,
    pub(super) is_dialler_open: bool,
    pub(super) is_acceptor_open: bool,
    /// By the end that sends.
    pub(super) from_dialler: Lane,
    pub(super) from_acceptor: Lane,
    pub(super) calls: BTreeMap<u64, oneshot::Sender<Answer>>,
    pub(super) last_call: u64,
    /// Looks in a row at which a direction was blocked.
    pub(super) silent_looks: u32,
}

impl Link {
    pub(super) fn new(dialler: NodeId, acceptor: NodeId) -> Self {
        Self {
            dialler,
            acceptor,
            is_dialler_open: true,
            is_acceptor_open: true,
            from_dialler: Lane::default(),
            from_acceptor: Lane::default(),
            calls: BTreeMap::new(),
            last_call: 0,
            silent_looks: 0,
        }
    }

    pub(super) fn end_of(&self, node: NodeId) -> Option<End> {
        if self.dialler == node {
            return Some(End::Dialler);
        }
        (self.acceptor == node).then_some(End::Acceptor)
    }

    pub(super) const fn node(&self, end: End) -> NodeId {
        match end {
            End::Dialler => self.dialler,
            End::Acceptor => self.acceptor,
        }
    }

    pub(super) const fn is_open(&self, end: End) -> bool {
        match end {
            End::Dialler => self.is_dialler_open,
            End::Acceptor => self.is_acceptor_open,
        }
    }

    /// The end takes and sends nothing more; its calls fail.
    pub(super) fn shut(&mut self, end: End) {
        match end {
            End::Dialler => {
                self.is_dialler_open = false;
                self.calls.clear();
            }
            End::Acceptor => self.is_acceptor_open = false,
        }
    }

    /// The lane of what this end sends.
    pub(super) const fn lane(&mut self, from: End) -> &mut Lane {
        match from {
            End::Dialler => &mut self.from_dialler,
            End::Acceptor => &mut self.from_acceptor,
        }
    }

    /// The direction of what this end sends.
    pub(super) const fn direction(&self, from: End) -> (NodeId, NodeId) {
        (self.node(from), self.node(from.other()))
    }
}
