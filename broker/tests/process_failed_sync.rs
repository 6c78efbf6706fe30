//! A disk that says that it could not keep what was written: fsync fails in the whole process, by a
//! library that is loaded before the system's.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::broker::Broker;
use support::client::{CONNACK, Client, PUBACK, connect, packet};
use support::eventually;
use support::process::PROGRAM;

/// While the file that the environment names is there, nothing can be synced.
const FAILING: &str = r#"
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fails(void)
{
	const char *path = getenv("SYNC_FAILS_WITH");
	return path && access(path, F_OK) == 0;
}

int fdatasync(int descriptor)
{
	if (fails()) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_fdatasync, descriptor);
}

int fsync(int descriptor)
{
	if (fails()) {
		errno = EIO;
		return -1;
	}
	return syscall(SYS_fsync, descriptor);
}
"#;

/// A program that runs the broker so that its fsync fails while `switch` is there.
fn program(folder: &Path, switch: &Path) -> PathBuf {
    let (source, library) = (folder.join("failing.c"), folder.join("failing.so"));
    fs::write(&source, FAILING).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compiler.status().unwrap().success(), "a C compiler is needed");
    let program = folder.join("broker");
    let script = format!(
        "#!/bin/sh\nexport LD_PRELOAD={} SYNC_FAILS_WITH={}\nexec {PROGRAM} \"$@\"\n",
        library.display(),
        switch.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

/// PUBLISH of QoS 1, retained.
fn retain(client: &mut Client, payload: &[u8]) {
    client.send(&packet(0x33, &[&[0, 1, b'r', 0, 1, 0][..], payload].concat()));
}

#[test]
fn a_failed_fsync_ends_the_process_and_what_it_did_not_keep_is_not_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let switch = folder.path().join("fails");
    let mut broker = Broker::founded();
    broker.process.signal("TERM");
    broker.process.wait();
    broker.program = program(folder.path(), &switch);
    broker.restart();
    let enter = |broker: &Broker| {
        eventually("a client comes in", || {
            let mut client = Client::try_plain(broker.process.listener("plain")).ok()?;
            client.try_send(&connect("c", Some("pump"), b"secret", true)).ok()?;
            let answer = client.receive()?;
            (answer.kind() == CONNACK && answer.body[1] == 0).then_some(client)
        })
    };
    let mut publisher = enter(&broker);
    retain(&mut publisher, b"kept");
    publisher.expect(PUBACK);

    File::create(&switch).unwrap();
    retain(&mut publisher, b"lost");
    while let Some(packet) = publisher.receive() {
        let code = packet.body.get(2).copied().unwrap_or(0);
        assert!(packet.kind() != PUBACK || code >= 0x80, "acknowledged: {packet:?}");
    }
    assert_eq!(broker.process.wait().code(), Some(1), "it ends by itself");
    broker.process.log("writing the log failed; this broker must stop");

    fs::remove_file(&switch).unwrap();
    broker.restart();
    let mut subscriber = enter(&broker);
    subscriber.subscribe("r", 0);
    // What was not acknowledged may be there, as it was written: never something else.
    let (topic, payload) = subscriber.message();
    assert!(topic == "r" && [&b"kept"[..], b"lost"].contains(&&payload[..]), "{payload:?}");
}
