//! Where clients connect, and what they must show. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use broker_config::{
    Authentication, ClientCertificates, Protocol, RawListener, RawListenerLimits, RawTls,
};

use super::Translator;
use crate::conf::Position;
use crate::model::{Listener, MosquittoConfig, Setting};

/// One set of TLS files holds for all listeners.
const TLS_FILES: [&str; 3] = ["certfile", "keyfile", "cafile"];

impl Translator<'_> {
    pub(super) fn listeners(
        &mut self,
        config: &MosquittoConfig,
    ) -> (Vec<RawListener>, Option<RawTls>) {
        let mut listeners: Vec<RawListener> = Vec::new();
        for (index, listener) in config.listeners.iter().enumerate() {
            let place = listener.at.clone().or_else(|| first_line(listener));
            let mut raw = self.listener(config, index, place.as_ref());
            let same = listeners.iter().filter(|other| other.port == raw.port).count();
            if same > 0 {
                raw.name = format!("{}-{}", raw.name, same + 1);
            }
            listeners.push(raw);
        }
        (listeners, self.tls(config))
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
            websocket_origins: Vec::new(),
            limits: Self::connections(listener),
        }
    }

    /// Whether it has a certificate.
    fn is_tls(&mut self, listener: &Listener) -> bool {
        let settings = &listener.settings;
        let (certificate, key) = (settings.get("certfile"), settings.get("keyfile"));
        if let (Some(one), None) | (None, Some(one)) = (certificate, key) {
            self.refuse(&one.at, "TLS", "it needs both certfile and keyfile: give the other too");
        }
        let asks = settings.get("require_certificate").filter(|setting| setting.text == "true");
        let is_tls = certificate.is_some();
        if let Some(setting) = asks {
            let why = "it needs certfile, keyfile and cafile for this listener";
            if !is_tls || settings.get("cafile").is_none() {
                self.refuse(&setting.at, "require_certificate", why);
            }
        }
        if let (Some(setting), false) = (settings.get("cafile"), is_tls) {
            self.refuse(&setting.at, "cafile", "it needs certfile and keyfile for this listener");
        }
        if let Some(setting) = settings.get("tls_version") {
            match setting.text.as_str() {
                "tlsv1.3" => self.refuse(
                    &setting.at,
                    "tls_version",
                    "TLS 1.2 and 1.3 are served, always: write tlsv1.2",
                ),
                "tlsv1.1" => self.warn(Some(&setting.at), "tls_version: TLS 1.2 is the least here"),
                _ => {}
            }
        }
        is_tls
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
        let by_certificate = settings.get("use_identity_as_username");
        if let Some(setting) = by_certificate.filter(|setting| setting.text == "true") {
            if !is_tls || settings.bool("require_certificate") != Some(true) {
                let why = "it needs require_certificate true";
                self.refuse(&setting.at, "use_identity_as_username", why);
            }
            return (vec![Authentication::X509], false);
        }
        if security.has_users() {
            return (vec![Authentication::Password], security.anonymous);
        }
        if security.anonymous {
            // Mosquitto believes any name where no file holds passwords. Where the ACL file of
            // another listener must not bind them, their names have to go.
            let is_elsewhere = security.acl_file.is_none()
                && (0..config.listeners.len()).any(|i| config.security(i).acl_file.is_some());
            let way =
                if is_elsewhere { Authentication::Anonymous } else { Authentication::Believed };
            return (vec![way], true);
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

    /// The files of all TLS listeners, which must be the same.
    fn tls(&mut self, config: &MosquittoConfig) -> Option<RawTls> {
        let with_tls = || config.listeners.iter().filter(|l| l.settings.get("certfile").is_some());
        with_tls().next()?;
        let mut found: [Option<&Setting>; 3] = [None; 3];
        for (place, name) in found.iter_mut().zip(TLS_FILES) {
            for setting in with_tls().filter_map(|listener| listener.settings.get(name)) {
                match place {
                    Some(first) if first.text != setting.text => {
                        let why = format!(
                            "one {name} holds for all listeners here, and {} names another",
                            first.at
                        );
                        self.refuse(&setting.at, name, why);
                    }
                    _ => *place = Some(setting),
                }
            }
        }
        let [certificate, key, ca] =
            found.map(|setting| setting.map(|setting| PathBuf::from(&setting.text)));
        let asks = |l: &Listener| l.settings.bool("require_certificate") == Some(true);
        Some(RawTls {
            server_certificate: certificate,
            server_key: key,
            client_ca: ca.filter(|_| with_tls().any(asks)),
            ..RawTls::default()
        })
    }
}

/// Something to point at where a listener has no line of its own.
fn first_line(listener: &Listener) -> Option<Position> {
    ["port", "bind_address", "certfile", "protocol"]
        .into_iter()
        .find_map(|name| listener.settings.get(name))
        .map(|setting| setting.at.clone())
}
