//! MQTT.js, over TLS and secure WebSocket, in both versions.

use e2e::optional::left_out;
use e2e::program::run_with_input;
use serde_json::json;

use crate::alone::Alone;
use crate::cluster::root;

fn mqttjs(check: &str) {
    let Ok(module) = std::env::var("DUNLIN_TEST_NODE") else {
        return left_out(
            "DUNLIN_TEST_NODE is not set (make test sets it where npm can install MQTT.js)",
        );
    };
    let broker = Alone::start().expect("a broker");
    let mut settings = broker.settings();
    settings["module"] = json!(module);
    let script = root().join("e2e/node/clients.mjs");
    let script = script.to_string_lossy();
    if let Err(error) = run_with_input("node", &[&script, check], &settings.to_string()) {
        panic!("{error:#}\n{broker}");
    }
}

macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        $(#[test]
        fn $check() {
            mqttjs(stringify!($check));
        })*
    };
}

checks!(
    every_qos,
    retained,
    will,
    session_resumption,
    topic_alias,
    subscription_identifiers,
    shared_subscription,
    refusals,
);
