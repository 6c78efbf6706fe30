//! The scenarios on a kind cluster that `e2e/kind.sh` made: each is a promise to a user, and each leaves the cluster as it found it.

mod cluster;
mod diagnostics;
mod discovery;
mod faults;
mod install;
mod once;
mod policy;
mod removal;
mod replacement;
mod scale;
mod traffic;
mod upgrade;

use std::time::Duration;

use anyhow::Result;

use crate::scenario::Report;
pub use cluster::Cluster;
use upgrade::Versions;

/// A version that no image has.
const ABSENT_VERSION: &str = "0.1.0-absent";

/// What the scenarios need to know.
#[derive(Clone, Debug, clap::Args)]
pub struct KindArgs {
    /// The version to install.
    #[arg(long)]
    pub version: String,
    /// Another version of the broker, whose image is loaded into the cluster too.
    #[arg(long)]
    pub next_version: String,
    /// A version whose image is loaded too; its containers start and end again at once.
    #[arg(long)]
    pub broken_version: String,
    /// Run only the scenarios whose names contain one of these words (comma-separated).
    #[arg(long, default_value = "")]
    pub only: String,
    /// How many edits of a rule are timed.
    #[arg(long, default_value_t = 100)]
    pub edits: usize,
}

/// Runs the scenarios, up to the first that fails; whether all passed.
///
/// # Errors
/// Only what keeps the first scenario from starting.
pub async fn run(args: KindArgs) -> Result<bool> {
    let cluster = Cluster::new("iot");
    let c = &cluster;
    let diagnosed = cluster.clone();
    let mut report = Report::new(&args.only, move || diagnostics::print(&diagnosed));
    let r = &mut report;
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let v = Versions { from: &args.version, to: &args.next_version, broken: &args.broken_version };
    let edits_take = Duration::from_secs(120 + 5 * args.edits as u64);

    let name = "chart and manifests give a ready cluster";
    r.required(name, minutes(8), install::run(c)).await;
    r.scenario("objects are as promised", minutes(2), install::objects(c)).await;
    r.scenario("mqtt over tls from outside", minutes(3), policy::traffic(c)).await;
    r.scenario("passwords are in secrets only", minutes(2), install::secrets(c)).await;
    let name = "bad manifests are refused with a sentence";
    r.scenario(name, minutes(2), policy::refused(c)).await;
    let name = "an edited rule is enforced on all brokers";
    r.scenario(name, edits_take, policy::edits(c, args.edits)).await;
    r.scenario("a deleted user is refused", minutes(3), policy::deleted_user(c)).await;
    let fault = faults::under_traffic(c, faults::kill_pod(c));
    r.scenario("a killed broker comes back", minutes(10), fault).await;
    let fault = faults::under_traffic(c, faults::lose_disk(c));
    r.scenario("a lost disk joins, never bootstraps", minutes(8), fault).await;
    let fault = faults::under_traffic(c, faults::restart_operator(c));
    r.scenario("an operator restart disturbs nobody", minutes(6), fault).await;
    let name = "brokers find each other by endpoint slices (discovery)";
    r.scenario(name, minutes(5), discovery::by_endpoint_slices(v.from)).await;
    let name = "scaled from 3 to 5 and back under traffic";
    r.scenario(name, minutes(15), scale::up_and_down(c)).await;
    let name = "upgrade under traffic with an operator restart";
    r.scenario(name, minutes(12), upgrade::roll(c, v)).await;
    let name = "a version without an image stops the upgrade and goes back";
    r.scenario(name, minutes(8), upgrade::bad_version(c, v.from, ABSENT_VERSION)).await;
    let name = "a version that starts and does not become ready stops the upgrade and goes back";
    r.scenario(name, minutes(8), upgrade::bad_version(c, v.from, v.broken)).await;
    let fault = faults::under_traffic(c, faults::stop_node(c));
    r.scenario("a stopped node", minutes(10), fault).await;
    r.scenario("everything deleted clean", minutes(5), removal::run(c)).await;
    Ok(report.close())
}
