//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::telemetry::LogFormat;

/// What the program was called with.
#[derive(Debug, Parser)]
#[command(
    name = "mqtt-operator",
    version,
    about = "Runs Dunlin's MQTT broker clusters from manifests: on Kubernetes, or on this machine.",
    after_help = AFTER_HELP,
    arg_required_else_help = true
)]
pub struct Args {
    /// What is logged to standard error: a level (error, warn, info, debug, trace), also by module.
    #[arg(long, value_name = "LEVEL", env = "DUNLIN_LOG", global = true)]
    pub log: Option<String>,
    /// How a log line looks.
    #[arg(long, value_name = "FORMAT", env = "DUNLIN_LOG_FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
First steps, without Kubernetes:
  mqtt-operator local up -f examples/quickstart/   three brokers on this machine, until Ctrl-C
  mqtt-operator local get                          from another terminal: the objects and their status
  mqtt-operator local status --wait 60s            ends with 0 as soon as everything is Ready

On Kubernetes the chart in charts/mqtt-operator runs `mqtt-operator run`; the manifests are the same.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run on Kubernetes: watch MqttCluster, MqttUser and MqttAcl, and keep them true.
    Run(RunArgs),
    /// Run the same manifests on this machine, without Kubernetes.
    #[command(subcommand, after_help = LOCAL_HELP)]
    Local(LocalCommand),
}

const LOCAL_HELP: &str = "\
`local up` reads MqttCluster, MqttUser, MqttAcl and Secret from the *.yaml, *.yml and *.json of a folder, starts the brokers as \
child processes on loopback, and keeps watching the folder: save a file, and the change is enforced. Everything it makes (keys, \
passwords, data, logs, the objects' status) is below the state folder, by default ./.dunlin; start again and it goes on from there.";

/// `mqtt-operator run`.
#[derive(Debug, Clone, ClapArgs)]
pub struct RunArgs {
    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub http_listen: SocketAddr,
    /// How many objects of a kind are reconciled at the same time.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
    /// A namespace to look after; may be given several times. Default: all of them.
    #[arg(long = "watch-namespace", value_name = "NAMESPACE")]
    pub watch_namespaces: Vec<String>,
    /// This process's name among the candidates for leadership.
    #[arg(long, value_name = "NAME", env = "POD_NAME", default_value = "mqtt-operator")]
    pub identity: String,
    /// The namespace that the operator runs in; its Lease is there.
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
}

/// `mqtt-operator local …`.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    /// Start what a folder of manifests describes, and follow its edits until Ctrl-C.
    Up(UpArgs),
    /// Print objects with their status, as kubectl get does.
    Get(GetArgs),
    /// Say whether everything is Ready, and what is missing otherwise.
    Status(StatusArgs),
    /// Stop what `local up` runs; data, keys and passwords stay.
    Down(DownArgs),
}

/// The folder that holds all that `local up` makes.
#[derive(Debug, Clone, ClapArgs)]
pub struct StateArgs {
    /// The state folder.
    #[arg(long, value_name = "DIR", default_value = ".dunlin", env = "DUNLIN_STATE")]
    pub state: PathBuf,
}

/// `mqtt-operator local up`.
#[derive(Debug, Clone, ClapArgs)]
pub struct UpArgs {
    /// The folder with the manifests.
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    pub manifests: PathBuf,
    /// The state folder.
    #[command(flatten)]
    pub state: StateArgs,
    /// The broker program [default: mqtt-broker beside this program].
    #[arg(long, value_name = "PATH", env = "DUNLIN_BROKER_BINARY")]
    pub broker_binary: Option<PathBuf>,
    /// The first broker's port for the first listener, instead of the manifest's; further ones follow.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub listener_port_base: Option<u16>,
    /// Also serve /healthz, /readyz and /metrics of the operator there.
    #[arg(long, value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
}

/// `mqtt-operator local get`.
#[derive(Debug, Clone, ClapArgs)]
pub struct GetArgs {
    /// Kinds, by any name kubectl takes: mqttcluster or mqc, mqttuser or mqu, mqttacl or mqa, secret [default: mqc,mqu,mqa].
    #[arg(value_name = "KIND")]
    pub kind: Option<String>,
    /// One object's name.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How it is printed.
    #[arg(short = 'o', long, value_name = "FORMAT", default_value = "table")]
    pub output: OutputFormat,
    /// Only objects of this namespace.
    #[arg(short = 'n', long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The state folder.
    #[command(flatten)]
    pub state: StateArgs,
}

/// How `local get` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Columns.
    Table,
    /// More columns.
    Wide,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kind and name only.
    Name,
}

/// `mqtt-operator local status`.
#[derive(Debug, Clone, ClapArgs)]
pub struct StatusArgs {
    /// How long to wait for everything to be Ready, such as 60s or 2m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
    /// The state folder.
    #[command(flatten)]
    pub state: StateArgs,
}

/// `mqtt-operator local down`.
#[derive(Debug, Clone, ClapArgs)]
pub struct DownArgs {
    /// How long to wait for the brokers to stop.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub wait: Duration,
    /// The state folder.
    #[command(flatten)]
    pub state: StateArgs,
}

fn duration(text: &str) -> Result<Duration, String> {
    operator_api::measure::duration(text)
        .ok_or_else(|| "must be whole hours, minutes and seconds, as in 60s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lines_are_understood() {
        for line in [
            "mqtt-operator local up -f examples/quickstart/",
            "mqtt-operator local get",
            "mqtt-operator local get mqttcluster fleet -o json --state s",
            "mqtt-operator local status --wait 60s",
            "mqtt-operator local down",
            "mqtt-operator run --http-listen=0.0.0.0:8080 --concurrency=8 --watch-namespace=iot",
        ] {
            Args::try_parse_from(line.split(' ')).unwrap();
        }
    }

    #[test]
    fn a_time_that_is_none_says_how_to_write_it() {
        let line = ["mqtt-operator", "local", "status", "--wait", "soon"];
        let error = Args::try_parse_from(line).unwrap_err().to_string();
        assert!(error.contains("as in 60s"), "{error}");
    }
}
