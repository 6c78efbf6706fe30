//! Events on objects: what was done and why. IO; an Event that can't be written stops nothing.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use operator_api::MqttCluster;
use operator_core::cluster::ValidatedCluster;
use operator_core::news::News;
use operator_pki::IssueReason;

use super::scope::Scope;

/// The longest note that Kubernetes accepts, in bytes.
const NOTE_LENGTH_MAX: usize = 1024;

/// Something was done.
pub(super) async fn normal<K>(scope: &Scope, object: &K, reason: &str, note: &str)
where
    K: Resource<DynamicType = ()>,
{
    publish(scope, &object.object_ref(&()), EventType::Normal, reason, note).await;
}

/// Something is wrong.
pub(super) async fn warning<K>(scope: &Scope, object: &K, reason: &str, note: &str)
where
    K: Resource<DynamicType = ()>,
{
    publish(scope, &object.object_ref(&()), EventType::Warning, reason, note).await;
}

/// A status brought news.
pub(super) async fn about(scope: &Scope, reference: &ObjectReference, news: &News) {
    let type_ = if news.is_problem { EventType::Warning } else { EventType::Normal };
    publish(scope, reference, type_, &news.reason, &news.note).await;
}

/// A certificate was issued.
pub(super) async fn certificate_issued(
    scope: &Scope,
    cluster: &ValidatedCluster,
    secret: &str,
    reason: &IssueReason,
) {
    let reference = ObjectReference {
        api_version: Some(MqttCluster::api_version(&()).into_owned()),
        kind: Some(MqttCluster::kind(&()).into_owned()),
        name: Some(cluster.name.clone()),
        namespace: Some(cluster.namespace.clone()),
        uid: Some(cluster.uid.clone()),
        ..ObjectReference::default()
    };
    let note = format!("issued the certificate in Secret {secret}: {reason}");
    publish(scope, &reference, EventType::Normal, "CertificateIssued", &note).await;
}

async fn publish(
    scope: &Scope,
    reference: &ObjectReference,
    type_: EventType,
    reason: &str,
    note: &str,
) {
    let end = (0..=note.len().min(NOTE_LENGTH_MAX)).rev().find(|at| note.is_char_boundary(*at));
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note[..end.unwrap_or(0)].to_owned()),
        action: "Reconcile".into(),
        secondary: None,
    };
    if let Err(error) = scope.recorder.publish(&event, reference).await {
        tracing::warn!(reason, error = %error, "could not write an Event");
    }
}
