//! Makes faults and ends them, in the brokers' processes, networks and disks.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mqtt_bench::brokers::{Brokers, ClusterSettings, Place, loopback};

use super::disk::Disks;
use super::fault::{BROKERS, Fault, Kind};
use super::network::Network;

/// How long a broker may take to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// The signal's number.
const SIGTERM: i32 = 15;
/// How long a broker is asked whether it leads: one that is stopped does not answer.
const LEADS_WITHIN: Duration = Duration::from_millis(300);

/// The cluster and what lies below it. The order is that in which they are taken down.
pub(super) struct Injector {
    pub(super) brokers: Brokers,
    disks: Option<Disks>,
    network: Option<Network>,
}

/// What this machine can't do, so is left out, in words.
pub(super) type LeftOut = Vec<String>;

/// Says what is left out.
///
/// # Errors
/// Nothing may be: `is_all_required`.
pub(super) fn accept(left_out: &[String], is_all_required: bool) -> Result<()> {
    ensure!(
        left_out.is_empty() || !is_all_required,
        "DUNLIN_TEST_REQUIRE=all, but this would be left out: {}",
        left_out.join("; ")
    );
    for what in left_out {
        println!("left out: {what}");
    }
    Ok(())
}

/// What the cluster stands on.
pub(super) struct Ground {
    network: Option<Network>,
    disks: Option<Disks>,
    pub(super) left_out: LeftOut,
}

impl Ground {
    /// Makes namespaces, unless `is_loopback`, and disks where they are `wanted`.
    pub(super) fn prepare(folder: &Path, is_loopback: bool, wants_disks: bool) -> Self {
        let mut left_out = LeftOut::new();
        let made = || super::network::remove_leftovers().and_then(|()| Network::create());
        let network = (!is_loopback).then(made).and_then(|network| {
            let noted = network.map_err(|error| {
                left_out.push(format!(
                    "no network namespaces, so no partitions; the brokers listen on 127.0.0.0/8: {error:#}"
                ));
            });
            noted.ok()
        });
        let mounted = || super::disk::remove_leftovers().and_then(|()| Disks::mount(folder));
        let disks = wants_disks.then(mounted).and_then(|disks| {
            let noted = disks.map_err(|error| left_out.push(format!("no full disks: {error:#}")));
            noted.ok()
        });
        Self { network, disks, left_out }
    }

    /// Whether a fault can be made here.
    pub(super) const fn allows(&self, kind: Kind) -> bool {
        match kind {
            Kind::DiskFull => self.disks.is_some(),
            kind => self.network.is_some() || !kind.needs_network(),
        }
    }

    /// Starts the cluster on it.
    ///
    /// # Errors
    /// It does not become ready.
    pub(super) fn start(self, program: PathBuf, folder: &Path) -> Result<Injector> {
        let mut places = match &self.network {
            None => loopback(BROKERS, folder),
            Some(network) => (0..BROKERS)
                .map(|node| Place {
                    address: network.broker(node),
                    namespace: Some(network.namespace(node)),
                    data: folder.join(format!("data-{node}")),
                })
                .collect(),
        };
        if let Some(disks) = &self.disks {
            for (node, place) in places.iter_mut().enumerate() {
                place.data = disks.data(node);
            }
        }
        let settings = ClusterSettings { program, folder: folder.to_owned(), places, workers: 2 };
        let brokers = Brokers::start(&settings)?;
        Ok(Injector { brokers, disks: self.disks, network: self.network })
    }
}

impl Injector {
    /// The fault with the broker that it hits: the one that leads, where that is wanted and one does. Not one that `taken` names.
    pub(super) fn aim(&self, mut fault: Fault, taken: &[usize]) -> Fault {
        if fault.hits_leader
            && let Some(leader) = self.brokers.leader(LEADS_WITHIN)
        {
            fault.node = leader;
        }
        while taken.contains(&fault.node) {
            fault.node = (fault.node + 1) % BROKERS;
        }
        fault
    }

    /// Makes a fault.
    ///
    /// # Errors
    /// It can't be made; or a broker does not end as it should.
    pub(super) fn begin(&mut self, fault: &Fault) -> Result<()> {
        let node = &mut self.brokers.nodes[fault.node];
        match fault.kind {
            Kind::Kill => node.kill(),
            Kind::KillAll => self.brokers.nodes.iter_mut().try_for_each(|node| node.kill()),
            // Another fault of this time may have killed it.
            Kind::Stop if node.pid().is_none() => Ok(()),
            Kind::Stop => node.pause(),
            Kind::Terminate if node.pid().is_none() => Ok(()),
            Kind::Terminate => {
                let status = node.terminate(ENDS_WITHIN)?;
                // One that has just begun to start does not yet know what to do first.
                let is_early = status.signal() == Some(SIGTERM);
                ensure!(
                    status.success() || is_early,
                    "{} ended with {status} after SIGTERM",
                    node.name
                );
                Ok(())
            }
            Kind::DiskFull => self.disks()?.fill(fault.node),
            Kind::Isolate => self.isolate(fault.node),
            Kind::CutOff => {
                self.isolate(fault.node)?;
                self.network()?.shut_out(fault.node)
            }
            Kind::Sever => {
                self.network()?.silence(fault.node, fault.pair())?;
                self.network()?.silence(fault.pair(), fault.node)
            }
            Kind::OneWay => self.network()?.silence(fault.node, fault.pair()),
        }
    }

    fn isolate(&self, node: usize) -> Result<()> {
        for other in (0..BROKERS).filter(|other| *other != node) {
            self.network()?.silence(other, node)?;
            self.network()?.silence(node, other)?;
        }
        Ok(())
    }

    /// Ends a fault. Those of the network end together.
    ///
    /// # Errors
    /// It can't be ended.
    pub(super) fn end(&mut self, fault: &Fault) -> Result<()> {
        let node = &mut self.brokers.nodes[fault.node];
        match fault.kind {
            Kind::Stop if node.pid().is_some() => node.resume(),
            Kind::Kill | Kind::Terminate | Kind::Stop => match node.pid() {
                None => node.start(),
                Some(_) => Ok(()),
            },
            Kind::KillAll => {
                let down = self.brokers.nodes.iter_mut().filter(|node| node.pid().is_none());
                down.into_iter().try_for_each(|node| node.start())
            }
            Kind::DiskFull => self.disks()?.free(fault.node),
            Kind::Isolate | Kind::CutOff | Kind::Sever | Kind::OneWay => self.network()?.heal(),
        }
    }

    /// The first broker that has ended though nobody ended it.
    ///
    /// # Errors
    /// The system does not say how a process has ended.
    pub(super) fn fallen(&mut self) -> Result<Option<String>> {
        for node in &mut self.brokers.nodes {
            if let Some(status) = node.ended()? {
                let log = node.log.display();
                return Ok(Some(format!("{} ended by itself with {status}: {log}", node.name)));
            }
        }
        Ok(None)
    }

    fn network(&self) -> Result<&Network> {
        self.network.as_ref().context("this run has no namespaces")
    }

    fn disks(&self) -> Result<&Disks> {
        self.disks.as_ref().context("this run has no disks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_an_error_where_all_is_required() {
        let full_disks = ["no full disks: not permitted".to_owned()];
        assert!(accept(&full_disks, false).is_ok());
        assert!(accept(&[], true).is_ok());
        let error = accept(&full_disks, true).unwrap_err().to_string();
        assert!(error.contains("no full disks: not permitted"), "{error}");
    }
}
