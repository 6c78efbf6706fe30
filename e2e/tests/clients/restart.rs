//! A laptop that is switched off and on again: what was acknowledged as retained is there, on every broker.

use anyhow::{Result, ensure};
use e2e::local::LocalUp;

use crate::cluster::{binaries, quickstart, turn, wait_until_ready};
use crate::rumqttc_checks::{People, telemetry};
use crate::rumqttc_client::Version;

async fn publishes(up: &LocalUp, topic: &str) -> Result<()> {
    let mut pump = People::of(up)?.pump(Version::V5, 1).await?;
    ensure!(pump.publish(topic, "42", 1, true).await?, "the publish is acknowledged");
    pump.leave().await;
    Ok(())
}

async fn is_given_by_each(up: &LocalUp, topic: &str) -> Result<()> {
    let people = People::of(up)?;
    for broker in 0..3 {
        let mut control = people.control_room(Version::V5, broker).await?;
        control.subscribe(topic, 1).await?;
        let got = control.receive().await?;
        ensure!(got.retain && got.payload == b"42", "broker {broker}: {got:?}");
    }
    Ok(())
}

#[test]
fn retained_messages_outlive_a_restart_of_the_local_platform() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("folder");
    let manifests = quickstart(folder.path()).expect("manifests");
    let (operator, state) = (binaries().join("mqtt-operator"), folder.path().join("state"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let topic = telemetry("kept-over-night");
    let up = LocalUp::start(&operator, &manifests, &state).expect("local up");
    wait_until_ready(&up).expect("ready");
    runtime.block_on(publishes(&up, &topic)).expect("a retained message");
    // In order: SIGTERM, and the brokers stop.
    drop(up);
    let up = LocalUp::start(&operator, &manifests, &state).expect("local up again");
    wait_until_ready(&up).expect("ready again");
    if let Err(error) = runtime.block_on(is_given_by_each(&up, &topic)) {
        panic!("{error:#}\nlocal up printed:\n{}", up.printed());
    }
}
