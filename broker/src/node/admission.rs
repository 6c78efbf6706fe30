//! How many connections the process has, in all, of each address and of each user, and who is to be
//! told that there are too many, there or on a listener. Touched when a client comes and goes, never by its messages.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use broker_core::codec::ReasonCode;
use broker_core::engine::Pressure;
use broker_core::types::ClientId;

use crate::sync::lock;

/// Connections that are let in only to be told why they can't stay; who comes beyond them is
/// closed at once. Bounds what a flood of refused clients costs.
const TOLD_MAX: u64 = 256;

/// Most connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// In all.
    pub connections: u64,
    /// Of one address.
    pub per_address: u32,
    /// Of one user who has no quota of their own.
    pub per_user: u32,
}

impl AdmissionLimits {
    /// No limit.
    pub const NONE: Self =
        Self { connections: u64::MAX, per_address: u32::MAX, per_user: u32::MAX };
}

/// Who is refused for which limit.
#[derive(Debug, Default)]
struct Refused {
    connections: AtomicU64,
    per_listener: AtomicU64,
    per_address: AtomicU64,
    per_user: AtomicU64,
    memory: AtomicU64,
}

/// A reading of what [`Admission`] has refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionReading {
    /// Connections now, but for those that are refused.
    pub open: u64,
    /// There were as many connections as there may be.
    pub connections: u64,
    /// There were as many on the client's listener.
    pub per_listener: u64,
    /// There were as many of the client's address.
    pub per_address: u64,
    /// There were as many of the client's user.
    pub per_user: u64,
    /// Memory was scarce.
    pub memory: u64,
}

/// The connections of this process, by what limits them.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    connections: AtomicU64,
    told: AtomicU64,
    pressure: AtomicU8,
    addresses: Mutex<HashMap<IpAddr, u32>>,
    /// Client Identifiers of each user, with how many connections hold them: one that is taken
    /// over counts once.
    users: Mutex<HashMap<Arc<str>, HashMap<ClientId, u32>>>,
    refused: Refused,
}

impl Admission {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            connections: AtomicU64::new(0),
            told: AtomicU64::new(0),
            pressure: AtomicU8::new(0),
            addresses: Mutex::default(),
            users: Mutex::default(),
            refused: Refused::default(),
        })
    }

    /// What was refused so far.
    #[must_use]
    pub fn read(&self) -> AdmissionReading {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        AdmissionReading {
            open: get(&self.connections),
            connections: get(&self.refused.connections),
            per_listener: get(&self.refused.per_listener),
            per_address: get(&self.refused.per_address),
            per_user: get(&self.refused.per_user),
            memory: get(&self.refused.memory),
        }
    }

    /// From now on nobody new comes in, or again everybody.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.pressure.store(u8::from(pressure == Pressure::Refuse), Ordering::Relaxed);
    }

    /// A client is there, from this address if it is known, on a listener that has as many
    /// connections as it may or not. `None`: it is to be closed at once, as many are being told
    /// already why they can't stay.
    #[must_use]
    pub fn enter(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        is_listener_full: bool,
    ) -> Option<Place> {
        let mut place = Place {
            admission: Arc::clone(self),
            is_counted: false,
            refusal: None,
            is_in: Cell::new(false),
            counted: RefCell::default(),
        };
        if self.pressure.load(Ordering::Relaxed) != 0 {
            place.refuse(ReasonCode::ServerBusy, &self.refused.memory);
        } else if is_listener_full {
            place.refuse(ReasonCode::QuotaExceeded, &self.refused.per_listener);
        } else if !place.is_one_of(self.limits.connections) {
            place.refuse(ReasonCode::QuotaExceeded, &self.refused.connections);
        } else if let Some(address) = address {
            place.came_from(address);
        }
        let is_too_many = place.refusal.is_some() && self.told.load(Ordering::Relaxed) > TOLD_MAX;
        (!is_too_many).then_some(place)
    }

    fn leave_address(&self, address: IpAddr) {
        let mut addresses = lock(&self.addresses);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }

    fn log_out(&self, username: &Arc<str>, client_id: &ClientId) {
        let mut users = lock(&self.users);
        let Some(clients) = users.get_mut(username) else { return };
        if let Some(count) = clients.get_mut(client_id) {
            *count -= 1;
            if *count == 0 {
                clients.remove(client_id);
            }
        }
        if clients.is_empty() {
            users.remove(username);
        }
    }
}

