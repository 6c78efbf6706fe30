//! A listener of a cluster: where MQTT clients connect. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{annotations, bounded};

/// What is spoken on a listener.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT over TCP, unencrypted.
    Mqtt,
    /// MQTT over TLS.
    #[default]
    Mqtts,
    /// MQTT over WebSocket, unencrypted.
    Ws,
    /// MQTT over WebSocket over TLS.
    Wss,
}

impl Protocol {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Mqtts | Self::Wss)
    }

    /// The scheme of a URI for it, such as `mqtts`.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// A way in which a client may say who it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AuthenticationMethod {
    /// Username and password.
    Password,
    /// The common name of a client certificate.
    X509,
}

/// Whether a listener asks its clients for a certificate.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// It doesn't ask.
    None,
    /// It asks, and verifies the one it gets.
    Optional,
    /// It refuses a client without a valid one.
    Required,
}

/// The kind of Service in front of a listener.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Reachable inside the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// Reachable at a port of each Kubernetes node.
    NodePort,
    /// Reachable at a load balancer of the cloud.
    LoadBalancer,
}

impl ServiceType {
    /// The name Kubernetes has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

/// The Service in front of a listener.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.nodePort) || self.type != 'ClusterIP'",
     "message": "nodePort needs service.type NodePort or LoadBalancer"},
]))]
#[serde(rename_all = "camelCase")]
pub struct ListenerService {
    /// The Service's type.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// The port on each Kubernetes node; default: one that Kubernetes chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub node_port: Option<i32>,
    /// Annotations of the Service, for a load balancer's controller.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// Limits of one listener on each broker.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ListenerLimits {
    /// How many connections may be open at once.
    #[serde(default = "default_connections")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub connections: u32,
    /// How many connections may be opened each second.
    #[serde(default = "default_connections_per_second")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_per_second: u32,
}

fn default_connections() -> u32 {
    100_000
}

fn default_connections_per_second() -> u32 {
    1_000
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: default_connections(),
            connections_per_second: default_connections_per_second(),
        }
    }
}

/// Where MQTT clients connect.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "self.protocol in ['mqtts', 'wss'] || self.acknowledgePlaintext",
     "message": "this listener is not encrypted: use protocol mqtts or wss, or set acknowledgePlaintext: true"},
    {"rule": "self.protocol in ['mqtts', 'wss'] || !has(self.authentication) || \
         !('x509' in self.authentication)",
     "message": "x509 needs an encrypted listener: use protocol mqtts or wss, or leave x509 out"},
    {"rule": "self.protocol in ['mqtts', 'wss'] || !has(self.clientCertificates) || \
         self.clientCertificates == 'none'",
     "message": "clientCertificates needs an encrypted listener: use protocol mqtts or wss, or leave it out"},
    {"rule": "!has(self.authentication) || !('x509' in self.authentication) || \
         !has(self.clientCertificates) || self.clientCertificates != 'none'",
     "message": "x509 needs client certificates: set clientCertificates to optional or required, or leave \
         x509 out of authentication"},
    {"rule": "self.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && !self.name.contains('--')",
     "message": "a listener's name consists of lower-case letters, digits and -, and starts with a letter"},
    {"rule": "!self.name.endsWith('brokers')",
     "message": "a listener's name must not end with brokers, which names the Service between the brokers"},
    {"rule": "self.port >= 1024 && self.port <= 65535 && !(self.port in [7883, 8443])",
     "message": "port must be from 1024 to 65535, and neither 7883 (between brokers) nor 8443 (admin API)"},
]))]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// The name, at most 15 characters; the Service is called `<cluster>-<name>`.
    #[schemars(schema_with = "bounded::<15>")]
    pub name: String,
    /// What is spoken: MQTT, or MQTT in WebSocket messages (ws, wss), on any path.
    #[serde(default)]
    pub protocol: Protocol,
    /// The port of the brokers and of the Service.
    pub port: i32,
    /// How clients may say who they are; default: password, and x509 where it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    pub authentication: Option<Vec<AuthenticationMethod>>,
    /// Whether clients are asked for a certificate; default: optional where it is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// Must be true for a listener that is not encrypted.
    #[serde(default)]
    pub acknowledge_plaintext: bool,
    /// The Service in front of it.
    #[serde(default)]
    pub service: ListenerService,
    /// Limits on each broker.
    #[serde(default)]
    pub limits: ListenerLimits,
}

impl Listener {
    /// The listener that a cluster has when none is named: `tls` at port 8883.
    #[must_use]
    pub fn tls() -> Self {
        Self {
            name: "tls".into(),
            protocol: Protocol::Mqtts,
            port: 8883,
            authentication: None,
            client_certificates: None,
            acknowledge_plaintext: false,
            service: ListenerService::default(),
            limits: ListenerLimits::default(),
        }
    }

    /// How clients may say who they are, with the default filled in.
    #[must_use]
    pub fn authentication_methods(&self) -> Vec<AuthenticationMethod> {
        match &self.authentication {
            Some(methods) => methods.clone(),
            None if self.client_certificates() == ClientCertificates::None => {
                vec![AuthenticationMethod::Password]
            }
            None => vec![AuthenticationMethod::Password, AuthenticationMethod::X509],
        }
    }

    /// Whether clients are asked for a certificate, with the default filled in.
    #[must_use]
    pub fn client_certificates(&self) -> ClientCertificates {
        let wants_x509 = self
            .authentication
            .as_ref()
            .is_none_or(|methods| methods.contains(&AuthenticationMethod::X509));
        match self.client_certificates {
            Some(client_certificates) => client_certificates,
            None if self.protocol.is_tls() && wants_x509 => ClientCertificates::Optional,
            None => ClientCertificates::None,
        }
    }
}
