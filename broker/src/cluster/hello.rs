//! What each side says of itself first, and what the other makes of it. Pure.
//!
//! A HELLO is a byte for its format and postcard. Brokers of before wire version 2 end it behind the
//! name and leave alone what stands behind that, so what is new is appended.

use std::net::SocketAddr;

use broker_core::cluster_state::FEATURE_LEVEL_FIRST;
use broker_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::frame::{Frame, FrameKind};
use super::link_types::{LinksConfig, Refusal, RefusalKind};
use super::version::Speaks;
use crate::tls::{CertificateNames, peer_server_name};

/// Version byte before the encoded [`Hello`].
const FORMAT: u8 = 1;

/// What brokers of before wire version 2 say of themselves.
#[derive(Serialize, Deserialize)]
struct FirstPart {
    wire: (u16, u16),
    cluster_id: String,
    node_id: NodeId,
    name: String,
}

/// What is behind it.
#[derive(Serialize, Deserialize)]
struct SecondPart {
    feature_level_max: u16,
    program: String,
}

/// What a broker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) cluster_id: String,
    pub(super) node_id: NodeId,
    pub(super) name: String,
    pub(super) speaks: Speaks,
}

impl Hello {
    /// What this broker says.
    pub(super) fn of(config: &LinksConfig) -> Self {
        Self {
            cluster_id: config.cluster_id.clone(),
            node_id: config.node_id,
            name: config.name.clone(),
            speaks: config.speaks.clone(),
        }
    }

    /// The frame's body.
    pub(super) fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let first = FirstPart {
            wire: self.speaks.wire,
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            name: self.name.clone(),
        };
        let second = SecondPart {
            feature_level_max: self.speaks.feature_level_max,
            program: self.speaks.program.clone(),
        };
        let body = postcard::to_extend(&first, vec![FORMAT])?;
        postcard::to_extend(&second, body)
    }

    /// What a frame says; `None` when it is no HELLO that this version can read.
    pub(super) fn decode(frame: &Frame) -> Option<Self> {
        let (FrameKind::HELLO, Some((&FORMAT, encoded))) = (frame.kind, frame.body.split_first())
        else {
            return None;
        };
        let (first, rest) = postcard::take_from_bytes::<FirstPart>(encoded).ok()?;
        let second = match rest {
            [] => SecondPart {
                feature_level_max: FEATURE_LEVEL_FIRST,
                program: "0.1.0 or older".to_owned(),
            },
            rest => postcard::take_from_bytes(rest).ok()?.0,
        };
        Some(Self {
            cluster_id: first.cluster_id,
            node_id: first.node_id,
            name: first.name,
            speaks: Speaks {
                wire: first.wire,
                feature_level_max: second.feature_level_max,
                program: second.program,
            },
        })
    }
}

/// What a peer is held against.
pub(super) struct Expected<'a> {
    pub(super) config: &'a LinksConfig,
    /// The cluster's feature level.
    pub(super) feature_level: u16,
    /// The name of the broker that has the node id which the peer says is its own.
    pub(super) owner: Option<String>,
}

/// Why a peer is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is this very node.
    IsThisNode,
    /// It is turned away.
    Refused(RefusalKind, String),
}

