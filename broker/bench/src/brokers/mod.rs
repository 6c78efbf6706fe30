//! A cluster of real broker processes on this machine, for tests that break it and benchmarks that measure it: certificates,
//! configuration, founding, one user who may do everything.

mod admin;
mod authority;
mod configuration;
mod node;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use broker_admin_api::{
    AddLearnerRequest, BootstrapRequest, BrokerState, BrokerStatus, PromoteRequest, Role, path,
};
use broker_policy::{
    Acl, AclType, Client, PasswordHash, Policy, Record, Role as PolicyRole, RoleAssignment,
};

pub use admin::Admin;
pub use node::{Node, Place};

use crate::target::{Target, Tls};
use crate::wire::{Login, Version};
use authority::Files;

const CLUSTER_NAME: &str = "fleet";
const CLUSTER_ID: &str = "01KLOCALFLEET";
/// The one user.
const USERNAME: &str = "fleet";

/// How long a cluster may take to be founded, and a broker to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long one step of a call to the admin API may take.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Pause before something is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// What is started.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// The program `mqtt-broker`.
    pub program: PathBuf,
    /// An empty folder for certificates, configuration and logs.
    pub folder: PathBuf,
    /// One broker each.
    pub places: Vec<Place>,
    /// Workers of each broker; 0: one a core.
    pub workers: u16,
}

/// Running brokers; killed when dropped.
pub struct Brokers {
    /// The brokers by their ordinal.
    pub nodes: Vec<Node>,
    /// Who may log in.
    pub login: Login,
    ca: PathBuf,
}

impl Brokers {
    /// Starts the brokers, founds the cluster, makes every broker a voter, and gives it its policy. All of them serve when this
    /// returns.
    ///
    /// # Errors
    /// A broker did not start, or was not ready in time; the text says where its log is.
    pub fn start(settings: &ClusterSettings) -> Result<Self> {
        let mut brokers = Self::prepare(settings)?;
        for node in &mut brokers.nodes {
            node.start()?;
        }
        let logs = || format!("the brokers' logs are in {}", settings.folder.display());
        brokers.found().with_context(logs)?;
        Ok(brokers)
    }

    fn prepare(settings: &ClusterSettings) -> Result<Self> {
        let ClusterSettings { program, folder, places, workers } = settings;
        let program = program.canonicalize().with_context(|| {
            format!("{}: --binaries names the folder with mqtt-broker", program.display())
        })?;
        let mut names = vec!["localhost".to_owned()];
        names.extend(places.iter().map(|place| place.address.to_string()));
        let files = Files::issue(folder, places.len(), names)?;
        let administrator = files.administrator()?;
        let places: Vec<_> = places
            .iter()
            .map(|place| Ok((place.clone(), place.ports()?)))
            .collect::<Result<_>>()?;
        let mut nodes = Vec::new();
        for (ordinal, own) in places.iter().enumerate() {
            let (place, ports) = own;
            let name = format!("{CLUSTER_NAME}-{ordinal}");
            let configuration = folder.join(format!("{name}.toml"));
            std::fs::write(&configuration, configuration::render(folder, own, &places, *workers))?;
            let at = |port| (place.address, port).into();
            nodes.push(Node {
                plain: at(ports.plain),
                tls: at(ports.tls),
                admin: Admin::new(at(ports.admin), administrator.clone()),
                log: folder.join(format!("{name}.log")),
                name,
                program: program.clone(),
                configuration,
                place: place.clone(),
                child: None,
            });
        }
        let login = Login { username: USERNAME.to_owned(), password: Some(password()?) };
        Ok(Self { nodes, login, ca: files.ca() })
    }

