//! Each rule of the file, broken once.

use crate::{
    Authentication, ClientCertificates, Config, ConfigError, FeatureError, ParseError, RawConfig,
    RawDelayed, RawRedirect, RawRewrite, RewriteAction,
};

pub(crate) const MINIMAL: &str = r#"
data_dir = "/var/lib/dunlin"

[cluster]
name = "fleet"
id = "01KABCDEF"

[peers]
listen = "0.0.0.0:7883"
[peers.discovery.dns]
host = "fleet-brokers.iot.svc"
port = 7883

[admin]
listen = "0.0.0.0:8443"

[tls]
server_certificate = "/etc/dunlin/tls/server/tls.crt"
server_key = "/etc/dunlin/tls/server/tls.key"
peer_certificate = "/etc/dunlin/tls/peer/{ordinal}/tls.crt"
peer_key = "/etc/dunlin/tls/peer/{ordinal}/tls.key"
peer_ca = "/etc/dunlin/tls/trust/peer-ca.crt"
admin_ca = "/etc/dunlin/tls/trust/admin-ca.crt"
client_ca = "/etc/dunlin/tls/trust/client-ca.crt"

[[listeners]]
name = "tls"
port = 8883
authentication = ["password", "x509"]
"#;

pub(crate) fn refused(change: impl FnOnce(&mut RawConfig)) -> ConfigError {
    let mut raw = RawConfig::parse(MINIMAL).unwrap();
    change(&mut raw);
    Config::try_from(raw).unwrap_err()
}

#[test]
fn five_sections_are_enough_and_the_rest_has_defaults() {
    let config = Config::parse(MINIMAL).unwrap();
    assert_eq!(config.workers, None);
    assert_eq!(config.listeners[0].client_certificates, ClientCertificates::Optional);
    assert_eq!(config.listeners[0].limits.connections, 100_000);
    assert_eq!(config.cluster.as_ref().unwrap().peer_server_name(), "01kabcdef.peer.dunlin");
    let peer_tls = &config.cluster.as_ref().unwrap().tls.peer;
    let paths = peer_tls.for_broker("fleet-2").unwrap();
    assert_eq!(paths.key.to_str(), Some("/etc/dunlin/tls/peer/2/tls.key"));
    assert_eq!(peer_tls.for_broker("fleet"), None);
}

#[test]
fn what_is_rendered_parses_to_the_same_value() {
    let raw = RawConfig::parse(MINIMAL).unwrap();
    let text = raw.render();
    insta::assert_snapshot!(text);
    assert_eq!(RawConfig::parse(&text).unwrap(), raw);
}

#[test]
fn each_strategy_of_shared_subscriptions_has_its_word() {
    use crate::SharedSubscriptionStrategy::*;
    let strategy =
        |text: &str| Config::parse(text).map(|config| config.mqtt.shared_subscription_strategy);
    assert_eq!(strategy(MINIMAL), Ok(RoundRobin));
    for (word, expected) in [
        ("round_robin", RoundRobin),
        ("random", Random),
        ("sticky", Sticky),
        ("hash_client", HashClient),
        ("hash_topic", HashTopic),
        ("local_first", LocalFirst),
    ] {
        let text = format!("{MINIMAL}\n[mqtt]\nshared_subscription_strategy = \"{word}\"\n");
        assert_eq!(strategy(&text), Ok(expected), "{word}");
    }
    let text = format!("{MINIMAL}\n[mqtt]\nshared_subscription_strategy = \"fair\"\n");
    let message = strategy(&text).unwrap_err().to_string();
    assert!(message.contains("round_robin") && message.contains("local_first"), "{message}");
}

#[test]
fn unknown_key_names_the_nearest_valid_one() {
    let text = MINIMAL.replace("authentication =", "autentication =");
    let error = Config::parse(&text).unwrap_err();
    let message = error.to_string();
    let ParseError::UnknownKey { line, key, nearest, .. } = error else { panic!("{message}") };
    assert_eq!((key.as_str(), nearest.as_deref()), ("autentication", Some("authentication")));
    assert_eq!(text.lines().nth(line - 1), Some("autentication = [\"password\", \"x509\"]"));
    assert!(message.contains("did you mean \"authentication\"?"), "{message}");
}

