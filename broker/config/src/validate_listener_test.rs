//! What a listener has for itself.

use crate::{
    CertificateUsername, Config, ConfigError, ListenerError, ListenerMqtt, ParseError,
    ProtocolVersion, RawConfig,
};

const SECURE: &str = "[[listeners]]\nname = 'secure'\nport = 1\nauthentication = ['x509']\n";
const FILES: &str =
    "[listeners.tls]\nserver_certificate = 'c'\nserver_key = 'k'\nclient_ca = 'a'\n";
const PLAIN: &str =
    "[[listeners]]\nname = 'plain'\nport = 2\nprotocol = 'mqtt'\nacknowledge_plaintext = true\n";

fn parse(rest: &str) -> Result<Config, ParseError> {
    Config::parse(&format!("data_dir = '/d'\n{rest}"))
}

fn refused(rest: &str) -> ConfigError {
    match parse(rest) {
        Err(ParseError::Invalid(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn listener_error(rest: &str) -> ListenerError {
    match refused(rest) {
        ConfigError::Listener(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_listener_with_files_of_its_own_needs_no_others() {
    let config = parse(&format!("[policy]\n{SECURE}{FILES}client_crl = 'r'\n{PLAIN}")).unwrap();
    assert_eq!(config.tls, None);
    let own = config.listeners[0].tls.as_ref().unwrap();
    assert_eq!(own.server_certificate.to_str(), Some("c"));
    assert_eq!(own.client_crl.as_ref().unwrap().to_str(), Some("r"));
    let error = refused(&format!("[policy]\n{SECURE}"));
    assert!(matches!(error, ConfigError::NoClientCa { .. }), "{error}");
    let error = refused(&format!("[policy]\n{SECURE}{}", FILES.replace("client_ca = 'a'\n", "")));
    assert!(matches!(error, ConfigError::NoClientCa { .. }), "its own say nothing of clients");
    let error = refused(&format!("[policy]\n{SECURE}{}", FILES.replace("'c'", "''")));
    assert!(error.to_string().contains("listeners[secure].tls.server_certificate"), "{error}");
    let error = listener_error(&format!("[policy]\n{PLAIN}{FILES}"));
    assert!(matches!(error, ListenerError::FilesWithoutTls { .. }), "{error}");
    let error = listener_error(
        "[policy]\n[tls]\nserver_certificate = 'c'\nserver_key = 'k'\nclient_crl = 'r'\n[[listeners]]\nname = 'a'\nport = 1\n",
    );
    assert!(matches!(error, ListenerError::RevocationWithoutCa { .. }), "{error}");
}

#[test]
fn listeners_whose_policy_comes_from_the_same_files_share_a_realm() {
    let listener = |name: &str, port: u16, policy: &str| {
        format!(
            "[[listeners]]\nname = '{name}'\nport = {port}\nprotocol = 'mqtt'\n\
             acknowledge_plaintext = true\n{policy}"
        )
    };
    let with = |file: &str| format!("[listeners.policy]\npassword_file = '{file}'\n");
    let (a, b) = (listener("a", 1, &with("p")), listener("b", 2, &with("q")));
    let (c, d) = (listener("c", 3, &with("p")), listener("d", 4, ""));
    let config = parse(&format!("{a}{b}{c}")).unwrap();
    let realm = |n: usize| config.listeners[n].policy.as_ref().unwrap().realm.to_string();
    assert_eq!([realm(0), realm(1), realm(2)], ["a", "b", "a"]);
    assert_eq!(config.policy, Some(Default::default()), "nobody asks for the others");
    assert_eq!(refused(&format!("{a}{d}")), ConfigError::NoPolicy);
    let config = parse(&format!("[policy]\n{a}{d}")).unwrap();
    assert_eq!(config.listeners[1].policy, None);
    let both = listener("a", 1, "[listeners.policy]\ndocument = 'd'\nacl_file = 'a'\n");
    let error = refused(&both).to_string();
    assert!(error.contains("listeners[a].policy.document"), "{error}");
}

#[test]
fn what_is_rendered_of_a_listener_parses_to_the_same_value() {
    let text = format!(
        "data_dir = '/d'\npid_file = '/p'\n[policy]\n{SECURE}certificate_username = 'subject'\n{FILES}\
         [listeners.policy]\nacl_file = 'l'\n[listeners.mqtt]\nmount_point = 'm/'\nqos_max = 0\n\
         retain_available = false\nprotocol_versions = ['3.1', '5.0']\nassign_client_ids = false\n\
         assigned_client_id_prefix = 'p'\npayload_bytes_max = 9\ntopic_alias_maximum = 1\n{PLAIN}"
    );
    let raw = RawConfig::parse(&text).unwrap();
    assert_eq!(RawConfig::parse(&raw.render()).unwrap(), raw);
    let config = Config::try_from(raw).unwrap();
    let listener = &config.listeners[0];
    assert_eq!(listener.certificate_username, CertificateUsername::Subject);
    let versions = [ProtocolVersion::V31, ProtocolVersion::V5];
    assert_eq!(listener.mqtt.protocol_versions, versions);
    assert_eq!((listener.mqtt.qos_max, listener.mqtt.payload_bytes_max), (0, Some(9)));
    assert_eq!(config.listeners[1].mqtt, ListenerMqtt::default());
    let plain = RawConfig::parse(&format!("data_dir = '/d'\n[policy]\n{PLAIN}")).unwrap().render();
    assert!(!plain.contains("mqtt]\nqos") && !plain.contains("certificate_username"), "{plain}");
}

#[test]
fn what_can_not_be_meant_is_refused_with_what_to_write() {
    let mqtt = |line: &str| format!("[policy]\n{PLAIN}[listeners.mqtt]\n{line}\n");
    for mount in ["", "a/+/", "#", "$SYS/", "a\\u0000", &"a/".repeat(17), &"x".repeat(1025)] {
        let error = listener_error(&mqtt(&format!("mount_point = \"{mount}\"")));
        assert!(matches!(error, ListenerError::MountPoint { .. }), "{mount}: {error}");
    }
    let error = refused(&mqtt("qos_max = 3"));
    assert!(error.to_string().contains("listeners[plain].mqtt.qos_max is 3"), "{error}");
    let error = listener_error(&mqtt("protocol_versions = []"));
    assert!(matches!(error, ListenerError::NoVersion { .. }), "{error}");
    let error = listener_error(&mqtt(&format!("assigned_client_id_prefix = '{}'", "x".repeat(65))));
    assert!(matches!(error, ListenerError::IdPrefix { .. }), "{error}");
    let error = listener_error(&format!("[policy]\n{PLAIN}certificate_username = 'subject'\n"));
    assert!(matches!(error, ListenerError::SubjectWithoutX509 { .. }), "{error}");
}
