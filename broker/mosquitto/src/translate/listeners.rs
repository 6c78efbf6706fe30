//! Where clients connect, and what they must show. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use broker_config::{
    Authentication, CertificateUsername, ClientCertificates, Protocol, RawListener,
    RawListenerLimits, RawMqtt, RawPolicy, RawTls, is_origin,
};

use super::Translator;
use super::policy::Policies;
use super::tls::{own_files, shared_files};
use crate::conf::Position;
use crate::model::{Listener, MosquittoConfig};

impl Translator<'_> {
    /// The listeners, and the files and the policy that they have in common.
    pub(super) fn listeners(
        &mut self,
        config: &MosquittoConfig,
        mqtt: &RawMqtt,
    ) -> (Vec<RawListener>, Option<RawTls>, Option<RawPolicy>) {
        let mut listeners: Vec<RawListener> = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let place = listener.at.clone().or_else(|| first_line(listener));
            let mut raw = self.listener(config, index, place.as_ref());
            raw.mqtt = self.protocol_options(config, index, mqtt);
            let same = listeners.iter().filter(|other| other.port == raw.port).count();
            if same > 0 {
                raw.name = format!("{}-{}", raw.name, same + 1);
            }
            listeners.push(raw);
        }
        let policy = match self.policies(config) {
            Policies::Same(policy) => Some(policy),
            Policies::Own(policies) => {
                for (listener, own) in listeners.iter_mut().zip(policies) {
                    listener.policy = Some(own);
                }
                None
            }
        };
        let tls = shared_files(&mut listeners);
        (listeners, tls, policy)
    }

    fn listener(
        &mut self,
        config: &MosquittoConfig,
        index: usize,
        at: Option<&Position>,
    ) -> RawListener {
        let listener = &config.listeners[index];
        let is_tls = self.is_tls(listener);
        let protocol = self.protocol(listener, is_tls);
        let (authentication, anonymous) = self.authentication(config, index, is_tls, at);
        let client_certificates = match listener.settings.bool("require_certificate") {
            Some(true) if is_tls => ClientCertificates::Required,
            _ => ClientCertificates::None,
        };
        let unix_socket = listener.host.as_ref().filter(|_| listener.port == 0).map(PathBuf::from);
        let name = match &unix_socket {
            Some(_) => "unix".to_owned(),
            None => format!("port-{}", listener.port),
        };
        RawListener {
            name,
            protocol,
            address: self.address(listener, at),
            port: unix_socket.is_none().then_some(listener.port),
            acknowledge_plaintext: !protocol.is_tls() && unix_socket.is_none(),
            unix_socket,
            proxy_protocol: listener.settings.get("enable_proxy_protocol").is_some(),
            authentication,
            anonymous: Some(anonymous),
            client_certificates: Some(client_certificates),
            websocket_origins: self.origins(listener, protocol),
            certificate_username: certificate_username(listener),
            tls: own_files(listener),
            policy: None,
            mqtt: Default::default(),
            limits: Self::connections(listener),
        }
    }

    fn protocol(&mut self, listener: &Listener, is_tls: bool) -> Protocol {
        let setting = listener.settings.get("protocol");
        if let Some(setting) = setting.filter(|setting| setting.text == "http_api") {
            let why = "there is no HTTP API of this kind; remove the listener";
            self.refuse(&setting.at, "protocol", why);
        }
        match (setting.is_some_and(|setting| setting.text == "websockets"), is_tls) {
            (false, false) => Protocol::Mqtt,
            (false, true) => Protocol::Mqtts,
            (true, false) => Protocol::Ws,
            (true, true) => Protocol::Wss,
        }
    }

    /// The pages that may connect, where some are named.
    fn origins(&mut self, listener: &Listener, protocol: Protocol) -> Vec<String> {
        let name = "websockets_origin";
        let named = listener.settings.all(name);
        if let Some(first) = named.first().filter(|_| !protocol.is_websocket()) {
            let why = "ignored, as the listener has no protocol websockets";
            self.warn(Some(&first.at), format!("{name}: {why}"));
            return Vec::new();
        }
        for origin in named.iter().filter(|origin| !is_origin(&origin.text)) {
            let why = "it is no origin as browsers name one, such as https://app.example.org";
            self.refuse(&origin.at, name, why);
        }
        named.iter().map(|origin| origin.text.clone()).collect()
    }

    /// How a client proves its name, and whether it may come without one.
    fn authentication(
        &mut self,
        config: &MosquittoConfig,
        index: usize,
        is_tls: bool,
        at: Option<&Position>,
    ) -> (Vec<Authentication>, bool) {
        let settings = &config.listeners[index].settings;
        let security = config.security(index);
        for name in ["use_identity_as_username", "use_subject_as_username"] {
            let setting = settings.get(name).filter(|setting| setting.text == "true");
            let Some(setting) = setting else { continue };
            if !is_tls || settings.bool("require_certificate") != Some(true) {
                self.refuse(&setting.at, name, "it needs require_certificate true");
            }
            return (vec![Authentication::X509], false);
        }
        if security.has_users() {
            return (vec![Authentication::Password], security.anonymous);
        }
        if security.anonymous {
            // Mosquitto believes any name where no file holds passwords.
            return (vec![Authentication::Believed], true);
        }
        let why =
            "nobody can connect here: there is neither password_file nor allow_anonymous true";
        self.warn(at, format!("listener: {why}"));
        (vec![Authentication::Password], false)
    }

    fn address(&mut self, listener: &Listener, at: Option<&Position>) -> IpAddr {
        let domain = listener.settings.get("socket_domain");
        let everywhere = match domain.map(|domain| domain.text.as_str()) {
            Some("ipv4") => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Some(host) = &listener.host else {
            if let Some(setting) = domain.filter(|domain| domain.text == "ipv6") {
                self.warn(Some(&setting.at), "socket_domain ipv6: IPv4 is served too");
            }
            return everywhere;
        };
        if let Ok(address) = host.parse() {
            return address;
        }
        if listener.port == 0 {
            return everywhere;
        }
        match self.source.resolve(host) {
            Ok(address) => address,
            Err(reason) => {
                let (at, path) = (at.cloned(), host.clone());
                self.faults.push(crate::fault::Fault::Unreadable { at, path, reason });
                everywhere
            }
        }
    }

    fn connections(listener: &Listener) -> RawListenerLimits {
        let defaults = RawListenerLimits::default();
        let limit = |setting: Option<i64>| {
            setting.filter(|count| *count > 0).and_then(|count| u32::try_from(count).ok())
        };
        let own = limit(listener.settings.integer("max_connections"));
        let connections = own.unwrap_or(defaults.connections);
        RawListenerLimits { connections, ..defaults }
    }
}

/// The subject where that is asked for and the common name is not, as Mosquitto has it.
fn certificate_username(listener: &Listener) -> CertificateUsername {
    let is_set = |name: &str| listener.settings.bool(name) == Some(true);
    match is_set("use_subject_as_username") && !is_set("use_identity_as_username") {
        true => CertificateUsername::Subject,
        false => CertificateUsername::CommonName,
    }
}

/// Something to point at where a listener has no line of its own.
fn first_line(listener: &Listener) -> Option<Position> {
    ["port", "bind_address", "certfile", "protocol"]
        .into_iter()
        .find_map(|name| listener.settings.get(name))
        .map(|setting| setting.at.clone())
}
