//! From a spec and what it refers to, to a cluster that makes sense. Pure.
//!
//! What the schema and its CEL rules refuse is not looked at again; what only the operator can see
//! becomes a [`Problem`].

use std::time::Duration;

use operator_api::cluster::{
    Discovery, Durability, DurabilityRule, FoundedFrom, Listener, OnFailure, PartitionPolicy,
    PolicySettings, PullPolicy, Resources, Retained, WhenDeleted,
};
use operator_api::{MqttCluster, measure};

use super::build::pod_template::check_overlay;
use super::configuration::{self, Placement};
use super::names::ClusterNames;

/// What the operator knows beside the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFacts {
    /// The identity that was issued to the cluster.
    pub cluster_id: String,
    /// The namespace that the operator runs in; empty outside Kubernetes.
    pub operator_namespace: String,
    /// The DNS domain of the Kubernetes cluster, such as `cluster.local`; empty for none.
    pub cluster_domain: String,
    /// Whether the Secret that `tls.authority.secretName` names is there.
    pub has_authority_secret: bool,
}

/// Why a spec, although well-formed, can't be acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemReason {
    /// A Secret that the spec names is not there.
    SecretMissing,
    /// The spec asks for what this version doesn't do yet.
    NotSupported,
    /// `podTemplate` can't be merged.
    InvalidPodTemplate,
    /// The brokers would refuse the configuration.
    InvalidConfiguration,
    /// A value is outside of what the schema should have held it to.
    InvalidValue,
}

impl ProblemReason {
    /// The reason of a condition.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretMissing => "SecretMissing",
            Self::NotSupported => "NotSupported",
            Self::InvalidPodTemplate => "InvalidPodTemplate",
            Self::InvalidConfiguration => "InvalidConfiguration",
            Self::InvalidValue => "InvalidValue",
        }
    }
}

/// A problem with a spec, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What sort it is.
    pub reason: ProblemReason,
    /// What to change.
    pub message: String,
}

impl Problem {
    /// A problem.
    pub fn new(reason: ProblemReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A cluster that makes sense: typed, complete, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedCluster {
    /// The cluster's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The identity of the object, for owner references; empty outside Kubernetes.
    pub uid: String,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// The identity that was issued to it.
    pub cluster_id: String,
    /// The namespace that the operator runs in; empty outside Kubernetes.
    pub operator_namespace: String,
    /// The names of its objects.
    pub names: ClusterNames,
    /// The wanted version.
    pub version: String,
    /// The wanted number of brokers: 1, or 3 to 7.
    pub replicas: u16,
    /// How many of them shall vote: 1, 3, 5 or 7, and not more than there are.
    pub voters: u16,
    /// Whether it is founded from a backup.
    pub awaits_backup: bool,
    /// The image with tag or digest.
    pub image: String,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Secrets for pulling it.
    pub pull_secrets: Vec<String>,
    /// Requests and limits of the container.
    pub resources: Resources,
    /// The brokers' volumes.
    pub storage: ValidatedStorage,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// A CA that was brought along: the Secret with it.
    pub authority_secret: Option<String>,
    /// DNS names and addresses of the server certificate, sorted.
    pub server_names: Vec<String>,
    /// How long a leaf certificate lives.
    pub leaf_lifetime: Duration,
    /// When a message counts as kept.
    pub durability: Durability,
    /// The same by topic; the first that matches decides.
    pub durability_rules: Vec<DurabilityRule>,
    /// How brokers find each other in Kubernetes.
    pub discovery: Discovery,
    /// What brokers without a quorum do.
    pub partition_policy: PartitionPolicy,
    /// Limits of sessions.
    pub sessions: ValidatedSessions,
    /// Limits of retained messages: number and bytes.
    pub retained: ValidatedRetained,
    /// Rights that hold where no MqttAcl speaks.
    pub policy: PolicySettings,
    /// How brokers are replaced.
    pub rollout: ValidatedRollout,
    /// What is merged over the pod template; empty for nothing.
    pub pod_template: serde_json::Map<String, serde_json::Value>,
    /// What is merged over the brokers' configuration; empty for nothing.
    pub broker_config: serde_json::Map<String, serde_json::Value>,
}

/// The brokers' volumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedStorage {
    /// The size as it was written.
    pub size: String,
    /// The size in bytes.
    pub size_bytes: u64,
    /// The storage class; `None` for the Kubernetes cluster's own.
    pub class_name: Option<String>,
    /// What becomes of the volumes when the cluster is deleted.
    pub when_deleted: WhenDeleted,
}

/// Limits of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedSessions {
    /// The longest time without a connection.
    pub expiry_max: Duration,
    /// Unacknowledged messages to one client.
    pub inflight_max: u16,
    /// Messages that wait for one client.
    pub queued_messages_max: u32,
    /// Bytes that wait for one client.
    pub queued_bytes_max: u64,
}

