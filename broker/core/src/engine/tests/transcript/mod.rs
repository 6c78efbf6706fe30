//! Golden transcripts: conversations of clients with the broker as text, `tests/transcripts/*.txt`,
//! replayed against the engine under virtual time.
//!
//! `name > PACKET …` is what a client sends, `name < PACKET …` what it gets, each with its bytes
//! below; the first packet opens the connection, and CONNACK shows return codes of 3.1.1 as the
//! reason codes that they stand for. `name lost`: the connection breaks.
//! `advance 5s`: time passes; `+1.5s` says when within it the broker did something. `name closed`:
//! the broker closes. What the broker does is written anew by `DUNLIN_TRANSCRIPTS=write`; whoever
//! does so reads it against the specification.

mod run;
mod script;
mod show;

use std::path::{Path, PathBuf};

fn transcripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_transcript_is_what_the_broker_does() {
    let is_writing = std::env::var_os("DUNLIN_TRANSCRIPTS").is_some_and(|value| value == "write");
    let mut changed = Vec::new();
    for path in transcripts() {
        let stated = std::fs::read_to_string(&path).unwrap();
        let done = run::replay(&stated, &path.display().to_string());
        if done == stated {
            continue;
        }
        if is_writing {
            std::fs::write(&path, &done).unwrap();
            continue;
        }
        let (number, (old, new)) = first_difference(&stated, &done);
        changed.push(format!("{}:{number}:\n  stated {old:?}\n  done   {new:?}", path.display()));
    }
    assert!(
        changed.is_empty(),
        "if it should be so, write them anew (DUNLIN_TRANSCRIPTS=write) and read them:\n{}",
        changed.join("\n")
    );
}

fn first_difference<'a>(stated: &'a str, done: &'a str) -> (usize, (&'a str, &'a str)) {
    let (mut stated, mut done) = (stated.lines(), done.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (stated.next(), done.next()) {
            (Some(old), Some(new)) if old == new => {}
            (old, new) => return (number, (old.unwrap_or("(end)"), new.unwrap_or("(end)"))),
        }
    }
}

/// What there are transcripts of, each with a packet or a reason code that shows that it is.
const SUBJECTS: &[(&str, &[&str])] = &[
    ("3.1", &["CONNECT v3", "4d 51 49 73 64 70"]),
    ("3.1.1", &["CONNECT v4"]),
    ("5.0", &["CONNECT v5"]),
    ("assigned client id", &["< CONNACK 0x00 assigned_id="]),
    ("server keep alive", &["< CONNACK 0x00 server_keep_alive="]),
    ("unsupported version", &["< CONNACK 0x84", "20 02 00 01"]),
    ("session", &["< CONNACK 0x00 present"]),
    ("qos 1 both ways", &["> PUBACK", "< PUBACK"]),
    (
        "qos 2 both ways",
        &["> PUBREC", "< PUBREC", "> PUBREL", "< PUBREL", "> PUBCOMP", "< PUBCOMP"],
    ),
    ("resend", &["dup"]),
    ("will", &["will=", "will_delay="]),
    ("takeover", &["< DISCONNECT 0x8e"]),
    ("retained", &[" retain"]),
    ("subscription options", &[",nl", ",rap", ",rh1", ",rh2", "sub_id="]),
    ("shared subscription", &["$share/"]),
    ("topic alias", &["> PUBLISH - q0 alias=1", "< PUBLISH - q0 alias=1", "< DISCONNECT 0x94"]),
    ("flow control", &["receive_maximum=1", "< DISCONNECT 0x93"]),
    ("expiry", &["> PUBLISH m q1 #1 expiry=", "expiry="]),
    ("enhanced authentication", &["< AUTH 0x18", "> AUTH 0x19", "< AUTH 0x00", "< CONNACK 0x8c"]),
    ("protocol errors", &["< DISCONNECT 0x81", "< DISCONNECT 0x82"]),
    ("packet size", &["< DISCONNECT 0x95"]),
    ("keep alive", &["< DISCONNECT 0x8d", "> PINGREQ", "< PINGRESP"]),
    ("rights", &["0x87"]),
];

#[test]
fn the_transcripts_cover_what_they_are_for() {
    let all: Vec<_> =
        transcripts().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(all.len() >= 20, "{} transcripts", all.len());
    let all = all.concat();
    for (subject, words) in SUBJECTS {
        for word in *words {
            assert!(all.contains(word), "no transcript of {subject} has {word:?}");
        }
    }
}
