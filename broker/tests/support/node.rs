//! Workers and listeners in this process, with the hub of [`super::hub`]: a broker without its
//! cluster.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use broker::listener::{self, BoundListener};
use broker::node::{
    Admission, AdmissionLimits, Clock, Gate, GateHandle, GateState, HUB_QUEUE_MESSAGES_MAX,
    ListenerCounters, ListenerId, ListenerReading, ToHub, ToWorker, WORKER_QUEUE_MESSAGES_MAX,
    WorkerHandle, WorkerId, WorkerReading,
};
use broker::tls::{TlsFiles, TlsStore};
use broker::worker::{self, PasswordPool, WorkerShared};
use broker_config::{Authentication, Bind, ClientCertificates, Listener, ListenerLimits, Protocol};
use broker_core::cluster_state::RetainedStore;
use broker_core::engine::EngineConfig;
use broker_policy::{Acl, AclType, Client, PasswordHash, Policy, Record, Role, RoleAssignment};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::eventually;
use super::pki::Pki;

/// A running node. Stops when dropped.
pub(crate) struct Node {
    pub(crate) pki: Pki,
    pub(crate) tls: Arc<TlsStore>,
    pub(crate) plain: SocketAddr,
    pub(crate) secure: SocketAddr,
    /// Where the listeners are bound, in their order.
    pub(crate) places: Vec<Bind>,
    pub(crate) gate: GateHandle,
    pub(crate) admission: Arc<Admission>,
    workers: Arc<[WorkerHandle]>,
    threads: Vec<std::thread::JoinHandle<std::io::Result<()>>>,
    listeners: Vec<Arc<ListenerCounters>>,
    runtime: Option<Runtime>,
    hub_queue: Option<mpsc::Receiver<ToHub>>,
    _folder: tempfile::TempDir,
}

/// What a test may choose.
pub(crate) struct Options {
    pub(crate) workers: u8,
    pub(crate) limits: ListenerLimits,
    pub(crate) admission: AdmissionLimits,
    pub(crate) engine: EngineConfig,
    pub(crate) policy: Policy,
    pub(crate) client_certificates: ClientCertificates,
    /// Bound of the queue to the hub.
    pub(crate) hub_queue: usize,
    /// Otherwise it starts with [`Node::run_hub`].
    pub(crate) hub_runs: bool,
    /// Listeners beside `plain` and `secure`.
    pub(crate) listeners: Vec<Listener>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 2,
            limits: limits(1_000, 10_000),
            admission: AdmissionLimits::NONE,
            engine: EngineConfig::default(),
            policy: policy(&["pump"]),
            client_certificates: ClientCertificates::Optional,
            hub_queue: HUB_QUEUE_MESSAGES_MAX,
            hub_runs: true,
            listeners: Vec::new(),
        }
    }
}

/// So many connections of a listener, and so many new ones a second.
pub(crate) fn limits(connections: u32, connections_per_second: u32) -> ListenerLimits {
    ListenerLimits {
        connections,
        connections_per_second,
        client_publishes_per_second: None,
        client_bytes_per_second: None,
        publishes_per_second: None,
        bytes_per_second: None,
    }
}

/// Users who may do anything, with the password `secret` or a certificate.
pub(crate) fn policy(usernames: &[&str]) -> Policy {
    let hash = PasswordHash::pbkdf2_sha512(b"secret", &[7; 16], 1).unwrap();
    let acl = |(acl_type, topic): (_, &str)| Acl {
        acl_type,
        topic: topic.to_owned(),
        priority: 0,
        allow: true,
    };
    let mut role = Role::new("all");
    role.acls = [
        (AclType::PublishClientSend, "#"),
        (AclType::PublishClientReceive, "#"),
        (AclType::SubscribePattern, "#"),
        (AclType::SubscribePattern, "$share/+/#"),
        (AclType::PublishClientReceive, "$SYS/#"),
        (AclType::SubscribePattern, "$SYS/#"),
        (AclType::UnsubscribePattern, "#"),
        (AclType::UnsubscribePattern, "$share/+/#"),
    ]
    .map(acl)
    .to_vec();
    let clients = usernames.iter().map(|username| {
        Record::Client(Client {
            username: (*username).to_owned(),
            password: Some(hash.clone()),
            certificate: true,
            roles: vec![RoleAssignment::new("all")],
            ..Client::default()
        })
    });
    Policy::from_records(clients.chain([Record::Role(role)])).unwrap()
}

fn listeners(options: &Options) -> Arc<[Listener]> {
    [("plain", Protocol::Mqtt), ("secure", Protocol::Mqtts)]
        .map(|(name, protocol)| listener(options, name, protocol))
        .into_iter()
        .chain(options.listeners.clone())
        .collect()
}

