//! The leader is killed: how long until a message for a durable session is acknowledged again, as its publisher sees it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::LEADS_WITHIN;
use super::row::Failover;
use crate::brokers::Brokers;
use crate::connection::{Connection, Scratch, scratch};
use crate::process::runtime;
use crate::stamp::Stamp;
use crate::target::Target;
use crate::wire::{self, FAILURE, PUBACK, PublishTemplate, SUBACK, SessionKeeping, Version};

/// The topic that the durable session wants.
const TOPIC: &str = "bench/failover";
/// Longest wait for an acknowledgement; far longer than an election.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// How long one attempt may take: a broker that has gone silent is left for another one.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(5);
/// Pause before a broker that refuses is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long a broker may take to be ready again after its start.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Kills the leader so many times.
///
/// # Errors
/// Nothing was acknowledged again in time.
pub(super) fn measure(brokers: &mut Brokers, kills: u32, is_tls: bool) -> Result<Failover> {
    let runtime = runtime()?;
    let scratch = scratch();
    let count = brokers.nodes.len();
    let targets: Vec<Target> = (0..count)
        .map(|ordinal| brokers.target(ordinal, is_tls, Version::V5))
        .collect::<Result<_>>()?;
    runtime.block_on(subscribe(&targets[0], &scratch))?;
    let mut millis = Vec::new();
    for kill in 0..kills {
        let leader = brokers.leader(LEADS_WITHIN).context("no broker leads")?;
        // The publisher's own broker lives on.
        let places = [(leader + 1) % count, (leader + 2) % count];
        let mut publisher =
            Publisher { targets: places.map(|place| &targets[place]), scratch: &scratch, sent: 0 };
        let took = runtime.block_on(async {
            let mut connection = publisher.connect(kill as usize).await?;
            publisher.publish(&mut connection).await.context("before the kill")?;
            let killed = Instant::now();
            brokers.nodes[leader].kill()?;
            publisher.until_acknowledged(connection, killed).await
        })?;
        millis.push(took.as_secs_f64() * 1e3);
        brokers.nodes[leader].start()?;
        brokers.ready(READY_WITHIN)?;
    }
    Ok(Failover::of(millis))
}

/// Leaves a durable session behind that wants the topic.
async fn subscribe(target: &Target, scratch: &Scratch) -> Result<()> {
    let lasting = (0, SessionKeeping::Kept { seconds: 3600 });
    let (mut connection, _) = target.connect(0, "bench-failover", lasting, scratch).await?;
    wire::subscribe(Version::V5, 1, [TOPIC], 1, connection.output());
    let codes = |frame: wire::Frame<'_>| Ok(frame.suback_codes(Version::V5)?.to_vec());
    let codes = connection.call(SUBACK, codes).await?;
    if codes != [1] {
        bail!("SUBSCRIBE is answered by {codes:?}");
    }
    Ok(())
}

struct Publisher<'a> {
    /// The brokers that live on.
    targets: [&'a Target; 2],
    scratch: &'a Scratch,
    sent: u16,
}

impl Publisher<'_> {
    async fn connect(&self, place: usize) -> Result<Connection> {
        let target = self.targets[place % self.targets.len()];
        let lasting = (0, SessionKeeping::Clean);
        Ok(target.connect(0, "bench-failover-publisher", lasting, self.scratch).await?.0)
    }

    /// A message, and its acknowledgement.
    async fn publish(&mut self, connection: &mut Connection) -> Result<()> {
        self.sent += 1;
        let stamp = Stamp { sent_nanos: 0, sequence: self.sent.into(), publisher: 0 };
        let template = PublishTemplate::new(Version::V5, TOPIC, 1, Stamp::BYTES);
        template.append(self.sent, stamp, connection.output());
        let (_, code) = connection.call(PUBACK, |frame| Ok(frame.acknowledgement()?)).await?;
        if code >= FAILURE {
            bail!("the broker refused a message with reason {code:#04x}");
        }
        Ok(())
    }

    /// The time from `killed` to the acknowledgement of a message that was sent after it.
    async fn until_acknowledged(
        &mut self,
        connection: Connection,
        killed: Instant,
    ) -> Result<Duration> {
        let mut open = Some(connection);
        for place in 0usize.. {
            let attempt = async {
                let mut connection = match open.take() {
                    Some(connection) => connection,
                    None => self.connect(place).await?,
                };
                self.publish(&mut connection).await
            };
            let done = tokio::time::timeout(ATTEMPT_WITHIN, attempt).await;
            if matches!(done, Ok(Ok(()))) {
                return Ok(killed.elapsed());
            }
            if killed.elapsed() > ENDS_WITHIN {
                bail!("nothing was acknowledged {ENDS_WITHIN:?} after the leader was killed");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        bail!("no attempt is left")
    }
}
