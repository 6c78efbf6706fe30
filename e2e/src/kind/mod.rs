//! The scenarios on a kind cluster that `e2e/kind.sh` made: each is a promise to a user, and each leaves the cluster as it found it.

mod cluster;
mod diagnostics;
mod faults;
mod install;
mod policy;
mod removal;
mod traffic;
mod upgrade;

use std::time::Duration;

use anyhow::Result;

use crate::scenario::Report;
pub use cluster::Cluster;

/// What the scenarios need to know.
#[derive(Clone, Debug, clap::Args)]
pub struct KindArgs {
    /// The version to install.
    #[arg(long)]
    pub version: String,
    /// Another version of the broker, whose image is loaded into the cluster too.
    #[arg(long)]
    pub next_version: String,
    /// Run only the scenarios whose names contain one of these words (comma-separated).
    #[arg(long, default_value = "")]
    pub only: String,
    /// How many edits of a rule are timed.
    #[arg(long, default_value_t = 20)]
    pub edits: usize,
}

/// Runs every scenario; whether all passed.
///
/// # Errors
/// Only what keeps the first scenario from starting.
pub async fn run(args: KindArgs) -> Result<bool> {
    let cluster = Cluster::new("iot");
    let mut report = Report::new(&args.only);
    let minutes = |n: u64| Duration::from_secs(60 * n);

    let mut healthy = report
        .scenario("chart and manifests give a ready cluster", minutes(8), install::run(&cluster))
        .await;
    if healthy {
        let c = &cluster;
        let v = (args.version.as_str(), args.next_version.as_str());
        healthy &=
            report.scenario("objects are as promised", minutes(2), install::objects(c)).await;
        healthy &=
            report.scenario("mqtt over tls from outside", minutes(3), policy::traffic(c)).await;
        healthy &= report
            .scenario("bad manifests are refused with a sentence", minutes(2), policy::refused(c))
            .await;
        healthy &= report
            .scenario(
                "an edited rule is enforced on all brokers",
                minutes(6),
                policy::edits(c, args.edits),
            )
            .await;
        healthy &=
            report.scenario("a deleted user is refused", minutes(3), policy::deleted_user(c)).await;
        healthy &=
            report.scenario("a killed broker comes back", minutes(6), faults::kill_pod(c)).await;
        healthy &= report
            .scenario("a lost disk joins, never bootstraps", minutes(6), faults::lose_disk(c))
            .await;
        healthy &= report
            .scenario(
                "upgrade under traffic with an operator restart",
                minutes(12),
                upgrade::roll(c, v),
            )
            .await;
        healthy &= report
            .scenario("a bad version stops and goes back", minutes(8), upgrade::bad_version(c, v))
            .await;
        healthy &= report.scenario("a stopped node", minutes(8), faults::stop_node(c)).await;
        healthy &= report.scenario("everything deleted clean", minutes(5), removal::run(c)).await;
    }
    if !healthy {
        diagnostics::print(&cluster);
    }
    Ok(report.close())
}