/// Limits of retained messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedRetained {
    /// How many.
    pub messages_max: u64,
    /// Bytes of all together; `None`: what follows from a broker's memory.
    pub bytes_max: Option<u64>,
}

/// How brokers are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedRollout {
    /// Whether nothing disruptive may be done.
    pub paused: bool,
    /// Clients asked to reconnect each second.
    pub clients_moved_per_second: u32,
    /// How long a replaced broker must be well.
    pub minimum_stable: Duration,
    /// What is done when it doesn't become well.
    pub on_failure: OnFailure,
}

impl ValidatedCluster {
    /// The address inside Kubernetes at which clients reach a listener, without the domain.
    #[must_use]
    pub fn listener_address(&self, listener: &Listener) -> String {
        let service = self.names.listener_service(&listener.name);
        format!("{service}.{}.svc:{}", self.namespace, listener.port)
    }

    /// The name by which the operator reaches a broker's admin API.
    #[must_use]
    pub fn broker_host(&self, ordinal: u16) -> String {
        let service = self.names.headless_service();
        format!("{}.{service}.{}.svc", self.names.broker(ordinal), self.namespace)
    }
}

/// Makes sense of a cluster's spec.
///
/// # Errors
/// All problems at once, sorted.
pub fn validate(
    cluster: &MqttCluster,
    facts: &ClusterFacts,
) -> Result<ValidatedCluster, Vec<Problem>> {
    let mut problems = Vec::new();
    let spec = &cluster.spec;
    let authority = &spec.tls.authority;
    if authority.issuer_ref.is_some() {
        problems.push(Problem::new(
            ProblemReason::NotSupported,
            "tls.authority.issuerRef is not supported yet: leave it out, or use secretName",
        ));
    }
    if let Some(secret) = &authority.secret_name
        && !facts.has_authority_secret
    {
        problems.push(Problem::new(
            ProblemReason::SecretMissing,
            format!(
                "the Secret {secret} of tls.authority.secretName is not there: create it with \
                 root.crt and, for each purpose (server, peer, client, admin), <purpose>.crt and \
                 <purpose>.key, and the label mqtt.dunlin.io/watch=true"
            ),
        ));
    }
    problems.extend(check_overlay(&spec.pod_template));
    problems.extend(check_account(cluster));
    let validated = typed(cluster, facts, &mut problems);
    if let Err(problem) = configuration::render(&validated, &Placement::kubernetes(&validated)) {
        problems.push(problem);
    }
    if problems.is_empty() {
        return Ok(validated);
    }
    problems.sort();
    Err(problems)
}

