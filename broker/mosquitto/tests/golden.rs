//! Whole configurations: what becomes of them, and what is said of bad ones.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use broker_config::{Config, RawConfig};
use broker_mosquitto::{Options, Source, translate};

struct Folder(PathBuf);

impl Source for Folder {
    fn read(&mut self, path: &str) -> Result<String, String> {
        std::fs::read_to_string(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let entries = std::fs::read_dir(self.0.join(folder)).map_err(|error| error.to_string())?;
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        Ok(entries.map(|entry| name(entry).to_string_lossy().into_owned()).collect())
    }

    fn resolve(&mut self, host: &str) -> Result<IpAddr, String> {
        match host {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            _ => Err("no such host".to_owned()),
        }
    }
}

fn shown(name: &str, options: Options<'_>) -> String {
    let mut folder = Folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conf"));
    let translation = translate(Some(name), &mut folder, options).unwrap();
    let text = translation.config.render();
    assert_eq!(RawConfig::parse(&text).unwrap(), translation.config);
    Config::parse(&text).unwrap();
    let mut out = String::new();
    for warning in translation.warnings {
        writeln!(out, "# {warning}").unwrap();
    }
    out + &text
}

macro_rules! golden {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(shown(concat!(stringify!($name), ".conf"), options()));
        }
    )*};
}

golden!(
    debian,
    home_assistant,
    per_listener,
    bridge,
    dynamic_security,
    empty,
    listener_options,
    mixed_acl,
    transports
);

fn options() -> Options<'static> {
    let transient_dir = Path::new("/tmp/transient");
    Options { port: None, verbose: false, is_root: false, transient_dir }
}

#[test]
fn the_port_of_the_command_line_is_for_a_configuration_without_listeners() {
    let with = Options { port: Some(1999), verbose: true, ..options() };
    let text = shown("empty.conf", with);
    assert!(text.contains("port = 1999") && text.contains("level = \"debug\""), "{text}");
    let text = shown("bridge.conf", with);
    assert!(!text.contains("port = 1999") && text.contains("# -p 1999 is ignored"), "{text}");
}

/// One text, as the only file.
struct One<'a>(&'a str);

impl Source for One<'_> {
    fn read(&mut self, _: &str) -> Result<String, String> {
        Ok(self.0.to_owned())
    }

    fn list(&mut self, _: &str) -> Result<Vec<String>, String> {
        Err("No such file or directory".to_owned())
    }

    fn resolve(&mut self, _: &str) -> Result<IpAddr, String> {
        Err("no such host".to_owned())
    }
}