#[test]
fn unknown_key_at_the_top_is_found_too() {
    let error = Config::parse(&format!("partition_polcy = \"serve\"\n{MINIMAL}")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1: there is no key \"partition_polcy\" here; did you mean \"partition_policy\"?"
    );
}

#[test]
fn value_of_another_type_is_located() {
    let error = Config::parse(&MINIMAL.replace("port = 8883", "port = \"x\"")).unwrap_err();
    assert!(matches!(error, ParseError::Syntax { line: 28, column: 8, .. }), "{error:?}");
}

#[test]
fn environment_overrides_win_and_are_checked() {
    let config = Config::parse_with(MINIMAL, |name| match name {
        "DUNLIN_WORKERS" => Some("3".to_owned()),
        "DUNLIN_LOG_LEVEL" => Some("debug".to_owned()),
        _ => None,
    })
    .unwrap();
    assert_eq!((config.workers, config.log.level.as_str()), (Some(3), "debug"));
    let error =
        Config::parse_with(MINIMAL, |name| (name == "DUNLIN_LOG_FORMAT").then(|| "xml".to_owned()));
    assert!(matches!(error, Err(ParseError::Override { variable: "DUNLIN_LOG_FORMAT", .. })));
}

#[test]
fn plaintext_must_be_acknowledged_and_only_there() {
    let error = refused(|raw| {
        raw.listeners[0].protocol = crate::Protocol::Mqtt;
        raw.listeners[0].authentication = vec![Authentication::Password];
    });
    assert!(matches!(error, ConfigError::Plaintext { protocol: "mqtt", .. }), "{error}");
    let error = refused(|raw| raw.listeners[0].acknowledge_plaintext = true);
    assert!(matches!(error, ConfigError::NeedlessAcknowledgement { .. }), "{error}");
}

#[test]
fn certificates_need_tls_and_an_anchor() {
    let error = refused(|raw| {
        raw.listeners[0].protocol = crate::Protocol::Mqtt;
        raw.listeners[0].acknowledge_plaintext = true;
    });
    assert!(matches!(error, ConfigError::CertificatesWithoutTls { .. }), "{error}");
    let error = refused(|raw| raw.tls.as_mut().unwrap().client_ca = None);
    assert!(matches!(error, ConfigError::NoClientCa { mode: "optional", .. }), "{error}");
    let error =
        refused(|raw| raw.listeners[0].client_certificates = Some(ClientCertificates::None));
    assert!(matches!(error, ConfigError::X509WithoutCertificates { .. }), "{error}");
}

#[test]
fn the_policy_of_a_listener_is_not_for_a_cluster() {
    let error = refused(|raw| raw.listeners[0].policy = Some(Default::default()));
    let is_told =
        matches!(error, ConfigError::Listener(crate::ListenerError::PolicyInCluster { .. }));
    assert!(is_told, "{error}");
}

#[test]
fn listeners_are_named_apart_and_bound_apart() {
    assert_eq!(refused(|raw| raw.listeners.clear()), ConfigError::NoListener);
    let error = refused(|raw| {
        let mut second = raw.listeners[0].clone();
        second.port = Some(8884);
        raw.listeners.push(second);
    });
    assert!(matches!(error, ConfigError::DuplicateListener { .. }), "{error}");
    let error = refused(|raw| raw.listeners[0].port = Some(8443));
    assert_eq!(
        error.to_string(),
        "admin.listen and listener \"tls\" both listen on [::]:8443: change the port of one"
    );
    let error = refused(|raw| {
        raw.listeners = (0..17)
            .map(|n| crate::RawListener {
                name: format!("l{n}"),
                port: Some(9000 + n),
                ..raw.listeners[0].clone()
            })
            .collect();
    });
    assert_eq!(error, ConfigError::TooManyListeners { count: 17, max: 16 });
    let error = refused(|raw| raw.listeners[0].authentication.clear());
    assert!(matches!(error, ConfigError::NoAuthentication { .. }), "{error}");
    let error = refused(|raw| raw.listeners[0].name = "Tls".into());
    assert!(matches!(error, ConfigError::Name { .. }), "{error}");
}

