use super::*;
use crate::conf_test::Files;
use crate::model::Built;

fn build(text: &str) -> Built {
    let (lines, _) = conf::read("m.conf", &mut Files::of([("m.conf", text)]));
    MosquittoConfig::build(&lines)
}

fn config(text: &str) -> MosquittoConfig {
    let built = build(text);
    assert_eq!(built.faults, Faults::default(), "{}", built.faults);
    built.config
}

#[test]
fn directives_are_sorted_and_named_once() {
    for pair in DIRECTIVES.windows(2) {
        assert!(pair[0].name < pair[1].name, "{} {}", pair[0].name, pair[1].name);
    }
    assert_eq!(find("plugin_opt_config_file").unwrap().name, "plugin_opt_*");
    assert_eq!(find("plugin_opt_"), None);
}

#[test]
fn without_a_listener_only_this_machine_connects_and_needs_no_name() {
    let local = config("persistence false\nmax_connections 5\n");
    assert!(local.is_local && local.security(0).anonymous);
    assert_eq!(
        (local.listeners[0].port, local.listeners[0].host.as_deref()),
        (1883, Some("127.0.0.1"))
    );
    assert_eq!(local.listeners[0].settings.integer("max_connections"), Some(5));
    assert!(!config("allow_anonymous false\n").security(0).anonymous);
    for text in ["listener 1884\n", "port 1884\n", "bind_address 127.0.0.1\n"] {
        let open = config(text);
        assert!(!open.is_local && !open.security(0).anonymous, "{text}");
        assert_eq!(open.listeners.len(), 1, "{text}");
    }
}

#[test]
fn what_stands_before_a_listener_makes_the_default_one() {
    let both = config("max_connections 5\nlistener 1884\nmax_connections 6\n");
    let ports: Vec<_> = both.listeners.iter().map(|listener| listener.port).collect();
    assert_eq!(ports, [1883, 1884]);
    assert_eq!(both.listeners[1].settings.integer("max_connections"), Some(6));
    assert_eq!(config("persistence true\nlistener 1884\n").listeners.len(), 1);
}

#[test]
fn security_is_of_the_whole_broker_unless_it_is_kept_apart_by_listener() {
    let text = "listener 1\nallow_anonymous true\nlistener 2\npassword_file p\n";
    let one = config(text);
    for listener in 0..2 {
        let security = one.security(listener);
        assert!(security.anonymous);
        assert_eq!(security.password_file.unwrap().text, "p");
    }
    let apart = config(&format!("per_listener_settings true\n{text}"));
    assert!(apart.security(0).anonymous && apart.security(0).password_file.is_none());
    assert!(!apart.security(1).anonymous && apart.security(1).password_file.is_some());
    let said = config("listener 1\nlistener_allow_anonymous true\nlistener 2\n");
    assert!(said.security(0).anonymous && !said.security(1).anonymous);
}

#[test]
fn plugins_are_known_by_their_files_and_used_where_they_are_loaded() {
    let text = "per_listener_settings true\nlistener 1\n\
                plugin /usr/lib/mosquitto_dynamic_security.so\nplugin_opt_config_file d.json\n\
                listener 2\nplugin_load p /lib/mosquitto_password_file.so.1\n\
                plugin_opt_password_file p\nplugin_use p\n";
    let config = config(text);
    assert_eq!(config.security(0).dynamic_security.unwrap().text, "d.json");
    assert_eq!(config.security(0).password_file, None);
    assert_eq!(config.security(1).password_file.unwrap().text, "p");
    assert_eq!(config.security(1).dynamic_security, None);
}

#[test]
fn bridges_are_kept_with_what_is_said_of_them_and_told_of_once() {
    let built = build("connection up\naddress example.com:8883\ntopic a/# out 1\ntopic b in\n");
    assert_eq!(built.faults.to_string(), "");
    let bridge = &built.config.bridges[0];
    assert_eq!((bridge.name.as_str(), bridge.settings.all("topic").len()), ("up", 2));
    let warnings: Vec<_> = built.warnings.iter().map(ToString::to_string).collect();
    let expected = "m.conf:1: connection up: bridges are not supported yet: this one is read and \
                    not started";
    assert_eq!(warnings, [expected]);
}

#[test]
fn every_fault_is_told_with_its_line_and_what_to_write() {
    for (text, expected) in [
        (
            "persistance true",
            "m.conf:1: unknown directive \"persistance\"; did you mean \"persistence\"?",
        ),
        (
            "\nzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz 1",
            "m.conf:2: unknown directive \"zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\"; Mosquitto has none of this name: remove the line",
        ),
        (
            "listener\t1883",
            "m.conf:1: unknown directive \"listener\\t1883\"; put a space, not a tab, between a directive and its value",
        ),
        (
            "LISTENER 1883",
            "m.conf:1: unknown directive \"LISTENER\"; Mosquitto has none of this name: remove the line",
        ),
        ("listener", "m.conf:1: listener has no value; write one after it"),
        (
            "listener abc",
            "m.conf:1: listener \"abc\": a port, and after it an address if only that one is to be bound, is expected",
        ),
        (
            "listener 99999",
            "m.conf:1: listener \"99999\": a port, and after it an address if only that one is to be bound, is expected",
        ),
        ("listener 0", "m.conf:1: listener \"0\": a port other than 0 is expected"),
        ("allow_anonymous maybe", "m.conf:1: allow_anonymous \"maybe\": true or false is expected"),
        ("persistence yes", "m.conf:1: persistence \"yes\": true or false is expected"),
        (
            "max_packet_size 3",
            "m.conf:1: max_packet_size \"3\": a number from 20 to 2147483647 is expected",
        ),
        (
            "max_queued_messages x",
            "m.conf:1: max_queued_messages \"x\": a whole number is expected",
        ),
        (
            "max_keepalive 70000",
            "m.conf:1: max_keepalive \"70000\": a number from 0 to 65535 is expected",
        ),
        (
            "protocol foo",
            "m.conf:1: protocol \"foo\": one of http_api, mqtt and websockets is expected",
        ),
        (
            "acl_file a\nacl_file b",
            "m.conf:2: acl_file is given a second time, after m.conf:1; remove one of the lines",
        ),
        ("address 1.2.3.4", "m.conf:1: address belongs after a line \"connection\"; move it there"),
        ("plugin_opt_x y", "m.conf:1: plugin_opt_* belongs after a line \"plugin\"; move it there"),
        (
            "listener 1\ncapath a/",
            "m.conf:2: capath can't be honoured, and the broker does not start without it: put the certificates of the folder in one file and name it with `cafile`",
        ),
    ] {
        assert_eq!(build(text).faults.to_string(), expected, "{text}");
    }
    let secret = build("connection c\nremote_password hunter\u{1}2\n").faults.to_string();
    assert!(secret.contains("m.conf:2: remote_password") && !secret.contains("hunter"), "{secret}");
    let two = build("nonsense 1\nallow_anonymous maybe\nlistener 1\n").faults;
    assert_eq!(two.0.len(), 2, "{two}");
}

#[test]
fn a_value_that_changes_nothing_is_neither_refused_nor_told_of() {
    let built = build("use_username_as_clientid false\ncheck_retain_source 0 # no\n");
    assert_eq!((built.faults.0.len(), built.warnings.len()), (0, 0));
    let built = build("check_retain_source true\n");
    assert_eq!(built.warnings.len(), 1);
}
