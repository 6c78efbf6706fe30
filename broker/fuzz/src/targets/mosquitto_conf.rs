//! mosquitto.conf and the files beside it: what is taken means something, what is refused is named
//! with its file and line. Lines `%%` part the input into the main file, an included one, a password
//! file and an ACL file.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use broker_config::{Config, RawConfig};
use broker_mosquitto::{
    Fault, Faults, Named, Options, PolicyTexts, Source, policy_records, translate,
};
use broker_policy::Policy;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "mosquitto_conf", check, seeds, words: WORDS, bytes_max: 4096 };

const MAIN: &str = "main.conf";
const INCLUDED: &str = "d/included.conf";
const PARTING: &str = "%%\n";

/// The examples of the reader's own tests.
const EXAMPLES: &[&str] = &[
    include_str!("../../../mosquitto/tests/conf/bridge.conf"),
    include_str!("../../../mosquitto/tests/conf/debian.conf"),
    include_str!("../../../mosquitto/tests/conf/dynamic_security.conf"),
    include_str!("../../../mosquitto/tests/conf/home_assistant.conf"),
    include_str!("../../../mosquitto/tests/conf/mixed_acl.conf"),
    include_str!("../../../mosquitto/tests/conf/per_listener.conf"),
    include_str!("../../../mosquitto/tests/conf/transports.conf"),
];

const ACLS: &[&str] = &[
    include_str!("../../../mosquitto/tests/acl/order.acl"),
    include_str!("../../../mosquitto/tests/acl/patterns.acl"),
    include_str!("../../../mosquitto/tests/acl/users.acl"),
];

const PASSWORDS: &str = "alice:$7$101$AAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n";

const WORDS: &[&[u8]] = &[
    b"\n",
    b" ",
    b"\t",
    b"#",
    b"%%\n",
    b"true",
    b"false",
    b"none",
    b"0",
    b"-1",
    b"65536",
    b"listener 1883\n",
    b"listener 0 /tmp/s\n",
    b"allow_anonymous true\n",
    b"password_file p\n",
    b"acl_file a\n",
    b"per_listener_settings true\n",
    b"include_dir d\n",
    b"max_keepalive ",
    b"max_connections ",
    b"max_inflight_messages ",
    b"max_queued_messages ",
    b"max_queued_bytes ",
    b"max_packet_size ",
    b"message_size_limit ",
    b"memory_limit ",
    b"persistent_client_expiration ",
    b"persistence true\n",
    b"certfile c\n",
    b"keyfile k\n",
    b"cafile c\n",
    b"protocol websockets\n",
    b"bind_address localhost\n",
    b"log_type all\n",
    b"connection b\n",
    b"address h:1\n",
    b"topic # both 2\n",
    b"plugin x.so\n",
    b"mount_point m\n",
    b"user u\n",
    b"pattern read %u/#\n",
    b"topic deny a/+\n",
    b"require_certificate true\n",
    b"use_identity_as_username true\n",
];

fn seeds() -> Vec<Vec<u8>> {
    let examples = EXAMPLES.iter().map(|text| text.as_bytes().to_vec());
    let acls = ACLS.iter().map(|acl| {
        format!(
            "include_dir d\nacl_file a\n{PARTING}listener 1883\n{PARTING}{PASSWORDS}{PARTING}{acl}"
        )
        .into_bytes()
    });
    let directives = broker_mosquitto::DIRECTIVES
        .iter()
        .map(|directive| format!("listener 1883\n{} 1\n", directive.name).into_bytes());
    examples.chain(acls).chain(directives).collect()
}

/// The files of an input.
struct Files<'a> {
    main: &'a str,
    included: &'a str,
}

impl Source for Files<'_> {
    fn read(&mut self, path: &str) -> Result<String, String> {
        match path {
            MAIN => Ok(self.main.to_owned()),
            INCLUDED => Ok(self.included.to_owned()),
            _ => Err("no such file".to_owned()),
        }
    }

    fn list(&mut self, folder: &str) -> Result<Vec<String>, String> {
        match folder {
            "d" => Ok(vec!["included.conf".to_owned()]),
            _ => Err("no such folder".to_owned()),
        }
    }

    fn resolve(&mut self, host: &str) -> Result<IpAddr, String> {
        match host {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            _ => Err("no such host".to_owned()),
        }
    }
}

fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.split(PARTING);
    let mut part = || parts.next().unwrap_or_default();
    let (main, included, passwords, acl) = (part(), part(), part(), part());
    configuration(main, included);
    policy(passwords, acl);
}

fn configuration(main: &str, included: &str) {
    let options = Options {
        port: None,
        verbose: false,
        is_root: false,
        transient_dir: Path::new("/transient"),
    };
    match translate(Some(MAIN), &mut Files { main, included }, options) {
        Ok(translation) => {
            let text = translation.config.render();
            let again = RawConfig::parse(&text);
            assert_eq!(again.as_ref(), Ok(&translation.config), "{text}");
            assert!(Config::parse(&text).is_ok(), "{text}");
            for warning in &translation.warnings {
                if let Some(at) = &warning.at {
                    stands_there(&at.file, at.line, main, included, &warning.to_string());
                }
            }
        }
        Err(faults) => {
            assert!(!faults.0.is_empty());
            for fault in &faults.0 {
                placed(fault, main, included);
            }
        }
    }
}

/// A fault names a file, and a line that the file has; but for values that are well by themselves
/// and do not go together.
fn placed(fault: &Fault, main: &str, included: &str) {
    let shown = fault.to_string();
    let Some((file, rest)) = shown.split_once(':') else { panic!("{shown:?} names no file") };
    match rest.split_once(':').and_then(|(line, _)| line.parse().ok()) {
        Some(line) => stands_there(file, line, main, included, &shown),
        None => assert!(matches!(fault, Fault::Unreadable { at: None, .. }), "{shown:?}"),
    }
    if let Fault::Unknown { at, name, .. } = fault {
        let text = if &*at.file == MAIN { main } else { included };
        let line = text.split('\n').nth(at.line as usize - 1).unwrap_or_default();
        assert!(line.contains(name.as_str()), "{shown:?}: the line is {line:?}");
    }
}

fn stands_there(file: &str, line: u32, main: &str, included: &str, shown: &str) {
    let text = match file {
        MAIN => main,
        INCLUDED => included,
        _ => panic!("{shown:?} names a file that is not there"),
    };
    let lines = text.split('\n').count();
    assert!((1..=lines).contains(&(line as usize)), "{shown:?}: the file has {lines} lines");
}

fn policy(passwords: &str, acl: &str) {
    let texts = PolicyTexts {
        password_file: Some(Named { path: "p", text: passwords }),
        acl_file: Some(Named { path: "a", text: acl }),
        admits_anonymous: true,
        ..PolicyTexts::default()
    };
    match policy_records(&texts) {
        Ok(records) => {
            assert!(Policy::from_records(records).is_ok(), "the files make no policy");
        }
        Err(Faults(faults)) => {
            assert!(!faults.is_empty());
            for fault in faults {
                let shown = fault.to_string();
                assert!(shown.starts_with("p:") || shown.starts_with("a:"), "{shown:?}");
            }
        }
    }
}
