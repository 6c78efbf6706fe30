//! Issues the identity of a cluster: once, and written down before anything else is made. IO.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::PostParams;
use kube::runtime::controller::Action;
use operator_api::{MqttCluster, MqttClusterStatus};
use operator_core::cluster::names::MANAGER;

use super::super::error::{Error, kubernetes};
use super::super::scope::Scope;

/// How soon the cache is expected to show an identity that was issued.
const AFTER_ISSUE: Duration = Duration::from_millis(100);

/// The digits of an identity: Crockford's base 32, in which nothing looks like something else.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Issues an identity and waits for the change that this causes.
pub(super) async fn issue(scope: &Scope, cluster: &MqttCluster) -> Result<Action, Error> {
    let cluster_id = new(jiff::Timestamp::now().as_millisecond());
    let before = cluster.status.clone().unwrap_or_default();
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let mut issued = cluster.clone();
    issued.status = Some(MqttClusterStatus { cluster_id: Some(cluster_id), ..before });
    // With the resourceVersion that was seen: over an identity that the cache doesn't show yet,
    // this is refused.
    let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
    let api = scope.api::<MqttCluster>(&namespace);
    match api.replace_status(&name, &params, &issued).await {
        Ok(_) => {
            scope.metrics.writes.with_label_values(&["MqttCluster/status"]).inc();
            Ok(Action::requeue(AFTER_ISSUE))
        }
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            Ok(Action::requeue(AFTER_ISSUE))
        }
        Err(error) => {
            Err(kubernetes::<MqttCluster>("write the status of", &namespace, &name)(error))
        }
    }
}

/// A new identity: the time and 80 random bits, 26 digits.
pub(crate) fn new(milliseconds: i64) -> String {
    let mut random = [0; 10];
    crate::kubernetes::random::fill(&mut random);
    let mut value = u128::from(milliseconds.unsigned_abs() & 0xffff_ffff_ffff);
    for byte in random {
        value = value << 8 | u128::from(byte);
    }
    let digit = |at: u32| char::from(DIGITS[(value >> (5 * at) & 31) as usize]);
    (0..26).rev().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_26_digits_that_sort_by_time_and_differ() {
        let (earlier, later) = (new(1_000), new(2_000));
        assert_eq!(earlier.len(), 26);
        assert!(earlier < later);
        assert_ne!(new(1_000), new(1_000));
    }
}
