//! Tests of the objects that are built: YAML, through the real validation, to the whole object.

use serde::Serialize;

use super::*;
use crate::cluster::configuration::{Placement, render};
use crate::cluster::fixture::validated;

fn facts_of(cluster: &ValidatedCluster) -> BuildFacts {
    BuildFacts {
        replicas: cluster.replicas,
        configuration: render(cluster, &Placement::kubernetes(cluster)).unwrap(),
        trust: TrustAnchors {
            root: "ROOT".into(),
            client: "CLIENT".into(),
            admin: "ADMIN".into(),
            peer: "PEER".into(),
            server: "SERVER".into(),
        },
        accepted: "ACCEPTED".into(),
        existing_volume_size: None,
    }
}

fn built(spec: &str) -> ClusterResources {
    let cluster = validated(spec);
    build(&cluster, &facts_of(&cluster))
}

fn yaml(object: &impl Serialize) -> String {
    serde_yaml::to_string(object).unwrap()
}

const SHORTEST: &str = "{version: 0.1.0}";

#[test]
fn stateful_set_of_the_shortest_manifest() {
    insta::assert_snapshot!(yaml(&built(SHORTEST).stateful_set));
}

#[test]
fn other_objects_of_the_shortest_manifest() {
    let ClusterResources {
        service_account,
        peer_discovery,
        config_map,
        headless_service,
        listener_services,
        pod_disruption_budget,
        network_policy,
        stateful_set: _,
    } = built(SHORTEST);
    assert_eq!(peer_discovery, None, "brokers have no right in Kubernetes");
    let mut config_map = config_map;
    let text = config_map.data.as_mut().unwrap().insert("broker.toml".into(), "…".into());
    assert!(text.unwrap().contains("[[listeners]]"));
    let all = [
        yaml(&service_account),
        yaml(&config_map),
        yaml(&headless_service),
        yaml(&listener_services),
        yaml(&pod_disruption_budget),
        yaml(&network_policy),
    ];
    insta::assert_snapshot!(all.join("---\n"));
}

#[test]
fn a_service_for_each_listener_as_it_asks() {
    let built = built(
        "{version: 0.1.0, listeners: [
            {name: tls, port: 8883, service: {type: NodePort, nodePort: 30883, annotations: {a: b}}},
            {name: plain, protocol: mqtt, port: 1883, acknowledgePlaintext: true}]}",
    );
    insta::assert_snapshot!(yaml(&built.listener_services));
}

#[test]
fn one_broker_has_no_disruption_budget() {
    assert_eq!(built("{version: 0.1.0, replicas: 1}").pod_disruption_budget, None);
}

#[test]
fn no_edit_but_the_wanted_ones_changes_the_pod_template() {
    let template = |spec: &str| built(spec).stateful_set.spec.unwrap().template;
    let shortest = template(SHORTEST);
    for harmless in [
        "{version: 0.1.0, replicas: 5}",
        "{version: 0.1.0, storage: {size: 20Gi, whenDeleted: Delete}}",
        "{version: 0.1.0, tls: {subjectAltNames: [a.example.com], leafLifetime: 24h}}",
        "{version: 0.1.0, rollout: {paused: true}}",
        "{version: 0.1.0, policy: {anonymous: guests}}",
        "{version: 0.1.0, listeners: [{name: tls, port: 8883, service: {type: NodePort}}]}",
    ] {
        assert_eq!(template(harmless), shortest, "{harmless}");
    }
    for restarting in [
        "{version: 0.2.0}",
        "{version: 0.1.0, resources: {limits: {memory: 1Gi}}}",
        "{version: 0.1.0, sessions: {inflightMax: 20}}",
        "{version: 0.1.0, brokerConfig: {workers: 2}}",
        "{version: 0.1.0, durabilityRules: [{filter: a/#, durability: memory}]}",
        "{version: 0.1.0, discovery: kubernetes}",
    ] {
        assert_ne!(template(restarting), shortest, "{restarting}");
    }
}

#[test]
fn brokers_that_find_each_other_by_the_api_server_have_that_right_and_a_token() {
    let cluster = validated("{version: 0.1.0, discovery: kubernetes}");
    let facts = facts_of(&cluster);
    let text = &facts.configuration.text;
    let start = text.find("[peers.discovery").expect("discovery");
    let discovery: Vec<_> = text[start..].lines().take_while(|line| !line.is_empty()).collect();
    let built = build(&cluster, &facts);
    let rights = built.peer_discovery.expect("rights");
    let pod = built.stateful_set.spec.unwrap().template.spec.unwrap();
    assert_eq!(pod.automount_service_account_token, Some(false), "the broker's container alone");
    let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
    let all = [
        discovery.join("\n") + "\n",
        yaml(&rights.role),
        yaml(&rights.binding),
        yaml(&pod.volumes.as_ref().unwrap()[1]),
        yaml(&mounts[2]),
    ];
    insta::assert_snapshot!(all.join("---\n"));
    assert!(has_token(&k8s_openapi::api::core::v1::Pod { spec: Some(pod), ..Default::default() }));
}