#[test]
fn a_listener_is_bound_to_one_place() {
    let unix = |raw: &mut crate::RawConfig| {
        raw.listeners[0].port = None;
        raw.listeners[0].unix_socket = Some("/run/dunlin.sock".into());
        raw.listeners[0].protocol = crate::Protocol::Mqtt;
        raw.listeners[0].authentication = vec![crate::Authentication::Password];
        raw.listeners[0].client_certificates = None;
    };
    let error = refused(|raw| raw.listeners[0].port = None);
    assert!(matches!(error, ConfigError::NoPort { .. }), "{error}");
    let error = refused(|raw| {
        unix(raw);
        raw.listeners[0].port = Some(1883);
    });
    assert!(matches!(error, ConfigError::PortAndUnixSocket { .. }), "{error}");
    let error = refused(|raw| {
        unix(raw);
        raw.listeners[0].proxy_protocol = true;
    });
    assert!(matches!(error, ConfigError::ProxyOnUnixSocket { .. }), "{error}");
    let error = refused(|raw| {
        unix(raw);
        raw.listeners[0].unix_socket = None;
        raw.listeners[0].port = Some(8080);
        raw.listeners[0].protocol = crate::Protocol::Ws;
    });
    assert!(error.to_string().contains("wss"), "{error}");
}

#[test]
fn response_information_is_the_beginning_of_a_topic() {
    let long = "x".repeat(1025);
    for text in ["", "answers/#", "a\0", &long] {
        let error = refused(|raw| raw.mqtt.response_information = Some(text.to_owned()));
        assert_eq!(error, ConfigError::ResponseInformation { value: text.to_owned() });
    }
}

#[test]
fn limits_fit_together() {
    let error = refused(|raw| raw.sessions.queued_bytes_max = 10);
    assert_eq!(error, ConfigError::QueueBelowPacket { queued: 10, packet: 1_048_576 });
    let error = refused(|raw| raw.sessions.queued_messages_max = 50);
    assert_eq!(error, ConfigError::QueueBelowInflight { inflight: 1_024, queued: 50 });
    let error = refused(|raw| raw.mqtt.output_bytes_max = 4096);
    assert_eq!(error, ConfigError::OutputBelowPacket { output: 4096, packet: 1_048_576 });
    let error = refused(|raw| raw.mqtt.packet_bytes_max = 3);
    assert!(matches!(error, ConfigError::Range { value: 3, min: 1024, .. }), "{error}");
    let error = refused(|raw| {
        raw.mqtt.packet_bytes_max = (7 << 20) + 1;
        raw.mqtt.output_bytes_max = 8 << 20;
    });
    assert!(matches!(error, ConfigError::PacketAboveFrame { max: 0x70_0000, .. }), "{error}");
    let error = refused(|raw| raw.listeners[0].limits.connections = 0);
    assert!(matches!(error, ConfigError::Range { .. }), "{error}");
}

#[test]
fn identity_values_are_checked() {
    let error = refused(|raw| raw.cluster.as_mut().unwrap().id = "a/b".into());
    assert!(matches!(error, ConfigError::ClusterId { .. }), "{error}");
    let error = refused(|raw| raw.cluster.as_mut().unwrap().name = String::new());
    assert!(matches!(error, ConfigError::Name { .. }), "{error}");
    let error = refused(|raw| raw.data_dir = "".into());
    assert!(matches!(error, ConfigError::Empty { .. }), "{error}");
    let error = refused(|raw| raw.tls.as_mut().unwrap().admin_ca = Some("".into()));
    assert!(matches!(error, ConfigError::Empty { .. }), "{error}");
}

pub(crate) const ALONE: &str = r#"
data_dir = "/var/lib/dunlin"

[policy]

[[listeners]]
name = "plain"
protocol = "mqtt"
acknowledge_plaintext = true
port = 1883
"#;

