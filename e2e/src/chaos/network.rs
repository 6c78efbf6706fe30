//! A network of its own for every broker: a namespace each, joined by a bridge in another one, so that no rule of this machine's
//! firewall lies between them. What a broker may not hear is dropped by nftables inside its namespace.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::fault::BROKERS;
use crate::program::run;

/// How the namespaces of all runs begin; then the process id follows.
pub(super) const PREFIX: &str = "dunlin-chaos-";
/// The test's own address ends so.
const HOST: u8 = 254;

/// The namespaces; removed when dropped.
#[derive(Debug)]
pub(super) struct Network {
    run: String,
    /// The first three bytes of all addresses.
    subnet: [u8; 3],
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.names() {
            // With a namespace go its ends of the pairs, and so the other ends.
            let _ = run("ip", &["netns", "del", &name]);
        }
    }
}

impl Network {
    /// Makes the namespaces.
    ///
    /// # Errors
    /// This user or this machine can't: why.
    pub(super) fn create() -> Result<Self> {
        let id = std::process::id();
        let network = Self { run: format!("{PREFIX}{id}"), subnet: free_subnet(id)? };
        network.build(&format!("dc{id}"))?;
        Ok(network)
    }

    fn build(&self, outer: &str) -> Result<()> {
        let bridge = self.bridge();
        let (bridge, host) = (bridge.as_str(), format!("{}/24", self.address(HOST)));
        run("ip", &["netns", "add", bridge])?;
        run("ip", &["-n", bridge, "link", "add", "bridge", "type", "bridge"])?;
        run("ip", &["-n", bridge, "link", "set", "bridge", "up"])?;
        // The name in this namespace is short: the system takes 15 bytes.
        run(
            "ip",
            &["link", "add", outer, "type", "veth", "peer", "name", "host", "netns", bridge],
        )?;
        run("ip", &["-n", bridge, "link", "set", "host", "master", "bridge", "up"])?;
        run("ip", &["addr", "add", &host, "dev", outer])?;
        run("ip", &["link", "set", outer, "up"])?;
        for node in 0..BROKERS {
            let (name, port) = (self.namespace(node), format!("broker{node}"));
            let address = format!("{}/24", self.broker(node));
            run("ip", &["netns", "add", &name])?;
            let pair = ["type", "veth", "peer", "name", &port, "netns", bridge];
            run("ip", &[&["link", "add", "eth0", "netns", &name][..], &pair].concat())?;
            run("ip", &["-n", bridge, "link", "set", &port, "master", "bridge", "up"])?;
            run("ip", &["-n", &name, "addr", "add", &address, "dev", "eth0"])?;
            run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
            run("ip", &["-n", &name, "link", "set", "eth0", "up"])?;
            self.nft(
                node,
                "add table inet chaos; \
                 add set inet chaos unheard { type ipv4_addr; }; \
                 add set inet chaos untold { type ipv4_addr; }; \
                 add chain inet chaos in { type filter hook input priority 0; }; \
                 add chain inet chaos out { type filter hook output priority 0; }; \
                 add rule inet chaos in ip saddr @unheard drop; \
                 add rule inet chaos out ip daddr @untold drop",
            )?;
        }
        Ok(())
    }

    /// The address of a broker.
    pub(super) const fn broker(&self, node: usize) -> Ipv4Addr {
        self.address(node as u8 + 1)
    }

    /// The namespace of a broker.
    pub(super) fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.run)
    }

    /// Nothing of broker `from` reaches broker `to` any more.
    ///
    /// # Errors
    /// nftables refuses it.
    pub(super) fn silence(&self, from: usize, to: usize) -> Result<()> {
        self.nft(to, &format!("add element inet chaos unheard {{ {} }}", self.broker(from)))
    }

    /// Nothing goes between this process and a broker any more.
    ///
    /// # Errors
    /// nftables refuses it.
    pub(super) fn shut_out(&self, node: usize) -> Result<()> {
        let host = self.address(HOST);
        self.nft(
            node,
            &format!(
                "add element inet chaos unheard {{ {host} }}; \
                 add element inet chaos untold {{ {host} }}"
            ),
        )
    }

    /// Everything is heard again.
    ///
    /// # Errors
    /// nftables refuses it.
    pub(super) fn heal(&self) -> Result<()> {
        (0..BROKERS).try_for_each(|node| {
            self.nft(node, "flush set inet chaos unheard; flush set inet chaos untold")
        })
    }

    const fn address(&self, last: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, last)
    }

    fn bridge(&self) -> String {
        format!("{}-bridge", self.run)
    }

    fn names(&self) -> Vec<String> {
        (0..BROKERS).map(|node| self.namespace(node)).chain([self.bridge()]).collect()
    }

    fn nft(&self, node: usize, commands: &str) -> Result<()> {
        let name = self.namespace(node);
        run("ip", &["netns", "exec", &name, "nft", commands]).map(drop).context("nftables")
    }
}

/// Addresses that nobody else uses here, of those that are set aside for measurements (RFC 2544).
fn free_subnet(id: u32) -> Result<[u8; 3]> {
    let first = (id % 250) as u8;
    for third in (first..250).chain(0..first) {
        let subnet = format!("198.18.{third}.0/24");
        if run("ip", &["-4", "-o", "addr", "show", "to", &subnet])?.trim().is_empty() {
            return Ok([198, 18, third]);
        }
    }
    bail!("all of 198.18.0.0/16 is in use on this machine")
}

/// Removes what a run left that was killed itself: it had no time to.
///
/// # Errors
/// There is no `ip` on this machine.
pub(super) fn remove_leftovers() -> Result<()> {
    let listed = run("ip", &["netns", "list"])?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| is_left_over(name)) {
        println!("removing {name}, which an earlier run left");
        for process in run("ip", &["netns", "pids", name])?.split_whitespace() {
            let _ = run("kill", &["-9", process]);
        }
        run("ip", &["netns", "del", name])?;
    }
    Ok(())
}

/// Whether the process is gone that a namespace or a folder is named after.
pub(super) fn is_left_over(name: &str) -> bool {
    let id = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
    let id = id.and_then(|id| id.parse::<u32>().ok());
    id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists())
}
