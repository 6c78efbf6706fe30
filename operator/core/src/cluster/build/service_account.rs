//! The ServiceAccount of the brokers: without a token, unless their pods ask for one. Pure.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::metadata;
use crate::cluster::ValidatedCluster;

pub(super) fn build(cluster: &ValidatedCluster) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(cluster, cluster.names.stateful_set()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
