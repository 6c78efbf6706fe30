//! Mosquitto's client for requests and responses.

use std::process::Command;

use e2e::optional::left_out;
use e2e::program::run;

use crate::alone::Alone;

/// Asks over 5.0 with a Response Topic and Correlation Data; whoever hears it answers there.
#[test]
fn a_request_of_mosquitto_rr_gets_its_response() {
    if Command::new("mosquitto_rr").arg("--help").output().is_err() {
        return left_out("mosquitto_rr is not installed");
    }
    let broker = Alone::start().expect("a broker");
    let account = format!(
        "-V mqttv5 -h localhost -p {} --cafile {} -u bob -P bob",
        broker.mqtts,
        broker.file("tls.crt")
    );
    // %R: the Response Topic, %D: the Correlation Data. The request is made again until somebody
    // has heard it.
    let script = format!(
        "cd {}\n\
         (mosquitto_sub {account} -t own/request -C 1 -W 20 -F '%R %D %p' > request\n\
          read -r topic correlation payload < request\n\
          mosquitto_pub {account} -t \"$topic\" -q 1 -D publish correlation-data \"$correlation\" -m \"answer to $payload\") &\n\
         for i in $(seq 40); do\n\
           answer=$(mosquitto_rr {account} -t own/request -e own/response -q 1 -m question \
             -D publish correlation-data 42 -W 1 -F '%p %D') && break\n\
         done\n\
         wait\n\
         test \"$answer\" = 'answer to question 42' || {{ echo \"got: $answer\"; exit 1; }}\n",
        broker.folder.path().display()
    );
    if let Err(error) = run("bash", &["-c", &script]) {
        panic!("{error:#}\n{broker}");
    }
}
