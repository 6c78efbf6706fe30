//! Every directive of Mosquitto 2.0 and 2.1, sorted by name. Pure data.

use super::Scope::{Bridge, Global, Listener, Plugin, Security};
use super::Shape::{Any, Bool, Integer, Repeated, Text, Word};
use super::{Directive, Fate, Scope, Shape};

const INT: i64 = i32::MAX as i64;
const U16: i64 = u16::MAX as i64;

const fn applied(name: &'static str, shape: Shape, scope: Scope) -> Directive {
    Directive { name, shape, scope, fate: Fate::Applied }
}

const fn harmless(name: &'static str, shape: Shape, scope: Scope) -> Directive {
    Directive { name, shape, scope, fate: Fate::Harmless }
}

const fn warned(
    name: &'static str,
    shape: Shape,
    scope: Scope,
    unless: &'static str,
    why: &'static str,
) -> Directive {
    let fate = if unless.is_empty() { Fate::Warned(why) } else { Fate::WarnedUnless(unless, why) };
    Directive { name, shape, scope, fate }
}

const fn refused(
    name: &'static str,
    shape: Shape,
    scope: Scope,
    unless: &'static str,
    why: &'static str,
) -> Directive {
    let fate =
        if unless.is_empty() { Fate::Refused(why) } else { Fate::RefusedUnless(unless, why) };
    Directive { name, shape, scope, fate }
}

/// A bridge is kept as it is written; that it does nothing yet is told once, at `connection`.
const fn bridge(name: &'static str, shape: Shape) -> Directive {
    applied(name, shape, Bridge)
}

const PSK: &str = "there is no TLS with pre-shared keys here: give the listener `certfile` and `keyfile`, and its \
                   clients passwords (`password_file`) or certificates (`require_certificate true`)";
const ENGINE: &str = "keys in an engine are not supported; give the key in a PEM file";
const PROXY: &str = "a proxy's word about TLS is not taken; terminate TLS here";

