//! The cluster under test, driven by kubectl, docker and helm as a person drives it.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use serde_json::Value;

use crate::device::{Device, Identity};
use crate::program::{eventually, run, run_with_input};
use crate::tunnel::{Credentials, Tunnel};

/// The namespace of the operator.
pub(super) const OPERATOR_NAMESPACE: &str = "dunlin-system";
/// The MqttCluster of the quickstart.
pub(super) const NAME: &str = "fleet";

/// A namespace with the quickstart's objects.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The namespace of the MqttCluster.
    pub namespace: String,
}

/// A `kubectl port-forward` to one broker; it ends when dropped.
#[derive(Debug)]
pub struct Forward {
    child: Child,
    address: SocketAddr,
    /// Kept open: kubectl prints a line per connection and ends when it can't.
    _stdout: BufReader<ChildStdout>,
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A device together with the tunnel and the forwarding it goes through.
pub struct Connected {
    /// The client.
    pub device: Device,
    _tunnel: Tunnel,
    _forward: Option<Forward>,
}

impl Forward {
    /// Where the forwarding listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Cluster {
    /// The cluster whose objects live in `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// kubectl in the cluster's namespace.
    ///
    /// # Errors
    /// What kubectl said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", &self.namespace];
        all.extend(arguments);
        run("kubectl", &all)
    }

