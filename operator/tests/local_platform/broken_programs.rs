//! Programs in the broker's place that don't do what a broker does.

use crate::support::Desk;

#[test]
fn a_broker_that_crashes_is_started_again_later_and_later_and_its_log_is_shown() {
    let script = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo mqtt-broker 0.1.0; exit; fi\necho no room for a broker here >&2\nexit 3\n";
    let mut desk = Desk::with_script(script);
    desk.up();
    desk.until_printed("fleet-0: ended with exit code 3; starting it again in 500 ms");
    desk.until_printed("no room for a broker here");
    desk.until_printed("fleet-0: ended with exit code 3; starting it again in 1.0 s");
    desk.until("a condition", || {
        desk.condition("mqc", "fleet", "Available").1.contains("ended with exit code 3, ")
    });
    desk.stop();
}

#[test]
fn a_program_that_is_no_broker_is_named() {
    let mut desk = Desk::with_script("#!/bin/sh\necho something else\n");
    desk.up();
    assert_eq!(desk.ended(), Some(1));
    let printed = desk.printed();
    assert!(printed.contains("is no mqtt-broker: --version says \"something else\""), "{printed}");
}

#[test]
fn a_broker_that_does_not_stop_is_hurried_by_a_second_signal() {
    let script = "#!/bin/sh\nif [ \"$1\" = --version ]; then echo mqtt-broker 0.1.0; exit; fi\ntrap '' TERM\nwhile true; do sleep 1; done\n";
    let mut desk = Desk::with_script(script);
    desk.up();
    desk.until_printed("fleet-2: started");
    crate::support::signal("TERM", desk.operator_pid());
    desk.until_printed("stopping the brokers");
    crate::support::signal("TERM", desk.operator_pid());
    assert_eq!(desk.ended(), Some(0));
}

#[test]
fn a_folder_that_is_not_there_is_said() {
    let desk = Desk::with_script("#!/bin/sh\n");
    let output = desk.run("up", &["-f", "/nowhere/at/all"]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("/nowhere/at/all is not a folder"), "{text}");
}
