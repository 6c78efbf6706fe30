//! `/metrics`: read at each scrape from what the threads publish anyway, so that a scrape costs and
//! nothing else does.
//!
//! Names begin with `mqtt_broker_`; units are base units. Labels are bounded: never a client, a user
//! or a topic.

mod cluster;
mod hub;
mod limits;
mod page;
mod storage;
mod workers;

use std::sync::Arc;

use crate::cluster::Links;
use crate::cluster::meta::MetaGroup;
use crate::hub::Hub;
use crate::node::{Admission, ListenerCounters, MemoryCounters, WorkerHandle};
use crate::tls::TlsStore;
use crate::totals::Totals;
use page::{Kind, Page, Written};

/// Where the numbers come from.
pub struct MetricsParts {
    /// Consensus.
    pub meta: MetaGroup,
    /// The other brokers.
    pub links: Links,
    /// The hub.
    pub hub: Hub,
    /// What all brokers do together.
    pub totals: Totals,
    /// The workers.
    pub workers: Arc<[WorkerHandle]>,
    /// The listeners by name.
    pub listeners: Vec<(String, Arc<ListenerCounters>)>,
    /// Connections of the process, by what limits them.
    pub admission: Arc<Admission>,
    /// The memory budget.
    pub memory: Arc<MemoryCounters>,
    /// Certificates in use.
    pub tls: Arc<TlsStore>,
    /// Version of the binary.
    pub version: &'static str,
}

/// The broker's numbers.
pub struct Metrics(MetricsParts);

impl Metrics {
    /// Numbers of these parts.
    #[must_use]
    pub const fn new(parts: MetricsParts) -> Self {
        Self(parts)
    }

    /// All of them in Prometheus' text format; a comment that says why where that can't be.
    #[must_use]
    pub fn text(&self) -> String {
        let written = self.write().and_then(|page| page.text());
        written.unwrap_or_else(|error| format!("# {error}\n"))
    }

    fn write(&self) -> Result<Page, prometheus::Error> {
        let mut page = Page::new();
        self.build(&mut page)?;
        self.traffic(&mut page)?;
        self.messages(&mut page)?;
        self.publishes(&mut page)?;
        self.workers(&mut page)?;
        self.listeners(&mut page)?;
        self.limits(&mut page)?;
        self.memory(&mut page)?;
        self.cluster(&mut page)?;
        self.cluster_totals(&mut page)?;
        self.hub(&mut page)?;
        self.certificates(&mut page)?;
        Ok(page)
    }

    fn build(&self, page: &mut Page) -> Written {
        let version = self.0.version;
        page.family(Kind::Gauge, "build_info", "The running binary.", "version", &[(version, 1)])
    }

    fn certificates(&self, page: &mut Page) -> Written {
        let status = self.0.tls.status();
        let end = |served: Option<&broker_admin_api::ServedCertificate>| {
            served.and_then(|served| u64::try_from(served.not_after).ok()).unwrap_or(0)
        };
        page.family(
            Kind::Gauge,
            "certificate_not_after_seconds",
            "End of validity, Unix time.",
            "certificate",
            &[("server", end(status.server.as_ref())), ("peer", end(status.peer.as_ref()))],
        )?;
        let failed = u64::from(status.last_reload_error.is_some());
        page.single(
            Kind::Gauge,
            "tls_reload_failed",
            "1 while the newest files are not in force.",
            failed,
        )
    }
}
