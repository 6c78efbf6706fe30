//! The connections of a group, opened and subscribed.

use anyhow::{Context, Result, ensure};

use super::Settings;
use super::plan::Plan;
use crate::connection::{Connection, Scratch};
use crate::wire::{self, FAILURE, PublishTemplate, SUBACK, SessionKeeping};

/// The place of a connection in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    group: usize,
    /// The publisher's number in its group; `None`: a subscriber.
    publisher: Option<usize>,
    /// The number among all connections.
    n: usize,
}

impl Place {
    pub(super) const fn is_subscriber(&self) -> bool {
        self.publisher.is_none()
    }
}

/// The places of one group.
pub(super) fn places(plan: &Plan, group: usize) -> impl Iterator<Item = Place> + use<> {
    let (subscribers, publishers) = (plan.subscribers, plan.publishers);
    let first = group * (subscribers + publishers);
    (0..subscribers + publishers).map(move |at| Place {
        group,
        publisher: at.checked_sub(subscribers),
        n: first + at,
    })
}

/// How long a session of a durable load outlives a run that was cut short.
const KEPT_SECONDS: u32 = 600;

fn client_id(n: usize) -> String {
    format!("bench-{}-load-{n}", std::process::id())
}

/// Ends the session that a subscriber of a durable load has left.
pub(super) async fn discard(settings: &Settings, place: Place, scratch: Scratch) -> Result<()> {
    let lasting = (0, SessionKeeping::Clean);
    let target = settings.target_of(place.group, true);
    target.connect(place.n, &client_id(place.n), lasting, &scratch).await?;
    Ok(())
}

/// A connection that stands.
pub(super) struct Opened {
    pub(super) group: usize,
    /// The publisher's number in its group and its message; `None`: a subscriber.
    pub(super) publisher: Option<(usize, PublishTemplate)>,
    pub(super) connection: Connection,
    pub(super) receive_maximum: u16,
}

pub(super) async fn open(settings: &Settings, place: Place, scratch: Scratch) -> Result<Opened> {
    let Place { group, publisher, n } = place;
    let keeping = match publisher {
        None if settings.is_durable => SessionKeeping::Kept { seconds: KEPT_SECONDS },
        _ => SessionKeeping::Clean,
    };
    let client_id = client_id(n);
    let target = settings.target_of(group, publisher.is_none());
    let (mut connection, accepted) = target.connect(n, &client_id, (0, keeping), &scratch).await?;
    let topic = format!("{}/load/{group}", settings.topic);
    let version = settings.target.version;
    if publisher.is_none() {
        wire::subscribe(version, 1, [topic.as_str()], settings.qos, connection.output());
        let code = connection
            .call(SUBACK, move |frame| {
                frame.suback_codes(version)?.first().copied().context("an empty SUBACK")
            })
            .await
            .with_context(|| format!("subscribe to {topic}"))?;
        ensure!(code < FAILURE, "the broker refused to subscribe to {topic} with code {code:#04x}");
        ensure!(code == settings.qos, "the broker granted {topic} only QoS {code}");
    }
    let template = || PublishTemplate::new(version, &topic, settings.qos, settings.payload_bytes);
    let publisher = publisher.map(|publisher| (publisher, template()));
    Ok(Opened { group, publisher, connection, receive_maximum: accepted.receive_maximum })
}