/// A configuration, and what is said of it; `{}` stands for the refusal.
const REFUSED: &[(&str, &str)] = &[
    ("certfile c", "m:1: TLS{}it needs both certfile and keyfile: give the other too"),
    ("cafile c", "m:1: cafile{}it needs certfile and keyfile for this listener"),
    (
        "require_certificate true",
        "m:1: require_certificate{}it needs certfile, keyfile and cafile for this listener",
    ),
    (
        "use_identity_as_username true",
        "m:1: use_identity_as_username{}it needs require_certificate true",
    ),
    (
        "certfile c\nkeyfile k\ntls_version tlsv1.3",
        "m:3: tls_version{}TLS 1.2 and 1.3 are served, always: write tlsv1.2",
    ),
    ("listener 0", "m:1: listener \"0\": a port other than 0 is expected"),
    (
        "listener 9001\nprotocol http_api",
        "m:2: protocol{}there is no HTTP API of this kind; remove the listener",
    ),
    (
        "listener 1\nprotocol websockets\nwebsockets_origin app.example.org",
        "m:3: websockets_origin{}it is no origin as browsers name one, such as https://app.example.org",
    ),
    (
        "listener 1\nplugin /lib/go-auth.so",
        "m:2: plugin{}\"/lib/go-auth.so\" is none of the plugins that are known here: mosquitto_dynamic_security, mosquitto_password_file, mosquitto_acl_file",
    ),
    (
        "password_file p\nplugin mosquitto_dynamic_security.so\nplugin_opt_config_file d",
        "m:3: plugin_opt_config_file{}dynamic security and password or ACL files exclude each other here: keep one of the two",
    ),
    ("crlfile c", "m:1: crlfile{}it needs certfile and keyfile for this listener"),
    (
        "mount_point a/#",
        "m:1: mount_point \"a/#\": the beginning of a topic, without $ in front and without wildcards, is expected",
    ),
    (
        "listener 1\naccept_protocol_versions 4,6",
        "m:2: accept_protocol_versions \"4,6\": a list of 3, 4 and 5, as in 4,5, is expected",
    ),
    ("listener 1 nowhere", "m:1: nowhere: no such host"),
    (
        "log_type foo",
        "m:1: log_type \"foo\": one of debug, error, warning, notice, information, none and all is expected",
    ),
    (
        "log_dest nowhere",
        "m:1: log_dest \"nowhere\": one of stderr, stdout, syslog, topic, file and none is expected",
    ),
    (
        "persistent_client_expiration 5",
        "m:1: persistent_client_expiration \"5\": a number with h, d, w, m or y after it, as in 14d, is expected",
    ),
    (
        "persistent_client_expiration 0d",
        "m:1: persistent_client_expiration \"0d\": a number with h, d, w, m or y after it, as in 14d, is expected",
    ),
    (
        "listener 1\nlistener 1",
        "m: listener \"port-1\" and listener \"port-1-2\" both listen on [::]:1: change the port of one",
    ),
    ("include_dir gone", "m:1: gone: No such file or directory"),
    (
        "psk_hint c\nlisener 1",
        "m:1: psk_hint{}there is no TLS with pre-shared keys here: give the listener `certfile` and `keyfile`, and its clients passwords (`password_file`) or certificates (`require_certificate true`)\nm:2: unknown directive \"lisener\"; did you mean \"listener\"?",
    ),
];

#[test]
fn what_can_not_be_honoured_is_refused_with_what_to_do() {
    let refused = " can't be honoured, and the broker does not start without it: ";
    for (text, expected) in REFUSED {
        let faults = translate(Some("m"), &mut One(text), options()).unwrap_err().to_string();
        assert_eq!(faults, expected.replace("{}", refused), "{text}");
    }
}

#[test]
fn who_may_come_in_follows_from_files_and_anonymity_as_in_mosquitto() {
    use broker_config::Authentication::{Believed, Password};
    for (text, authentication, anonymous) in [
        ("", Believed, true),
        ("listener 1", Password, false),
        ("listener 1\nallow_anonymous true", Believed, true),
        ("listener 1\npassword_file p", Password, false),
        ("listener 1\npassword_file p\nallow_anonymous true", Password, true),
        ("password_file p", Password, true),
        ("password_file p\nallow_anonymous false", Password, false),
    ] {
        let raw = translate(Some("m"), &mut One(text), options()).unwrap().config;
        let listener = &raw.listeners[0];
        assert_eq!(listener.authentication, [authentication], "{text}");
        assert_eq!(listener.anonymous, Some(anonymous), "{text}");
    }
}

#[test]
fn listeners_have_files_in_common_only_where_all_say_the_same() {
    let of = |text: &str| translate(Some("m"), &mut One(text), options()).unwrap().config;
    let tls = |name: &str| format!("certfile {name}.crt\nkeyfile {name}.key\n");
    let asking = "cafile ca\nrequire_certificate true\n";
    let (a, b) = (tls("a"), tls("b"));
    let same = of(&format!("listener 1\n{a}listener 2\n{a}{asking}crlfile crl\nlistener 3\n"));
    assert!(same.listeners.iter().all(|listener| listener.tls.is_none()));
    let files = same.tls.unwrap();
    assert_eq!(files.client_ca.unwrap().to_str(), Some("ca"));
    assert_eq!(files.client_crl.unwrap().to_str(), Some("crl"));
    let own = of(&format!("listener 1\n{a}listener 2\n{b}{asking}"));
    assert_eq!(own.tls, None);
    assert_eq!(own.listeners[0].tls.as_ref().unwrap().client_ca, None);
    assert_eq!(own.listeners[1].tls.as_ref().unwrap().server_key.to_str(), Some("b.key"));
    let trusted = of(&format!(
        "listener 1\n{a}{asking}listener 2\n{a}cafile other\nrequire_certificate true\n"
    ));
    assert_eq!(trusted.tls, None);
}