fn typed(
    cluster: &MqttCluster,
    facts: &ClusterFacts,
    problems: &mut Vec<Problem>,
) -> ValidatedCluster {
    let spec = &cluster.spec;
    let name = cluster.metadata.name.clone().unwrap_or_default();
    let namespace = cluster.metadata.namespace.clone().unwrap_or_else(|| "default".into());
    let names = ClusterNames::new(&*name);
    let mut read = Reader { problems };
    let image = match &spec.image.digest {
        Some(digest) => format!("{}@{digest}", spec.image.repository),
        None => format!("{}:{}", spec.image.repository, spec.version),
    };
    ValidatedCluster {
        uid: cluster.metadata.uid.clone().unwrap_or_default(),
        generation: cluster.metadata.generation,
        cluster_id: facts.cluster_id.clone(),
        operator_namespace: facts.operator_namespace.clone(),
        version: spec.version.clone(),
        replicas: read.replicas(spec.replicas),
        voters: read.voters(spec.effective_voters(), spec.replicas),
        awaits_backup: spec.founded_from == FoundedFrom::Backup,
        image,
        pull_policy: spec.image.pull_policy,
        pull_secrets: spec.image.pull_secrets.iter().map(|secret| secret.name.clone()).collect(),
        resources: spec.resources.clone(),
        storage: ValidatedStorage {
            size: spec.storage.size.clone(),
            size_bytes: read.bytes("storage.size", &spec.storage.size),
            class_name: spec.storage.class_name.clone(),
            when_deleted: spec.storage.when_deleted,
        },
        listeners: spec.listeners.clone(),
        authority_secret: spec.tls.authority.secret_name.clone(),
        server_names: server_names(cluster, &names, &namespace, facts),
        leaf_lifetime: read.duration("tls.leafLifetime", &spec.tls.leaf_lifetime),
        durability: spec.effective_durability(),
        durability_rules: spec.durability_rules.clone(),
        discovery: spec.discovery,
        partition_policy: spec.partition_policy,
        sessions: ValidatedSessions {
            expiry_max: read.duration("sessions.expiryMax", &spec.sessions.expiry_max),
            inflight_max: u16::try_from(spec.sessions.inflight_max).unwrap_or(u16::MAX),
            queued_messages_max: spec.sessions.queued_messages_max,
            queued_bytes_max: read
                .bytes("sessions.queuedBytesMax", &spec.sessions.queued_bytes_max),
        },
        retained: retained(&spec.retained, &mut read),
        policy: spec.policy.clone(),
        rollout: ValidatedRollout {
            paused: spec.rollout.paused,
            clients_moved_per_second: spec.rollout.clients_moved_per_second,
            minimum_stable: read.duration("rollout.minimumStable", &spec.rollout.minimum_stable),
            on_failure: spec.rollout.on_failure,
        },
        pod_template: spec.pod_template.clone(),
        broker_config: spec.broker_config.clone(),
        names,
        name,
        namespace,
    }
}

/// A right is given to one ServiceAccount: pods that run as another would not have it.
fn check_account(cluster: &MqttCluster) -> Option<Problem> {
    let spec = &cluster.spec;
    let account = spec.pod_template.get("spec").and_then(|pod| pod.get("serviceAccountName"));
    if spec.discovery != Discovery::Kubernetes || account.is_none() {
        return None;
    }
    Some(Problem::new(
        ProblemReason::InvalidPodTemplate,
        "podTemplate.spec.serviceAccountName can't be set with discovery kubernetes, which gives the \
         right to read EndpointSlices to the operator's own ServiceAccount: leave it out, or use \
         discovery dns",
    ))
}

fn retained(spec: &Retained, read: &mut Reader) -> ValidatedRetained {
    ValidatedRetained {
        messages_max: spec.messages_max.into(),
        bytes_max: spec.bytes_max.as_ref().map(|text| read.bytes("retained.bytesMax", text)),
    }
}

/// The names in the server certificate: of the Services, of each broker, and what the spec adds.
fn server_names(
    cluster: &MqttCluster,
    names: &ClusterNames,
    namespace: &str,
    facts: &ClusterFacts,
) -> Vec<String> {
    let listeners = cluster.spec.listeners.iter().map(|l| names.listener_service(&l.name));
    let mut all = cluster.spec.tls.subject_alt_names.clone();
    // What a person reaches by `kubectl port-forward`.
    all.push("localhost".to_owned());
    for service in listeners {
        all.push(format!("{service}.{namespace}"));
        all.push(format!("{service}.{namespace}.svc"));
        if !facts.cluster_domain.is_empty() {
            all.push(format!("{service}.{namespace}.svc.{}", facts.cluster_domain));
        }
        all.push(service);
    }
    let headless = names.headless_service();
    all.push(format!("*.{headless}.{namespace}.svc"));
    if !facts.cluster_domain.is_empty() {
        all.push(format!("*.{headless}.{namespace}.svc.{}", facts.cluster_domain));
    }
    all.sort();
    all.dedup();
    all
}