#[test]
fn without_cluster_peers_and_admin_a_broker_stands_alone_and_needs_a_policy() {
    let config = Config::parse(ALONE).unwrap();
    assert_eq!((config.cluster, config.tls), (None, None));
    assert!(!config.listeners[0].anonymous, "nobody comes in unasked");
    assert!(Config::parse(MINIMAL).unwrap().listeners[0].anonymous);
    let error = Config::parse(&ALONE.replace("[policy]", "")).unwrap_err();
    assert!(error.to_string().contains("[policy] is missing"), "{error}");
    assert_eq!(refused(|raw| raw.policy = Some(Default::default())), ConfigError::PolicyInCluster);
}

#[test]
fn half_a_cluster_is_refused_by_what_is_missing() {
    let half = |given, missing| ConfigError::HalfACluster { given, missing };
    assert_eq!(refused(|raw| raw.peers = None), half("cluster", "peers"));
    assert_eq!(refused(|raw| raw.cluster = None), half("peers", "cluster"));
    let error = refused(|raw| (raw.cluster, raw.peers, raw.admin) = (None, None, None));
    assert_eq!(error, half("tls.peer_certificate", "cluster"));
    let error = refused(|raw| raw.tls = None);
    assert!(matches!(error, ConfigError::NoClientCa { .. }), "{error}");
}

#[test]
fn a_name_is_believed_only_where_a_broker_stands_alone() {
    let error = refused(|raw| raw.listeners[0].authentication.push(Authentication::Believed));
    assert!(matches!(error, ConfigError::UnprovenInCluster { way: "believed", .. }), "{error}");
    let text = ALONE.replace("port = 1883", "port = 1883\nauthentication = [\"believed\"]");
    assert!(Config::parse(&text).unwrap().listeners[0].allows(Authentication::Believed));
}

#[test]
fn limits_are_written_where_they_say_something_and_have_ranges() {
    let mut raw = RawConfig::parse(MINIMAL).unwrap();
    assert!(!raw.render().contains("[limits]"), "an older broker does not know it");
    raw.limits.connections_per_address_max = 5;
    raw.limits.memory_bytes_max = 1 << 30;
    raw.mqtt.topic_levels_max = 9;
    raw.sessions.subscriptions_max = 7;
    raw.retained.expiry_max_seconds = 60;
    raw.listeners[0].limits.bytes_per_second = 1000;
    assert_eq!(RawConfig::parse(&raw.render()).unwrap(), raw);
    let config = Config::try_from(raw).unwrap();
    assert_eq!(config.limits.connections_per_address_max, 5);
    assert_eq!(config.mqtt.topic_levels_max, 9);
    assert_eq!(config.retained.expiry_max, Some(std::time::Duration::from_secs(60)));
    let limits = config.listeners[0].limits;
    assert_eq!((limits.bytes_per_second, limits.publishes_per_second), (Some(1000), None));

    let errors = [
        refused(|raw| raw.limits.memory_bytes_max = 1 << 20),
        refused(|raw| raw.mqtt.topic_levels_max = 0),
        refused(|raw| raw.mqtt.topic_levels_max = 129),
        refused(|raw| raw.sessions.subscriptions_max = 0),
    ];
    for error in errors {
        assert!(matches!(error, ConfigError::Range { .. }), "{error}");
    }
}

#[test]
fn sys_topics_are_told_every_ten_seconds_unless_another_interval_or_none_is_asked_for() {
    let interval = |text: &str| Config::parse(text).map(|config| config.sys_interval);
    let seconds = |seconds| Ok(Some(std::time::Duration::from_secs(seconds)));
    assert_eq!(interval(MINIMAL), seconds(10));
    assert_eq!(interval(&format!("{MINIMAL}\n[sys]\ninterval_seconds = 60\n")), seconds(60));
    assert_eq!(interval(&format!("{MINIMAL}\n[sys]\ninterval_seconds = 0\n")), Ok(None));
    let text = format!("{MINIMAL}\n[sys]\ninterval = 60\n");
    assert!(Config::parse(&text).unwrap_err().to_string().contains("interval_seconds"));
}