/// Sorted by name.
#[rustfmt::skip]
pub const DIRECTIVES: &[Directive] = &[
    applied("accept_protocol_versions", Text, Listener),
    applied("acl_file", Text, Security),
    bridge("address", Text),
    bridge("addresses", Text),
    applied("allow_anonymous", Bool, Security),
    harmless("allow_duplicate_messages", Bool, Global),
    applied("allow_zero_length_clientid", Bool, Security),
    applied("auth_plugin", Text, Plugin),
    harmless("auth_plugin_deny_special_chars", Bool, Plugin),
    applied("auto_id_prefix", Text, Security),
    harmless("autosave_interval", Integer(-INT, INT), Global),
    harmless("autosave_on_changes", Bool, Global),
    applied("bind_address", Text, Listener),
    refused("bind_interface", Text, Listener, "", "give the interface's address after the port of `listener`"),
    bridge("bridge_alpn", Text),
    bridge("bridge_attempt_unsubscribe", Bool),
    bridge("bridge_bind_address", Text),
    bridge("bridge_cafile", Text),
    bridge("bridge_capath", Text),
    bridge("bridge_certfile", Text),
    bridge("bridge_ciphers", Text),
    bridge("bridge_ciphers_tls1.3", Text),
    bridge("bridge_identity", Text),
    bridge("bridge_insecure", Bool),
    bridge("bridge_keyfile", Text),
    bridge("bridge_max_packet_size", Integer(-INT, INT)),
    bridge("bridge_max_topic_alias", Integer(0, U16)),
    bridge("bridge_outgoing_retain", Bool),
    bridge("bridge_protocol_version", Word(&["mqttv31", "mqttv311", "mqttv50"])),
    bridge("bridge_psk", Text),
    bridge("bridge_receive_maximum", Integer(1, U16)),
    bridge("bridge_reload_type", Word(&["immediate", "lazy"])),
    bridge("bridge_require_ocsp", Bool),
    bridge("bridge_session_expiry_interval", Integer(0, INT)),
    bridge("bridge_tcp_keepalive", Text),
    bridge("bridge_tcp_user_timeout", Integer(0, INT)),
    bridge("bridge_tls_use_os_certs", Bool),
    bridge("bridge_tls_version", Text),
    applied("cafile", Text, Listener),
    refused("capath", Text, Listener, "", "put the certificates of the folder in one file and name it with `cafile`"),
    applied("certfile", Text, Listener),
    warned("check_retain_source", Bool, Global, "false", "a retained message stays when its publisher loses the right to publish it: take it away by an empty one"),
    warned("ciphers", Text, Listener, "", "the cipher suites are those that rustls holds safe"),
    warned("ciphers_tls1.3", Text, Listener, "", "the cipher suites are those that rustls holds safe"),
    bridge("cleansession", Bool),
    bridge("clientid", Text),
    refused("clientid_prefixes", Text, Global, "", "allow client identifiers by user instead, with `pattern` lines that hold %c"),
    warned("connection", Text, Bridge, "", "bridges are not supported yet: this one is read and not started"),
    harmless("connection_messages", Bool, Global),
    applied("crlfile", Text, Listener),
    harmless("dhparamfile", Any, Listener),
    warned("disable_client_cert_date_checks", Bool, Listener, "false", "the dates of client certificates are checked, always"),
    warned("enable_control_api", Bool, Global, "false", "there are no $CONTROL topics yet"),
    applied("enable_proxy_protocol", Integer(1, 2), Listener),
    applied("global_max_clients", Integer(-INT, INT), Global),
    applied("global_max_connections", Integer(-INT, INT), Global),
    applied("global_plugin", Text, Plugin),
    warned("http_dir", Text, Listener, "", "no files are served over HTTP"),
    bridge("idle_timeout", Integer(-INT, INT)),
    applied("include_dir", Text, Global),
    bridge("keepalive_interval", Integer(-INT, U16)),
    applied("keyfile", Text, Listener),
    applied("listener", Text, Listener),
    applied("listener_allow_anonymous", Bool, Listener),
    applied("listener_auto_id_prefix", Text, Listener),
    bridge("local_cleansession", Bool),
    bridge("local_clientid", Text),
    bridge("local_password", Text),
    bridge("local_username", Text),
    applied("log_dest", Repeated, Global),
    harmless("log_facility", Integer(0, 7), Global),
    harmless("log_timestamp", Bool, Global),
    harmless("log_timestamp_format", Text, Global),
    applied("log_type", Repeated, Global),
    applied("max_connections", Integer(-INT, INT), Listener),
    warned("max_inflight_bytes", Integer(-INT, INT), Global, "0", "messages on their way to a client are limited by number, with `max_inflight_messages`"),
    applied("max_inflight_messages", Integer(-INT, U16), Global),
    applied("max_keepalive", Integer(0, U16), Global),
    applied("max_packet_size", Integer(20, INT), Global),
    applied("max_qos", Integer(0, 2), Listener),
    applied("max_queued_bytes", Integer(-INT, INT), Global),
    applied("max_queued_messages", Integer(-INT, INT), Global),
    applied("max_topic_alias", Integer(0, U16), Listener),
    applied("max_topic_alias_broker", Integer(0, U16), Listener),
    applied("maximum_qos", Integer(0, 2), Listener),
    applied("memory_limit", Integer(0, i64::MAX), Global),
    applied("message_size_limit", Integer(0, 268_435_455), Global),
    applied("mount_point", Text, Listener),
    bridge("notification_topic", Text),
    bridge("notifications", Bool),
    bridge("notifications_local_only", Bool),
    harmless("packet_buffer_size", Integer(0, U16), Global),
    bridge("password", Text),
    applied("password_file", Text, Security),
    applied("per_listener_settings", Bool, Global),
    applied("persistence", Bool, Global),
    harmless("persistence_file", Text, Global),
    applied("persistence_location", Text, Global),
    applied("persistent_client_expiration", Text, Global),
    applied("pid_file", Text, Global),
    applied("plugin", Text, Plugin),
    applied("plugin_load", Text, Plugin),
    applied("plugin_opt_*", Text, Plugin),
    applied("plugin_use", Text, Plugin),
    applied("port", Integer(1, U16), Listener),
    applied("protocol", Word(&["http_api", "mqtt", "websockets"]), Listener),
    refused("proxy_protocol_v2_require_tls", Bool, Listener, "false", PROXY),
    refused("psk_file", Text, Security, "", PSK),
    refused("psk_hint", Text, Listener, "", PSK),
    warned("queue_qos0_messages", Bool, Global, "false", "messages of QoS 0 do not wait for clients that are away: publish with QoS 1 what must"),
    bridge("remote_clientid", Text),
    bridge("remote_password", Text),
    bridge("remote_username", Text),
    applied("require_certificate", Bool, Listener),
    bridge("restart_timeout", Text),
    applied("retain_available", Bool, Global),
    harmless("retain_expiry_interval", Integer(1, INT), Global),
    applied("retained_persistence", Bool, Global),
    harmless("retry_interval", Any, Global),
    bridge("round_robin", Bool),
    harmless("set_tcp_nodelay", Bool, Global),
    applied("socket_domain", Word(&["ipv4", "ipv6"]), Listener),
    bridge("start_type", Word(&["automatic", "lazy", "once"])),
    harmless("store_clean_interval", Any, Global),
    applied("sys_interval", Integer(0, U16), Global),
    bridge("threshold", Integer(-INT, INT)),
    refused("tls_engine", Text, Listener, "", ENGINE),
    refused("tls_engine_kpass_sha1", Text, Listener, "", ENGINE),
    refused("tls_keyform", Word(&["engine", "pem"]), Listener, "pem", ENGINE),
    applied("tls_version", Word(&["tlsv1.1", "tlsv1.2", "tlsv1.3"]), Listener),
    bridge("topic", Repeated),
    bridge("try_private", Bool),
    warned("upgrade_outgoing_qos", Bool, Global, "false", "messages are sent with the lower QoS of publication and subscription, as MQTT has it"),
    applied("use_identity_as_username", Bool, Listener),
    applied("use_subject_as_username", Bool, Listener),
    refused("use_username_as_clientid", Bool, Listener, "false", "user name and client identifier are two things here; use %u in ACL patterns"),
    applied("user", Text, Global),
    bridge("username", Text),
    harmless("websockets_headers_size", Integer(0, U16), Global),
    harmless("websockets_log_level", Integer(-INT, INT), Global),
    applied("websockets_origin", Repeated, Listener),
];