impl Node {
    pub(crate) fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::new(folder.path(), 1);
        let files =
            TlsFiles::new(Some(&pki.paths()), Some(&pki.cluster_paths()), "fleet-0").unwrap();
        let tls = Arc::new(TlsStore::load(files).unwrap());
        let listeners = listeners(&options);
        let (hub, hub_queue) = mpsc::channel(options.hub_queue);
        let (workers, inboxes): (Vec<_>, Vec<_>) = (0..options.workers)
            .map(|number| {
                let (inbox, queue) = mpsc::channel(WORKER_QUEUE_MESSAGES_MAX);
                let counters = Arc::default();
                (WorkerHandle { id: WorkerId(number), inbox, counters }, queue)
            })
            .unzip();
        let workers: Arc<[WorkerHandle]> = workers.into();
        let shared = WorkerShared {
            clock: Clock::start(),
            engine: options.engine,
            listeners: Arc::clone(&listeners),
            tls: Arc::clone(&tls),
            passwords: Arc::new(PasswordPool::start(1).unwrap()),
            secret: Arc::default(),
            policy: Arc::new(options.policy),
            retained: Arc::new(RetainedStore::default()),
            sessions: None,
            hub,
            workers: Arc::clone(&workers),
        };
        let threads = workers
            .iter()
            .zip(inboxes)
            .map(|(handle, inbox)| worker::start(shared.clone(), handle.clone(), inbox).unwrap())
            .collect();
        drop(shared);
        let (gate, watcher) = GateHandle::closed("starting");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let bound = bind(&listeners);
        let places: Vec<Bind> = bound.iter().map(|bound| bound.place.clone()).collect();
        let counters = bound.iter().map(|bound| Arc::clone(&bound.counters)).collect();
        let admission = Admission::new(options.admission);
        for bound in bound {
            let watcher: Gate = watcher.clone();
            let admission = Arc::clone(&admission);
            runtime.spawn(listener::run(bound, Arc::clone(&workers), admission, watcher));
        }
        runtime.spawn(broker::tls::watch(Arc::clone(&tls)));
        gate.set(GateState::Open);
        let mut node = Self {
            pki,
            tls,
            plain: address(&places[0]),
            secure: address(&places[1]),
            places,
            gate,
            admission,
            workers,
            threads,
            listeners: counters,
            runtime: Some(runtime),
            hub_queue: Some(hub_queue),
            _folder: folder,
        };
        if options.hub_runs {
            node.run_hub();
        }
        node.wait_until_open();
        node
    }

    /// Starts the hub, once.
    pub(crate) fn run_hub(&mut self) {
        let (Some(queue), Some(runtime)) = (self.hub_queue.take(), &self.runtime) else {
            panic!("the hub runs already");
        };
        runtime.spawn(super::hub::run(Arc::clone(&self.workers), queue));
    }

    /// Waits until both listeners accept, and have forgotten who asked.
    pub(crate) fn wait_until_open(&self) {
        for address in [self.plain, self.secure] {
            eventually("the listener accepts", || TcpStream::connect(address).ok());
        }
        eventually("nobody is connected", || {
            // One that is still in the backlog is not counted yet.
            let is_gone = |listener: &Arc<ListenerCounters>| {
                let reading = listener.read();
                reading.accepted + reading.refused > 0 && reading.connections == 0
            };
            let is_gone =
                self.admission.read().open == 0 && self.listeners[..2].iter().all(is_gone);
            is_gone.then_some(())
        });
    }

    /// Hands every worker a message.
    pub(crate) fn tell_workers(&self, message: impl Fn() -> ToWorker) {
        for worker in self.workers.iter() {
            worker.inbox.blocking_send(message()).unwrap();
        }
    }

    pub(crate) fn worker_readings(&self) -> Vec<WorkerReading> {
        self.workers.iter().map(|worker| worker.counters.read()).collect()
    }

    /// Of the plain listener.
    pub(crate) fn plain_reading(&self) -> ListenerReading {
        self.listeners[0].read()
    }

    /// Stops the workers and waits for them.
    pub(crate) fn stop(&mut self) {
        for worker in self.workers.iter() {
            let _ = worker.inbox.blocking_send(ToWorker::Stop);
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The address of a listener that is not on a Unix socket.
pub(crate) fn address(place: &Bind) -> SocketAddr {
    let Bind::Tcp(address) = place else { panic!("{place} is no address") };
    *address
}

pub(crate) fn listener(options: &Options, name: &str, protocol: Protocol) -> Listener {
    let is_tls = protocol.is_tls();
    Listener {
        name: name.to_owned(),
        protocol,
        bind: Bind::Tcp("127.0.0.1:0".parse().unwrap()),
        proxy_protocol: false,
        authentication: if is_tls {
            vec![Authentication::Password, Authentication::X509]
        } else {
            vec![Authentication::Password]
        },
        anonymous: true,
        client_certificates: if is_tls {
            options.client_certificates
        } else {
            ClientCertificates::None
        },
        websocket_origins: Vec::new(),
        certificate_username: Default::default(),
        tls: None,
        policy: None,
        mqtt: Default::default(),
        limits: options.limits,
    }
}

fn bind(listeners: &[Listener]) -> Vec<BoundListener> {
    (0u8..)
        .zip(listeners)
        .map(|(id, listener)| BoundListener::bind(ListenerId(id), listener.clone()).unwrap())
        .collect()
}
