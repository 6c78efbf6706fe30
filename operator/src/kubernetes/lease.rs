//! Leader election by a `coordination.k8s.io/v1` Lease: one operator at a time acts. IO.
//!
//! A holder renews at a third of the duration and steps down when it could not renew for two thirds of it; a candidate takes over
//! when it has seen the same holder and renew time for the whole duration by its own monotonic clock, so skewed clocks do no harm.
//! Updates carry the resourceVersion: of two candidates the API server lets one through.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::time::Instant;

/// How long a Lease is valid without being renewed.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);

/// The election of one leader among the operators that share a Lease.
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    /// Holder and renew time as seen last, and since when.
    seen: Option<(String, Option<MicroTime>, Instant)>,
}

/// What one attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The Lease is held by this identity from now on, for the duration.
    Held,
    /// Somebody else holds it, or was faster.
    Other,
}

impl Election {
    /// An election by the Lease `name`; `identity` must be unique among the candidates (the pod's name).
    #[must_use]
    pub fn new(api: Api<Lease>, name: &str, identity: &str, duration: Duration) -> Self {
        let (name, identity) = (name.to_owned(), identity.to_owned());
        Self { api, name, identity, duration, seen: None }
    }

    /// Waits until the Lease is held. An API server that doesn't answer is asked again; whenever it says that somebody else
    /// holds the Lease, `on_other` is called.
    pub async fn acquire(&mut self, on_other: impl Fn()) {
        loop {
            match self.attempt().await {
                Ok(Attempt::Held) => return,
                Ok(Attempt::Other) => on_other(),
                Err(error) => {
                    tracing::warn!(lease = %self.name, error = %error, "could not read or write the lease");
                }
            }
            tokio::time::sleep(self.duration / 5).await;
        }
    }

    /// Renews until that failed for two thirds of the duration; then this process must not act any longer.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.duration / 3).await;
            let left = (self.duration * 2 / 3).saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left.max(self.duration / 10), self.attempt()).await {
                Ok(Ok(Attempt::Held)) => renewed = Instant::now(),
                Ok(Ok(Attempt::Other)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(lease = %self.name, error = %error, "could not renew the lease");
                }
                Err(_) => tracing::warn!(lease = %self.name, "renewing the lease timed out"),
            }
            if renewed.elapsed() >= self.duration * 2 / 3 {
                return;
            }
        }
    }

    /// Gives the Lease back, so that the next leader need not wait for its end.
    pub async fn release(&self) {
        let released = async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
            if holder(&lease) != self.identity {
                return Ok(());
            }
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            self.api.replace(&self.name, &PostParams::default(), &lease).await.map(drop)
        };
        if let Err::<(), kube::Error>(error) = released.await {
            tracing::warn!(lease = %self.name, error = %error, "could not release the lease");
        }
    }

    /// Tries once to take or renew the Lease.
    ///
    /// # Errors
    /// What the API server answered, other than that somebody else was faster.
    pub async fn attempt(&mut self) -> Result<Attempt, kube::Error> {
        let written = match self.api.get_opt(&self.name).await? {
            None => {
                let metadata =
                    ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(self.spec(None)) };
                self.api.create(&PostParams::default(), &lease).await
            }
            Some(lease) if !self.may_take(&lease) => return Ok(Attempt::Other),
            Some(mut lease) => {
                lease.spec = Some(self.spec(lease.spec.as_ref()));
                self.api.replace(&self.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(Attempt::Held),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Attempt::Other),
            Err(error) => Err(error),
        }
    }

    fn may_take(&mut self, lease: &Lease) -> bool {
        let holder = holder(lease);
        if holder == self.identity || holder.is_empty() {
            return true;
        }
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        match &self.seen {
            Some((who, when, since)) if *who == holder && *when == renewed => {
                since.elapsed() >= self.duration
            }
            _ => {
                self.seen = Some((holder.to_owned(), renewed, Instant::now()));
                false
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let mine = before.is_some_and(|spec| spec.holder_identity.as_ref() == Some(&self.identity));
        let acquired = before.and_then(|spec| spec.acquire_time.clone()).filter(|_| mine);
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions + i32::from(before.is_some() && !mine)),
            ..LeaseSpec::default()
        }
    }
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}