/// A connection among those that [`Admission`] counts; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    /// Whether it is one of all connections: who is refused is not.
    is_counted: bool,
    refusal: Option<ReasonCode>,
    /// Whether its client has come in: who proves again to be somebody stays.
    is_in: Cell<bool>,
    /// What it is counted under; most connections have none of it.
    counted: RefCell<Option<Box<Counted>>>,
}

/// What a connection is counted under.
#[derive(Debug, Default)]
struct Counted {
    /// As the proxy in front said.
    proxied: Option<SocketAddr>,
    address: Option<IpAddr>,
    user: Option<(Arc<str>, ClientId)>,
}

impl Place {
    /// What its CONNECT is to be refused with.
    #[must_use]
    pub const fn refusal(&self) -> Option<ReasonCode> {
        self.refusal
    }

    /// Counts it, if there are fewer than `max`.
    fn is_one_of(&mut self, max: u64) -> bool {
        let count = self.admission.connections.fetch_add(1, Ordering::Relaxed);
        self.is_counted = true;
        if count >= max {
            self.uncount();
        }
        self.is_counted
    }

    fn uncount(&mut self) {
        if std::mem::take(&mut self.is_counted) {
            self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn refuse(&mut self, reason_code: ReasonCode, counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
        self.uncount();
        if self.refusal.replace(reason_code).is_none() {
            self.admission.told.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A proxy's header is read: it is of this address.
    pub fn is_of_proxy(&mut self, client: SocketAddr) {
        self.counted.get_mut().get_or_insert_default().proxied = Some(client);
        self.came_from(client.ip());
    }

    /// Where it is from, if a proxy has said so.
    #[must_use]
    pub fn proxied(&self) -> Option<SocketAddr> {
        self.counted.borrow().as_ref().and_then(|counted| counted.proxied)
    }

    /// It is of this address, as the system says or a proxy.
    pub fn came_from(&mut self, address: IpAddr) {
        let admission = Arc::clone(&self.admission);
        let max = admission.limits.per_address;
        let is_counted = self.counted.get_mut().as_ref().is_some_and(|c| c.address.is_some());
        if max == u32::MAX || is_counted || self.refusal.is_some() {
            return;
        }
        // An IPv4 client of a socket for both is the same client.
        let address = address.to_canonical();
        let mut addresses = lock(&admission.addresses);
        let count = addresses.entry(address).or_default();
        if *count >= max {
            drop(addresses);
            return self.refuse(ReasonCode::QuotaExceeded, &admission.refused.per_address);
        }
        *count += 1;
        self.counted.get_mut().get_or_insert_default().address = Some(address);
    }

    /// Its client has proved to be this user, whose own quota may be given. Whether the user may
    /// have one connection more; one with a Client Identifier that another connection of the user
    /// holds takes that over, and is no more.
    pub fn log_in(&self, username: &Arc<str>, client_id: &ClientId, quota: Option<u32>) -> bool {
        let max = quota.unwrap_or(u32::MAX).min(self.admission.limits.per_user);
        if self.is_in.get() || max == u32::MAX {
            self.is_in.set(true);
            return true;
        }
        let mut users = lock(&self.admission.users);
        let clients = users.entry(Arc::clone(username)).or_default();
        if !clients.contains_key(client_id) && clients.len() >= max as usize {
            self.admission.refused.per_user.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        *clients.entry(client_id.clone()).or_default() += 1;
        self.is_in.set(true);
        self.counted.borrow_mut().get_or_insert_default().user =
            Some((Arc::clone(username), client_id.clone()));
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.uncount();
        if self.refusal.is_some() {
            self.admission.told.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(counted) = self.counted.take() else { return };
        if let Some(address) = counted.address {
            self.admission.leave_address(address);
        }
        if let Some((username, client_id)) = counted.user {
            self.admission.log_out(&username, &client_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some([10, 0, 0, last].into())
    }

    #[test]
    fn places_are_given_back_and_each_limit_refuses_what_is_above_it() {
        let limits = AdmissionLimits { connections: 3, per_address: 2, ..AdmissionLimits::NONE };
        let admission = Admission::new(limits);
        let enter = |last| admission.enter(address(last), false).unwrap();
        let (a, b) = (enter(1), enter(1));
        assert_eq!((a.refusal(), b.refusal()), (None, None));
        let c = enter(1);
        assert_eq!(c.refusal(), Some(ReasonCode::QuotaExceeded), "three of one address");
        drop(c);
        let d = enter(2);
        assert_eq!(d.refusal(), None);
        let e = enter(3);
        assert_eq!(e.refusal(), Some(ReasonCode::QuotaExceeded), "four in all");
        drop((a, e));
        assert_eq!(enter(1).refusal(), None);
        let reading = admission.read();
        assert_eq!((reading.connections, reading.per_address, reading.memory), (1, 1, 0));
        drop((b, d));
        assert!(lock(&admission.addresses).is_empty());
        assert_eq!(admission.connections.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_ipv4_address_is_the_same_on_a_socket_for_both_and_a_proxy_names_it_later() {
        let limits = AdmissionLimits { per_address: 1, ..AdmissionLimits::NONE };
        let admission = Admission::new(limits);
        let _first = admission.enter(address(1), false).unwrap();
        let mut proxied = admission.enter(None, false).unwrap();
        assert_eq!(proxied.refusal(), None);
        let client = "[::ffff:10.0.0.1]:7".parse().unwrap();
        proxied.is_of_proxy(client);
        assert_eq!(proxied.refusal(), Some(ReasonCode::QuotaExceeded));
        assert_eq!(proxied.proxied(), Some(client));
    }

    #[test]
    fn nobody_comes_in_while_memory_is_scarce_and_a_flood_is_not_told() {
        let admission = Admission::new(AdmissionLimits::NONE);
        admission.set_pressure(Pressure::Slow);
        assert_eq!(admission.enter(None, false).unwrap().refusal(), None);
        admission.set_pressure(Pressure::Refuse);
        let told: Vec<_> = std::iter::from_fn(|| admission.enter(None, false)).take(1000).collect();
        assert_eq!(told.len() as u64, TOLD_MAX);
        assert!(told.iter().all(|place| place.refusal() == Some(ReasonCode::ServerBusy)));
        drop(told);
        admission.set_pressure(Pressure::None);
        assert_eq!(admission.enter(None, false).unwrap().refusal(), None);
    }

    #[test]
    fn who_finds_a_listener_full_is_told_and_is_none_of_all_connections() {
        let admission = Admission::new(AdmissionLimits { per_address: 1, ..AdmissionLimits::NONE });
        let told: Vec<_> =
            std::iter::from_fn(|| admission.enter(address(1), true)).take(1000).collect();
        assert_eq!(told.len() as u64, TOLD_MAX);
        assert!(told.iter().all(|place| place.refusal() == Some(ReasonCode::QuotaExceeded)));
        let reading = admission.read();
        assert_eq!((reading.per_listener, reading.open, reading.per_address), (257, 0, 0));
        drop(told);
        assert_eq!(admission.enter(address(1), false).unwrap().refusal(), None);
    }

    #[test]
    fn a_user_has_as_many_clients_as_the_quota_says_and_a_take_over_is_no_more() {
        let admission = Admission::new(AdmissionLimits { per_user: 5, ..AdmissionLimits::NONE });
        let enter = || admission.enter(None, false).unwrap();
        let user: Arc<str> = "pump".into();
        let id = ClientId::new;
        let (first, again, second) = (enter(), enter(), enter());
        assert!(first.log_in(&user, &id("a"), Some(1)));
        assert!(again.log_in(&user, &id("a"), Some(1)), "it takes the first one over");
        assert!(!second.log_in(&user, &id("b"), Some(1)));
        assert!(second.log_in(&"other".into(), &id("b"), Some(1)));
        drop(first);
        assert!(!enter().log_in(&user, &id("c"), Some(1)), "the newer one is still there");
        drop(again);
        assert!(enter().log_in(&user, &id("c"), Some(1)));
        assert_eq!(admission.read().per_user, 2);
        drop(second);
        assert!(lock(&admission.users).is_empty());
    }
}
