//! Events about users and rules: few about single objects, sums about the cluster. IO.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use operator_api::MqttCluster;
use operator_core::news::{EventBudget, News};
use tokio::time::Instant;

use super::super::events;
use super::super::scope::Scope;

/// How many Events are written at the same time.
const WRITES_AT_ONCE: usize = 8;

/// What is to be said of an object.
pub(super) type ObjectNews = (ObjectReference, News);

/// How many Events the users and rules of one cluster may still cause.
#[derive(Debug)]
pub(super) struct Events {
    budget: EventBudget,
    refilled: Instant,
}

impl Default for Events {
    fn default() -> Self {
        Self { budget: EventBudget::default(), refilled: Instant::now() }
    }
}

impl Events {
    /// Says the news of a pass. Where there is no cluster, nobody hears the sums.
    pub(super) async fn say(
        &mut self,
        scope: &Scope,
        cluster: Option<&MqttCluster>,
        news: Vec<ObjectNews>,
    ) {
        if news.is_empty() {
            return;
        }
        let now = Instant::now();
        self.budget.refill(now - std::mem::replace(&mut self.refilled, now));
        let told = self.budget.divide(news, |object| {
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{} {}", part(&object.kind), part(&object.name))
        });
        let single = told.single.iter();
        futures::stream::iter(single)
            .for_each_concurrent(WRITES_AT_ONCE, |(object, news)| {
                events::about(scope, object, news)
            })
            .await;
        let Some(cluster) = cluster else { return };
        let reference = kube::Resource::object_ref(cluster, &());
        for news in &told.sums {
            events::about(scope, &reference, news).await;
        }
    }
}