impl Expected<'_> {
    /// Whether the peer is of this cluster, is who its certificate says, and speaks and knows what
    /// it has to; the version of the link.
    pub(super) fn check(&self, names: &CertificateNames, hello: &Hello) -> Result<u16, Unfit> {
        self.check_identity(names, hello)?;
        let (ours, theirs) = (&self.config.speaks, &hello.speaks);
        let Some(version) = ours.agree(theirs) else {
            let text = format!(
                "it runs version {} and speaks link protocol {} to {}, this broker runs version {} and \
                 speaks {} to {}: upgrade the older one by way of a version that speaks both",
                theirs.program,
                theirs.wire.0,
                theirs.wire.1,
                ours.program,
                ours.wire.0,
                ours.wire.1
            );
            return Err(Unfit::Refused(RefusalKind::Version, text));
        };
        if theirs.feature_level_max < self.feature_level {
            let text = format!(
                "it runs version {} and knows feature levels up to {}, the cluster is at {}: run the \
                 version there that the other brokers run ({})",
                theirs.program, theirs.feature_level_max, self.feature_level, ours.program
            );
            return Err(Unfit::Refused(RefusalKind::FeatureLevel, text));
        }
        Ok(version)
    }

    fn check_identity(&self, names: &CertificateNames, hello: &Hello) -> Result<(), Unfit> {
        let config = self.config;
        let refuse = |kind, text: String| Err(Unfit::Refused(kind, text));
        if hello.cluster_id != config.cluster_id {
            return refuse(
                RefusalKind::Cluster,
                format!(
                    "broker is of cluster {}, this is cluster {}: one of them has another's \
                     address; look at peers.discovery",
                    hello.cluster_id, config.cluster_id
                ),
            );
        }
        if !names.cluster_ids.contains(&config.cluster_id.to_ascii_lowercase()) {
            let wanted = peer_server_name(&config.cluster_id);
            let text = format!(
                "certificate lacks the name {wanted}: give the broker one of this cluster's authority"
            );
            return refuse(RefusalKind::Cluster, text);
        }
        if names.common_name.as_deref() != Some(hello.name.as_str()) {
            let certified = names.common_name.as_deref().unwrap_or("nothing");
            return refuse(
                RefusalKind::Name,
                format!(
                    "broker calls itself {}, its certificate calls it {certified}: start it with its \
                     own --name and certificate",
                    hello.name
                ),
            );
        }
        if hello.node_id == config.node_id {
            return match hello.name == config.name {
                true => Err(Unfit::IsThisNode),
                false => refuse(
                    RefusalKind::NodeId,
                    "broker has this broker's node id: a copied data directory; start it with an \
                     empty one"
                        .to_owned(),
                ),
            };
        }
        match &self.owner {
            Some(owner) if *owner != hello.name => refuse(
                RefusalKind::NodeId,
                format!(
                    "broker has the node id of {owner}: a copied data directory; start it with an \
                     empty one"
                ),
            ),
            _ => Ok(()),
        }
    }
}

/// A refusal with what is known of the peer.
pub(super) fn refusal(
    address: SocketAddr,
    names: &CertificateNames,
    hello: Option<&Hello>,
    kind: RefusalKind,
    reason: String,
) -> Refusal {
    let cluster_id = match hello {
        Some(hello) => Some(hello.cluster_id.clone()),
        None => names.cluster_ids.first().cloned(),
    };
    Refusal {
        address,
        common_name: names.common_name.clone(),
        cluster_id,
        node_id: hello.map(|hello| hello.node_id),
        name: hello.map(|hello| hello.name.clone()),
        kind,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn hello() -> Hello {
        Hello {
            cluster_id: "01K".to_owned(),
            node_id: NodeId(7),
            name: "b".to_owned(),
            speaks: Speaks::default(),
        }
    }

    fn frame(body: &[u8]) -> Frame {
        Frame { kind: FrameKind::HELLO, id: 0, body: Bytes::copy_from_slice(body) }
    }

    #[test]
    fn a_hello_begins_as_older_brokers_read_it_and_theirs_is_read() {
        let body = hello().encode().unwrap();
        assert_eq!(Hello::decode(&frame(&body)), Some(hello()));
        // Format, versions 1 to 2, cluster, node id, name.
        let first = [1, 1, 2, 3, b'0', b'1', b'K', 7, 1, b'b'];
        assert_eq!(body[..first.len()], first);
        let older = Hello::decode(&frame(&first)).unwrap();
        assert_eq!(older.speaks.feature_level_max, FEATURE_LEVEL_FIRST);
        assert_eq!((older.node_id, older.name.as_str()), (NodeId(7), "b"));
    }

    #[test]
    fn what_is_no_hello_is_not_read() {
        let body = hello().encode().unwrap();
        assert_eq!(Hello::decode(&frame(&[])), None);
        assert_eq!(Hello::decode(&frame(&[&[2], &body[1..]].concat())), None);
        assert_eq!(Hello::decode(&Frame { kind: FrameKind::PING, ..frame(&body) }), None);
        for length in 0..9 {
            assert_eq!(Hello::decode(&frame(&body[..length])), None, "cut to {length}");
        }
    }
}