    /// `kubectl apply -f -` with a manifest.
    ///
    /// # Errors
    /// What the API server said.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        run_with_input("kubectl", &["--namespace", &self.namespace, "apply", "-f", "-"], manifest)
    }

    /// An object as JSON.
    ///
    /// # Errors
    /// It isn't there.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&["get", kind, name, "-o", "json"])?)?)
    }

    /// A merge patch of an object.
    ///
    /// # Errors
    /// What the API server said.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        self.kubectl(&["patch", kind, name, "--type=merge", "-p", &patch.to_string()]).map(drop)
    }

    /// Waits until a condition is `True` for the object's newest generation.
    ///
    /// # Errors
    /// It did not become true in time; the text holds the conditions seen last.
    pub async fn wait(
        &self,
        kind: &str,
        name: &str,
        condition: &str,
        within: Duration,
    ) -> Result<()> {
        self.wait_for(kind, name, condition, "True", within).await
    }

    /// Waits until a condition has `status` for the object's newest generation.
    ///
    /// # Errors
    /// As [`Cluster::wait`].
    pub async fn wait_for(
        &self,
        kind: &str,
        name: &str,
        condition: &str,
        status: &str,
        within: Duration,
    ) -> Result<()> {
        eventually(&format!("{kind}/{name} {condition}={status}"), within, async || {
            let object = self.get(kind, name)?;
            let generation = object["metadata"]["generation"].as_i64();
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|c| c["type"] == condition);
            ensure!(
                found.is_some_and(
                    |c| c["status"] == status && c["observedGeneration"].as_i64() == generation
                ),
                "generation {generation:?}, conditions {}",
                summary(&conditions)
            );
            Ok(())
        })
        .await
    }

    /// Waits until every object of the quickstart is Ready.
    ///
    /// # Errors
    /// As [`Cluster::wait`].
    pub async fn wait_all_ready(&self, within: Duration) -> Result<()> {
        self.wait("mqttcluster", NAME, "Ready", within).await?;
        for (kind, name) in [
            ("mqttuser", "pump-17"),
            ("mqttuser", "control-room"),
            ("mqttacl", "pumps"),
            ("mqttacl", "control-room"),
        ] {
            self.wait(kind, name, "Ready", within).await?;
        }
        Ok(())
    }

    /// One decoded entry of a Secret.
    ///
    /// # Errors
    /// No such Secret or entry.
    pub fn secret(&self, name: &str, key: &str) -> Result<Vec<u8>> {
        let secret = self.get("secret", name)?;
        let text = secret["data"][key].as_str().with_context(|| format!("{name} has no {key}"))?;
        Ok(base64::engine::general_purpose::STANDARD.decode(text)?)
    }

    /// The brokers' names.
    #[must_use]
    pub fn brokers(&self) -> [String; 3] {
        [0, 1, 2].map(|ordinal| format!("{NAME}-{ordinal}"))
    }

    /// Forwards a port of loopback to a broker's pod.
    ///
    /// # Errors
    /// kubectl could not.
    pub fn forward(&self, pod: &str) -> Result<Forward> {
        let mut child = Command::new("kubectl")
            .args(["--namespace", &self.namespace, "port-forward", &format!("pod/{pod}"), ":8883"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().context("stdout")?);
        stdout.read_line(&mut line)?;
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        let Some(port) = port.and_then(|p| p.parse::<u16>().ok()) else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("kubectl port-forward pod/{pod} printed {line:?}");
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(Forward { child, address, _stdout: stdout })
    }

    /// What `user`'s Secret gives a device: what to trust, and how to log in.
    ///
    /// # Errors
    /// The Secret is missing or incomplete.
    pub fn credentials(&self, user: &str) -> Result<(Credentials, Option<(String, String)>)> {
        let ca = self.secret(&format!("{NAME}-ca-bundle"), "ca.crt")?;
        let name = format!("{user}-mqtt");
        if let Ok(certificate) = self.secret(&name, "tls.crt") {
            let certificate = Some((certificate, self.secret(&name, "tls.key")?));
            return Ok((Credentials { ca, certificate }, None));
        }
        let text = |key| -> Result<String> { Ok(String::from_utf8(self.secret(&name, key)?)?) };
        Ok((Credentials { ca, certificate: None }, Some((text("username")?, text("password")?))))
    }

    /// Connects as `user` to one broker's pod.
    ///
    /// # Errors
    /// The broker refused, or the way to it is not there.
    pub async fn device(&self, user: &str, client_id: &str, broker: &str) -> Result<Connected> {
        self.device_for(user, client_id, broker, 0).await
    }

    /// The same; the session outlives the connection for so many seconds.
    ///
    /// # Errors
    /// As [`Cluster::device`].
    pub async fn device_for(
        &self,
        user: &str,
        client_id: &str,
        broker: &str,
        session_expiry_seconds: u32,
    ) -> Result<Connected> {
        let forward = self.forward(broker)?;
        let address = forward.address;
        let connected = self.device_at(user, client_id, address, session_expiry_seconds).await?;
        Ok(Connected { _forward: Some(forward), ..connected })
    }

    /// Connects as `user` to an address that leads to the cluster; the session outlives the connection for so many seconds.
    ///
    /// # Errors
    /// As [`Cluster::device`].
    pub async fn device_at(
        &self,
        user: &str,
        client_id: &str,
        address: SocketAddr,
        session_expiry_seconds: u32,
    ) -> Result<Connected> {
        let (credentials, login) = self.credentials(user)?;
        let server_name = format!("{NAME}-tls.{}.svc", self.namespace);
        let tunnel = Tunnel::open(address, &server_name, &credentials).await?;
        let login = login.as_ref().map(|(name, password)| (name.as_str(), password.as_str()));
        let identity = Identity { client_id, login, session_expiry_seconds };
        let device = Device::connect(tunnel.port, identity).await?;
        Ok(Connected { device, _tunnel: tunnel, _forward: None })
    }

    /// The address of the listener's NodePort on a node that runs.
    ///
    /// # Errors
    /// The Service has no NodePort yet.
    pub fn node_port(&self, node: &str) -> Result<SocketAddr> {
        let service = self.get("service", &format!("{NAME}-tls"))?;
        let port = service["spec"]["ports"][0]["nodePort"].as_u64().context("no nodePort")?;
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address: Ipv4Addr = run("docker", &["inspect", "-f", format, node])?.trim().parse()?;
        Ok(SocketAddr::from((address, u16::try_from(port)?)))
    }
}

fn summary(conditions: &[Value]) -> String {
    let one = |c: &Value| {
        let text = |key: &str| c[key].as_str().unwrap_or("?").to_owned();
        let generation = c["observedGeneration"].as_i64().unwrap_or(0);
        format!(
            "{}={} ({}@{generation}: {})",
            text("type"),
            text("status"),
            text("reason"),
            text("message")
        )
    };
    conditions.iter().map(one).collect::<Vec<_>>().join("; ")
}