#[test]
fn volume_templates_keep_the_size_they_were_made_with() {
    let cluster = validated("{version: 0.1.0, storage: {size: 20Gi}}");
    let facts = BuildFacts { existing_volume_size: Some("10Gi".into()), ..facts_of(&cluster) };
    let claims = build(&cluster, &facts).stateful_set.spec.unwrap().volume_claim_templates.unwrap();
    let requests = claims[0].spec.as_ref().unwrap().resources.as_ref().unwrap().requests.clone();
    assert_eq!(requests.unwrap()["storage"].0, "10Gi");
}

#[test]
fn a_pod_template_is_merged_over_what_is_built() {
    let template = built(
        "{version: 0.1.0, podTemplate: {
            metadata: {labels: {team: iot}, annotations: {a: b}},
            spec: {
              nodeSelector: {disk: ssd},
              tolerations: [{key: iot, operator: Exists}],
              containers: [
                {name: broker, env: [{name: RUST_LOG, value: debug}],
                 volumeMounts: [{name: extra, mountPath: /extra}]},
                {name: sidecar, image: busybox}],
              volumes: [{name: extra, emptyDir: {}}]}}}",
    )
    .stateful_set
    .spec
    .unwrap()
    .template;
    let labels = template.metadata.clone().unwrap().labels.unwrap();
    assert_eq!(labels["team"], "iot");
    assert_eq!(labels["app.kubernetes.io/instance"], "fleet");
    let spec = template.spec.unwrap();
    assert_eq!(spec.containers.len(), 2);
    let broker = &spec.containers[0];
    assert!(broker.image.is_some() && broker.readiness_probe.is_some());
    assert_eq!(broker.env.as_ref().unwrap().len(), 2);
    assert_eq!(broker.volume_mounts.as_ref().unwrap().len(), 3);
    assert_eq!(spec.volumes.unwrap().len(), 2);
    assert!(spec.security_context.unwrap().run_as_non_root.unwrap());
}

#[test]
fn a_pod_template_must_not_hide_the_brokers() {
    let overlay = "{metadata: {labels: {app.kubernetes.io/instance: other}}}";
    let problems = pod_template::check_overlay(&serde_yaml::from_str(overlay).unwrap());
    assert!(problems[0].message.contains("must not set app.kubernetes.io/instance"));
    let overlay = "{spec: {containers: {}}}";
    let problems = pod_template::check_overlay(&serde_yaml::from_str(overlay).unwrap());
    assert!(problems[0].message.contains("podTemplate is no pod template"), "{problems:?}");
}

#[test]
fn an_overlay_takes_nothing_that_the_operator_lives_by() {
    for (overlay, named) in [
        ("metadata: {labels: {app.kubernetes.io/managed-by: me}}", "app.kubernetes.io/managed-by"),
        ("metadata: {labels: {app.kubernetes.io/name: me}}", "app.kubernetes.io/name"),
        ("metadata: {labels: {mqtt.dunlin.io/x: y}}", "mqtt.dunlin.io/x"),
        ("metadata: {annotations: {mqtt.dunlin.io/version: 9.9.9}}", "mqtt.dunlin.io/version"),
        ("metadata: null", "podTemplate.metadata must not be null"),
        ("metadata: {labels: null}", "podTemplate.metadata.labels must not be null"),
        ("metadata: {annotations: null}", "podTemplate.metadata.annotations must not be null"),
        ("spec: null", "podTemplate.spec must not be null"),
        ("spec: {containers: null}", "podTemplate.spec.containers must not be null"),
        ("spec: {containers: []}", "podTemplate.spec.containers must list"),
    ] {
        let problems = pod_template::check_overlay(&serde_yaml::from_str(overlay).unwrap());
        assert!(problems.iter().any(|p| p.message.contains(named)), "{overlay}: {problems:?}");
    }
    let fine = "{metadata: {labels: {team: a}, annotations: {a/b: c}}, spec: {containers: [{name: \
                broker, tty: true}]}}";
    let problems = pod_template::check_overlay(&serde_yaml::from_str(fine).unwrap());
    assert!(problems.is_empty(), "{problems:?}");
}