/// Reads single values and notes what can't be read.
struct Reader<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn note(&mut self, message: String) {
        self.problems.push(Problem::new(ProblemReason::InvalidValue, message));
    }

    fn duration(&mut self, field: &str, text: &str) -> Duration {
        measure::duration(text).unwrap_or_else(|| {
            self.note(format!("{field} {text:?} is no duration: write it as in 168h or 10s"));
            Duration::ZERO
        })
    }

    fn bytes(&mut self, field: &str, text: &str) -> u64 {
        measure::bytes(text).unwrap_or_else(|| {
            self.note(format!("{field} {text:?} is no amount of bytes: write it as in 64Ki"));
            0
        })
    }

    fn replicas(&mut self, replicas: i32) -> u16 {
        match replicas {
            1 | 3..=7 => u16::try_from(replicas).unwrap_or(1),
            other => {
                self.note(format!("replicas {other} can't be: use 1, or 3 to 7"));
                1
            }
        }
    }

    fn voters(&mut self, voters: i32, replicas: i32) -> u16 {
        match voters {
            1 | 3 | 5 | 7 if voters <= replicas => u16::try_from(voters).unwrap_or(1),
            other => {
                self.note(format!("voters {other} can't be: use 1, 3, 5 or 7, at most replicas"));
                1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::{cluster, facts};

    #[test]
    fn the_shortest_manifest_is_complete() {
        let validated = validate(&cluster("{version: 0.1.0}"), &facts()).unwrap();
        assert_eq!((validated.replicas, validated.voters), (3, 3));
        assert_eq!(validated.image, "ghcr.io/dunlin/mqtt-broker:0.1.0");
        assert_eq!(validated.durability, Durability::Quorum);
        assert!(validated.server_names.contains(&"fleet-tls.iot.svc".to_owned()));
        assert!(validated.server_names.contains(&"*.fleet-brokers.iot.svc".to_owned()));
        assert_eq!(validated.broker_host(2), "fleet-2.fleet-brokers.iot.svc");
    }

    #[test]
    fn three_brokers_vote_unless_more_or_fewer_are_asked_for() {
        let read = |spec: &str| {
            let found = validate(&cluster(&format!("{{version: 0.1.0, {spec}}}")), &facts());
            found.map(|valid| (valid.replicas, valid.voters, valid.durability))
        };
        assert_eq!(read("replicas: 1").unwrap(), (1, 1, Durability::Local));
        assert_eq!(read("replicas: 4").unwrap(), (4, 3, Durability::Quorum));
        assert_eq!(read("replicas: 7").unwrap(), (7, 3, Durability::Quorum));
        assert_eq!(read("replicas: 5, voters: 5").unwrap(), (5, 5, Durability::Quorum));
        assert_eq!(read("replicas: 3, voters: 1").unwrap(), (3, 1, Durability::Local));
        for wrong in ["replicas: 2", "replicas: 8", "voters: 2", "replicas: 3, voters: 5"] {
            let problems = read(wrong).unwrap_err();
            assert!(problems[0].message.contains("can't be: use 1, "), "{wrong}: {problems:?}");
        }
    }

    #[test]
    fn a_digest_stands_instead_of_the_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let spec = format!("{{version: 0.1.0, image: {{digest: '{digest}'}}}}");
        let validated = validate(&cluster(&spec), &facts()).unwrap();
        assert_eq!(validated.image, format!("ghcr.io/dunlin/mqtt-broker@{digest}"));
    }

    #[test]
    fn brokers_that_ask_the_api_server_run_as_the_account_that_may() {
        let read = |discovery: &str| {
            let spec = format!(
                "{{version: 0.1.0, discovery: {discovery}, podTemplate: {{spec: \
                 {{serviceAccountName: mine}}}}}}"
            );
            validate(&cluster(&spec), &facts())
        };
        assert!(read("dns").is_ok());
        let problems = read("kubernetes").unwrap_err();
        assert_eq!(problems[0].reason, ProblemReason::InvalidPodTemplate);
        assert!(problems[0].message.contains("leave it out, or use discovery dns"), "{problems:?}");
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let spec = "{version: 0.1.0, tls: {authority: {secretName: root}},
            brokerConfig: {mqtt: {receive_maximum: 0}},
            podTemplate: {spec: {tolerationz: []}}}";
        let problems = validate(&cluster(spec), &facts()).unwrap_err();
        let reasons: Vec<_> = problems.iter().map(|problem| problem.reason).collect();
        assert_eq!(
            reasons,
            [
                ProblemReason::SecretMissing,
                ProblemReason::InvalidPodTemplate,
                ProblemReason::InvalidConfiguration
            ],
            "{problems:?}"
        );
        assert!(problems[1].message.contains("spec.tolerationz"), "{}", problems[1]);
        assert!(problems[2].message.contains("receive_maximum"), "{}", problems[2]);
    }
}