#[test]
fn who_is_sent_elsewhere_must_be_told_where() {
    let with = |reference: Option<&str>, refuse_connects| {
        refused(|raw| {
            raw.redirect =
                RawRedirect { server_reference: reference.map(str::to_owned), refuse_connects };
        })
    };
    assert_eq!(with(None, true), FeatureError::NoServerReference.into());
    for value in ["", "a\nb"] {
        let value = value.to_owned();
        assert_eq!(with(Some(&value), false), FeatureError::ServerReference { value }.into());
    }
    let text = format!("{MINIMAL}\n[redirect]\nserver_reference = \"b.example:8883\"\n");
    let redirect = Config::parse(&text).unwrap().redirect.unwrap();
    assert_eq!((&*redirect.server_reference, redirect.refuse_connects), ("b.example:8883", false));
}

#[test]
fn what_may_be_sent_may_be_delayed_unless_nothing_is() {
    let with = |messages_max, bytes_max, seconds_max| {
        refused(|raw| raw.delayed = RawDelayed { messages_max, bytes_max, seconds_max })
    };
    let (bytes, packet) = (1_048_575, 1_048_576);
    assert_eq!(with(1, bytes, 1), FeatureError::DelayedBelowPacket { bytes, packet }.into());
    assert!(with(1, 1 << 30, 0).to_string().contains("delayed.seconds_max"));
    let text = format!("{MINIMAL}\n[delayed]\nmessages_max = 0\nbytes_max = 0\n");
    assert_eq!(Config::parse(&text).unwrap().delayed, None);
    assert_eq!(Config::parse(MINIMAL).unwrap().delayed.unwrap().messages_max, 10_000);
}

fn rewritten(source: &str, destination: &str) -> Result<(), ConfigError> {
    let mut raw = RawConfig::parse(MINIMAL).unwrap();
    raw.rewrites = vec![RawRewrite {
        action: RewriteAction::All,
        source: source.to_owned(),
        destination: destination.to_owned(),
    }];
    Config::try_from(raw).map(drop)
}

#[test]
fn a_rewrite_leads_from_a_filter_to_a_topic_made_of_what_it_matches() {
    for (source, destination) in
        [("a/+/#", "b/$2/$1"), ("a", "b/$x"), ("+", "$1"), ("$old/#", "$new/$1"), ("/a", "/b")]
    {
        assert_eq!(rewritten(source, destination), Ok(()), "{source} -> {destination}");
    }
    for source in ["", "a/b+", "a/#/b", "$share/g/a", "a\0"] {
        let value = source.to_owned();
        let expected = FeatureError::RewriteSource { index: 0, value };
        assert_eq!(rewritten(source, "b"), Err(expected.into()), "{source}");
    }
    for destination in ["", "b/$2", "b/+", "b/#", "$share/g/b", "b\n"] {
        let value = destination.to_owned();
        let expected = FeatureError::RewriteDestination { index: 0, value, wildcards: 1 };
        assert_eq!(rewritten("a/+", destination), Err(expected.into()), "{destination}");
    }
    let text = format!("{MINIMAL}\n[[rewrites]]\nsource = \"a\"\ndestination = \"b\"\n");
    assert_eq!(Config::parse(&text).unwrap().rewrites[0].action, RewriteAction::All);
    let error = refused(|raw| {
        raw.rewrites = vec![RawConfig::parse(&text).unwrap().rewrites[0].clone(); 101]
    });
    assert_eq!(error, FeatureError::TooMany { what: "rewrites", count: 101, max: 100 }.into());
}

#[test]
fn subscriptions_of_every_client_are_such_as_a_client_could_make() {
    let with = |line: &str| {
        let text = format!("{MINIMAL}\n[[auto_subscriptions]]\n{line}\n");
        Config::parse(&text).map(|config| config.auto_subscriptions)
    };
    let made = with("filter = \"to/%c/#\"").unwrap();
    assert_eq!((made[0].qos, made[0].send_retained, made[0].no_local), (0, true, false));
    assert!(with("filter = \"$share/g/to/#\"\nqos = 2").is_ok());
    for (line, expected) in [
        ("filter = \"to/%c#\"", "auto_subscriptions[0].filter is \"to/%c#\""),
        ("filter = \"$share/g\"", "auto_subscriptions[0].filter"),
        ("filter = \"\"", "auto_subscriptions[0].filter"),
        ("filter = \"a\"\nqos = 3", "auto_subscriptions[0].qos is 3"),
        ("filter = \"$share/g/a\"\nno_local = true", "remove no_local"),
    ] {
        let error = with(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
