//! Events on objects: what was done and why. IO; an Event that can't be written stops nothing.

use k8s_openapi::api::core::v1::{ObjectReference, Secret};
use kube::Resource;
use kube::runtime::events::{Event, EventType};
use operator_api::MqttCluster;
use operator_core::cluster::ValidatedCluster;
use operator_core::news::News;
use operator_pki::IssueReason;

use super::scope::Scope;

/// The longest note that Kubernetes accepts, in bytes.
const NOTE_LENGTH_MAX: usize = 1024;

/// Something was done; `related` is what it was done to, beside the object.
///
/// Events of one object, reason and related object within a few minutes are one for Kubernetes, with
/// the first one's note and a count: so what differs in the related object must name it.
pub(super) async fn normal<K>(
    scope: &Scope,
    object: &K,
    related: Option<ObjectReference>,
    reason: &str,
    note: &str,
) where
    K: Resource<DynamicType = ()>,
{
    let event = event(EventType::Normal, related, reason, note);
    publish(scope, &object.object_ref(&()), event).await;
}

/// Something is wrong; `related` as for [`normal`].
pub(super) async fn warning<K>(
    scope: &Scope,
    object: &K,
    related: Option<ObjectReference>,
    reason: &str,
    note: &str,
) where
    K: Resource<DynamicType = ()>,
{
    let event = event(EventType::Warning, related, reason, note);
    publish(scope, &object.object_ref(&()), event).await;
}

/// A status brought news.
pub(super) async fn about(scope: &Scope, reference: &ObjectReference, news: &News) {
    let type_ = if news.is_problem { EventType::Warning } else { EventType::Normal };
    publish(scope, reference, event(type_, None, &news.reason, &news.note)).await;
}

/// A certificate was issued.
pub(super) async fn certificate_issued(
    scope: &Scope,
    cluster: &ValidatedCluster,
    secret: &str,
    reason: &IssueReason,
) {
    let regarding = ObjectReference {
        uid: Some(cluster.uid.clone()),
        ..reference::<MqttCluster>(&cluster.namespace, &cluster.name)
    };
    let related = reference::<Secret>(&cluster.namespace, secret);
    let note = format!("issued the certificate in Secret {secret}: {reason}");
    let event = event(EventType::Normal, Some(related), "CertificateIssued", &note);
    // The first one and one that replaces it are two Events.
    let event = Event { action: reason.as_str().to_owned(), ..event };
    publish(scope, &regarding, event).await;
}

/// Names an object that is related to an Event.
pub(super) fn reference<K>(namespace: &str, name: &str) -> ObjectReference
where
    K: Resource<DynamicType = ()>,
{
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
    }
}

fn event(type_: EventType, related: Option<ObjectReference>, reason: &str, note: &str) -> Event {
    let end = (0..=note.len().min(NOTE_LENGTH_MAX)).rev().find(|at| note.is_char_boundary(*at));
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note[..end.unwrap_or(0)].to_owned()),
        action: "Reconcile".into(),
        secondary: related,
    }
}

async fn publish(scope: &Scope, regarding: &ObjectReference, event: Event) {
    if let Err(error) = scope.recorder.publish(&event, regarding).await {
        tracing::warn!(reason = event.reason, error = %error, "could not write an Event");
    }
}
