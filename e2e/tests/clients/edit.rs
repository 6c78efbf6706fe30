//! A rule edited while devices are connected binds each of them, on whichever broker it is.

use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::program::eventually;

use crate::cluster::cluster;
use crate::rumqttc_checks::{People, telemetry};
use crate::rumqttc_client::{Client, Version};

/// Far more than an edit takes; a device that is still answered the old way then, will always be.
const ENFORCED_WITHIN: Duration = Duration::from_secs(20);

/// Puts an edited file back, also when the check fails: the tests after it use the same manifests.
struct PutBack<'a> {
    path: &'a Path,
    text: String,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        let _ = std::fs::write(self.path, &self.text);
    }
}

/// Publishes with each device until all answers are `is_allowed`.
async fn until_answered(devices: &mut [Client], is_allowed: bool) -> Result<()> {
    for (broker, device) in devices.iter_mut().enumerate() {
        eventually("the rule binds the connection", ENFORCED_WITHIN, async || {
            let answer = device.publish(&telemetry("edit"), "x", 1, false).await?;
            ensure!(answer == is_allowed, "broker {broker}: allowed is {answer}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn edited_and_put_back(people: &People, acl: &Path) -> Result<()> {
    let mut devices = Vec::new();
    for (broker, client_id) in ["edit-0", "edit-1", "edit-2"].into_iter().enumerate() {
        let options = people.options(Version::V5, client_id);
        devices.push(people.pump_with(broker, options).await?);
    }
    until_answered(&mut devices, true).await?;
    let put_back = PutBack { path: acl, text: std::fs::read_to_string(acl)? };
    std::fs::write(acl, put_back.text.replace("fleet/%u/telemetry/#", "fleet/%u/elsewhere/#"))?;
    until_answered(&mut devices, false).await?;
    drop(put_back);
    until_answered(&mut devices, true).await
}

#[test]
fn an_edited_rule_binds_live_connections_on_every_broker_and_so_does_putting_it_back() {
    let cluster = cluster();
    let running = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let people = People::of(&running.up).expect("the quickstart's users");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let acl = running.manifests.join("acl.yaml");
    if let Err(error) = runtime.block_on(edited_and_put_back(&people, &acl)) {
        panic!("{error:#}\nlocal up printed:\n{}", running.up.printed());
    }
}