#[test]
fn listeners_have_a_policy_in_common_only_where_all_say_the_same() {
    let of = |text: &str| translate(Some("m"), &mut One(text), options()).unwrap().config;
    let all = of("password_file p\nacl_file a\nlistener 1\nlistener 2");
    assert_eq!(all.policy.unwrap().password_file.unwrap().to_str(), Some("p"));
    assert!(all.listeners.iter().all(|listener| listener.policy.is_none()));
    let own = of("per_listener_settings true\nlistener 1\npassword_file a\nacl_file c\n\
                  listener 2\npassword_file b\nlistener 3\nallow_anonymous true");
    assert_eq!(own.policy, None);
    let files: Vec<_> = own.listeners.iter().map(|l| l.policy.as_ref().unwrap()).collect();
    let name = |file: &Option<PathBuf>| file.as_ref().map(|path| path.display().to_string());
    assert_eq!(name(&files[0].password_file).as_deref(), Some("a"));
    assert_eq!(name(&files[0].acl_file).as_deref(), Some("c"));
    assert_eq!(name(&files[1].password_file).as_deref(), Some("b"));
    assert_eq!((name(&files[1].acl_file), name(&files[2].password_file)), (None, None));
    assert_eq!(own.listeners[2].authentication, [broker_config::Authentication::Believed]);
    let same =
        of("per_listener_settings true\nlistener 1\npassword_file a\nlistener 2\npassword_file a");
    assert!(same.policy.is_some());
}

#[test]
fn a_broker_that_root_starts_does_not_stay_root_unless_it_is_told_to() {
    let with =
        |text, is_root| translate(Some("m"), &mut One(text), Options { is_root, ..options() });
    let error = with("user mosquitto", true).unwrap_err().to_string();
    assert!(
        error.contains("m:1: user can't be honoured") && error.contains("user root"),
        "{error}"
    );
    assert_eq!(with("user root", true).unwrap().warnings, []);
    assert!(with("", true).unwrap().warnings[0].message.contains("stays root"));
    let warnings = with("user mosquitto", false).unwrap().warnings;
    assert!(warnings[0].message.contains("stays the user that starts it"), "{warnings:?}");
}

#[test]
fn limits_of_the_whole_broker_are_those_of_the_process() {
    let of = |text: &str| translate(Some("m"), &mut One(text), options()).unwrap();
    let limits = of("").config.limits;
    assert_eq!((limits.connections_max, limits.memory_bytes_max), (0, 0));
    let unlimited = of("global_max_connections -1\nmemory_limit 0");
    assert_eq!(unlimited.config.limits, limits);
    assert_eq!(unlimited.warnings, []);
    let set = of("global_max_connections 7\nmax_connections 5\nmemory_limit 100000000");
    let limits = set.config.limits;
    assert_eq!((limits.connections_max, limits.memory_bytes_max), (7, 100_000_000));
    assert_eq!(set.config.listeners[0].limits.connections, 5);
    assert!(set.warnings[0].message.contains("publishers wait"), "{:?}", set.warnings);
    let clients = of("global_max_connections 7\nglobal_max_clients 4").config;
    assert_eq!((clients.limits.connections_max, clients.sessions.durable_max), (4, 4));
    assert_eq!(of("").config.sessions.subscriptions_max, 10_000_000);
    let small = of("memory_limit 1000");
    assert_eq!(small.config.limits.memory_bytes_max, 64 << 20);
    assert!(small.warnings[0].message.contains("64 MiB is the least"), "{:?}", small.warnings);
}
