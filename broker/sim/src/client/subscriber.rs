//! A client with a durable session that subscribes, and remembers which QoS 2 messages it has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_core::codec::Packet;
use broker_core::types::{PacketId, QoS};

use super::absence::Absence;
use super::connection::{Connection, FOREVER_SECONDS, Identity, Numbers};
use super::packet::Incoming;
use crate::cluster::Cluster;
use crate::environment::{elapsed, sleep};
use crate::event::{Client, Due, Event};
use crate::random::Random;

/// Between two looks of a client that is away for long.
const LOOK: Duration = Duration::from_millis(200);

/// At one of so many looks a client whose session expires leaves.
const LEAVE_LOOKS: u64 = 30;

/// So many absences of a hundred are long ones, of a client whose session expires.
const LONG_PERCENT: u64 = 30;

/// Who subscribes to what.
#[derive(Debug, Clone)]
pub(crate) struct SubscriberPlan {
    pub(crate) client: Client,
    /// It subscribes to all that begins with one of these.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) qos: QoS,
    /// Session Expiry Interval. A client whose session expires leaves often, and stays away for
    /// shorter or longer than that.
    pub(crate) expiry_seconds: u32,
}

struct Subscriber {
    cluster: Cluster,
    plan: SubscriberPlan,
    random: Random,
    is_subscribed: bool,
    had_session: bool,
    absence: Option<Absence>,
    /// QoS 2 messages that were received and not released.
    unreleased: BTreeSet<PacketId>,
}

/// Takes messages for as long as it is polled.
pub(crate) async fn subscribe(
    cluster: Cluster,
    plan: SubscriberPlan,
    random: Random,
    numbers: Numbers,
) {
    let expiry_seconds = Some(plan.expiry_seconds);
    let identity = Identity { client: Arc::clone(&plan.client), expiry_seconds };
    let mut subscriber = Subscriber {
        cluster,
        plan,
        random,
        is_subscribed: false,
        had_session: false,
        absence: None,
        unreleased: BTreeSet::new(),
    };
    loop {
        let cluster = subscriber.cluster.clone();
        let connection =
            Connection::open(&cluster, &identity, &mut subscriber.random, &numbers).await;
        subscriber.run(connection).await;
        // Some of the messages find it away.
        subscriber.stay_away().await;
    }
}

impl Subscriber {
    async fn run(&mut self, mut connection: Connection) {
        self.come_back(connection.session_present);
        if !connection.session_present {
            if self.had_session && !self.expires() {
                let client = Arc::clone(&self.plan.client);
                self.cluster.history.note(Event::SessionLost { client });
            }
            self.unreleased.clear();
        }
        self.had_session = true;
        if !self.is_subscribed {
            connection.subscribe(self.plan.prefixes, self.plan.qos);
        }
        self.serve(&mut connection).await;
        self.absence = Some(Absence::begin(&self.cluster, connection.node));
    }

    async fn serve(&mut self, connection: &mut Connection) {
        loop {
            let look = self.random.millis(10, 200);
            tokio::select! {
                biased;
                packet = connection.receive() => match packet {
                    Some(packet) => self.take(connection, packet),
                    None => return,
                },
                () = sleep(look) => {
                    let leaves = self.expires() && self.random.below(LEAVE_LOOKS) == 0;
                    if (leaves || connection.is_to_break()) && !self.cluster.is_ending() {
                        return;
                    }
                }
            }
        }
    }

    const fn expires(&self) -> bool {
        self.plan.expiry_seconds < FOREVER_SECONDS
    }

    /// A client that can't be sure of its session subscribes again: another connection of its own,
    /// whose CONNACK it has not had, may have begun a new one.
    fn come_back(&mut self, session_present: bool) {
        let Some(absence) = self.absence.take().filter(|_| self.expires()) else { return };
        let (client, expiry) = (&self.plan.client, self.plan.expiry_seconds);
        let due = absence.end(&self.cluster, client, expiry, session_present);
        self.is_subscribed &= due == Due::Kept;
    }

    async fn stay_away(&mut self) {
        if !self.expires() || !self.random.percent(LONG_PERCENT) {
            return sleep(self.random.millis(1, 1500)).await;
        }
        let until =
            elapsed() + self.random.millis(1500, 1500 * u64::from(self.plan.expiry_seconds));
        while elapsed() < until && !self.cluster.is_ending() {
            sleep(LOOK).await;
        }
    }

    fn take(&mut self, connection: &mut Connection, packet: Incoming) {
        match packet {
            Incoming::SubAck { is_granted: true } => {
                self.is_subscribed = true;
                for prefix in self.plan.prefixes {
                    let client = Arc::clone(&self.plan.client);
                    self.cluster.history.note(Event::Subscribed { client, prefix });
                }
            }
            Incoming::Publish { message, qos, is_retained, packet_id } => {
                let is_new = match (qos, packet_id) {
                    (QoS::ExactlyOnce, Some(id)) => self.unreleased.insert(id),
                    _ => true,
                };
                if is_new {
                    let client = Arc::clone(&self.plan.client);
                    let event = Event::Received { client, message, qos, is_retained };
                    self.cluster.history.note(event);
                }
                match (qos, packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => connection.acknowledge(Packet::PubAck, id),
                    (QoS::ExactlyOnce, Some(id)) => connection.acknowledge(Packet::PubRec, id),
                    _ => {}
                }
            }
            Incoming::PubRel { packet_id } => {
                self.unreleased.remove(&packet_id);
                connection.acknowledge(Packet::PubComp, packet_id);
            }
            _ => {}
        }
    }
}
