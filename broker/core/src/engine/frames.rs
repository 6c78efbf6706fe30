//! The bytes of a message: encoded at most once per protocol version, kind of QoS and mount point;
//! receivers get copies with their own first byte, Packet Identifier, Topic Alias and Subscription
//! Identifiers.

use super::EngineConfig;
use super::outgoing::seconds_left;
use crate::codec::packet::Publish;
use crate::codec::{PublishFrame, PublishHeader, ReceiverProperties};
use crate::connection::OutboundAliases;
use crate::types::{Millis, ProtocolVersion, QoS, SubscriptionId};

/// The encodings of the message that is being delivered: for a version and kind of QoS each, and as
/// many again under the topic that clients behind a mount point see.
#[derive(Debug, Default)]
pub(super) struct Frames {
    frames: [PublishFrame; 8],
    is_ready: [bool; 8],
    /// Length of the mount point that the second half is for.
    mount_bytes: usize,
}

impl Frames {
    /// Another message comes.
    pub(super) const fn clear(&mut self) {
        self.is_ready = [false; 8];
    }

    /// The encoding for a version, a length of the mount point, and a QoS; `None` if there is none.
    pub(super) fn frame(
        &mut self,
        now: Millis,
        publish: &Publish<'_>,
        expires_at: Millis,
        (version, mount_bytes): (ProtocolVersion, usize),
        qos: QoS,
    ) -> Option<&PublishFrame> {
        let mut index = usize::from(version.is_v5()) * 2 + usize::from(qos != QoS::AtMostOnce);
        if mount_bytes > 0 {
            if mount_bytes != self.mount_bytes {
                self.is_ready[4..].fill(false);
                self.mount_bytes = mount_bytes;
            }
            index += 4;
        }
        if !self.is_ready[index] {
            let mut publish = Publish { qos, ..*publish };
            publish.topic = publish.topic.get(mount_bytes..)?;
            publish.properties.topic_alias = None;
            publish.properties.message_expiry_seconds = seconds_left(now, expires_at);
            self.frames[index].encode(&publish, version).ok()?;
            self.is_ready[index] = true;
        }
        Some(&self.frames[index])
    }
}

/// Appends a PUBLISH with its receiver's own properties, if it then fits.
pub(super) fn append_own(
    frame: &PublishFrame,
    header: PublishHeader,
    own: &ReceiverProperties<'_>,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> bool {
    let start = out.len();
    if frame.append_with(header, own, out).is_err() {
        return false;
    }
    let fits = out.len() - start <= bytes_max;
    if !fits {
        out.truncate(start);
    }
    fits
}

/// As [`append_own`] with a Topic Alias, if the topic has or gets one and that fits.
pub(super) fn append_aliased(
    aliases: &mut OutboundAliases,
    frame: &PublishFrame,
    header: PublishHeader,
    (topic, subscription_ids): (&str, &[SubscriptionId]),
    bytes_max: usize,
    out: &mut Vec<u8>,
) {
    let topic_alias = aliases.choose(topic);
    let own = ReceiverProperties { topic_alias, subscription_ids };
    let is_sent = append_own(frame, header, &own, bytes_max, out);
    match topic_alias {
        // Only what is sent tells the receiver.
        Some(alias) if is_sent && !alias.is_known => aliases.set(alias.value, topic),
        Some(_) if !is_sent => {
            let own = ReceiverProperties { topic_alias: None, subscription_ids };
            append_own(frame, header, &own, bytes_max, out);
        }
        _ => {}
    }
}

/// How many bytes of the topic a listener's clients do not see; `None`: they see nothing of it.
pub(super) fn mount_bytes(config: &EngineConfig, listener: u8, topic: &str) -> Option<usize> {
    if config.listeners.is_empty() {
        return Some(0);
    }
    let mount = config.options(listener).mount_point.as_deref().unwrap_or_default();
    // A topic without a level left is none.
    (topic.starts_with(mount) && topic.len() > mount.len()).then_some(mount.len())
}