    fn found(&self) -> Result<()> {
        let Some((first, others)) = self.nodes.split_first() else { bail!("no broker") };
        let status = until("the first broker answers", || first.admin.status(ANSWERS_WITHIN))?;
        let body = BootstrapRequest { cluster_id: CLUSTER_ID.to_owned(), node_id: status.node_id };
        accepted(first, path::BOOTSTRAP, &serde_json::to_string(&body)?)?;
        for other in others {
            let status = until("a broker answers", || other.admin.status(ANSWERS_WITHIN))?;
            let (node_id, name) = (status.node_id, status.name);
            let learner = AddLearnerRequest { node_id, name, expected_membership_log_index: None };
            accepted(first, path::LEARNERS, &serde_json::to_string(&learner)?)?;
            let voter = PromoteRequest { node_id, expected_membership_log_index: None };
            accepted(first, path::VOTERS, &serde_json::to_string(&voter)?)?;
        }
        let wanted = policy(&self.login)?;
        let records = wanted.records().records().map(|record| (**record).clone()).collect();
        let change = Policy::default().change(records, Vec::new())?;
        accepted(first, path::POLICY_CHANGES, &serde_json::to_string(&change)?)?;
        let revision = wanted.revision().to_string();
        for node in &self.nodes {
            until(&format!("{} serves and enforces the policy", node.name), || {
                let status = node.admin.status(ANSWERS_WITHIN)?;
                let serves = status.state == BrokerState::Serving && status.ready;
                ensure!(serves && status.policy.enforced_revision == revision, "{status:?}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The ordinal of the broker that leads, where one says so within `within`.
    #[must_use]
    pub fn leader(&self, within: Duration) -> Option<usize> {
        let leads =
            |status: BrokerStatus| (status.raft.role == Role::Leader).then_some(status.raft.term);
        let terms = self.nodes.iter().enumerate().filter_map(|(ordinal, node)| {
            Some((node.admin.status(within).ok().and_then(leads)?, ordinal))
        });
        // One that was cut off may not know yet that it leads no more.
        terms.max().map(|(_, ordinal)| ordinal)
    }

    /// Waits until every broker is ready.
    ///
    /// # Errors
    /// One is not within `within`: why.
    pub fn ready(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        for node in &self.nodes {
            until_deadline(&format!("{} is ready", node.name), deadline, || {
                let (code, why) = node.admin.call("GET", path::READYZ, "", ANSWERS_WITHIN)?;
                ensure!(code == 200, "{why}");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Broker `ordinal` as a client sees it.
    ///
    /// # Errors
    /// The authority's file can't be read.
    pub fn target(&self, ordinal: usize, is_tls: bool, version: Version) -> Result<Target> {
        let node = &self.nodes[ordinal];
        let tls = if is_tls { Some(Tls::read(&self.ca, None, "localhost")?) } else { None };
        let address = if is_tls { node.tls } else { node.plain };
        Ok(Target { address, tls, login: Some(self.login.clone()), version })
    }
}

/// A user who may do everything, with a password.
fn policy(login: &Login) -> Result<Policy> {
    let password = login.password.as_deref().unwrap_or_default();
    // One round: what a password costs is not what is looked at, and this one is as good as random.
    let hash = PasswordHash::pbkdf2_sha512(password.as_bytes(), &[7; 16], 1)?;
    let mut role = PolicyRole::new("everything");
    role.acls = [
        (AclType::PublishClientSend, "#"),
        (AclType::PublishClientReceive, "#"),
        (AclType::SubscribePattern, "#"),
        (AclType::SubscribePattern, "$share/+/#"),
        (AclType::UnsubscribePattern, "#"),
        (AclType::UnsubscribePattern, "$share/+/#"),
    ]
    .map(|(acl_type, topic)| Acl { acl_type, topic: topic.to_owned(), priority: 0, allow: true })
    .to_vec();
    let client = Client {
        username: login.username.clone(),
        password: Some(hash),
        roles: vec![RoleAssignment::new("everything")],
        ..Client::default()
    };
    Ok(Policy::from_records([Record::Client(client), Record::Role(role)])?)
}

/// A password that nobody else on this machine knows.
fn password() -> Result<String> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn accepted(node: &Node, path: &str, body: &str) -> Result<()> {
    until(&format!("{} accepts {path}", node.name), || {
        let (code, answer) = node.admin.call("POST", path, body, ANSWERS_WITHIN)?;
        ensure!(code == 200, "{code}: {answer}");
        Ok(())
    })
}

/// Addresses of this machine for brokers that need no namespace: the run's own of 127.0.0.0/8, so that nobody else listens there.
#[must_use]
pub fn loopback(brokers: usize, folder: &Path) -> Vec<Place> {
    let run = (std::process::id() % 250) as u8 + 1;
    let place = |ordinal: usize| Place {
        address: [127, 77, run, ordinal as u8 + 1].into(),
        namespace: None,
        data: folder.join(format!("data-{ordinal}")),
    };
    (0..brokers).map(place).collect()
}

fn until<T>(what: &str, ask: impl FnMut() -> Result<T>) -> Result<T> {
    until_deadline(what, Instant::now() + READY_WITHIN, ask)
}

fn until_deadline<T>(
    what: &str,
    deadline: Instant,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("not in time: {what}")));
            }
            Err(_) => std::thread::sleep(ASK_AGAIN),
        }
    }
}
