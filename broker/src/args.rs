//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand};

/// What the program was called with.
#[derive(Debug, Parser)]
#[command(
    name = "mqtt-broker",
    about = "Dunlin's MQTT broker: MQTT 3.1, 3.1.1 and 5.0 over TLS, alone or in a cluster.",
    after_help = AFTER_HELP,
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Print the version.
    #[arg(long, short = 'V')]
    pub version: bool,
    /// As Mosquitto is started.
    #[command(flatten)]
    pub mosquitto: MosquittoArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Start with the operator: it writes the configuration, issues the certificates and founds the cluster.
  On Kubernetes:     kubectl apply -f examples/quickstart/
  Without:           mqtt-operator local up -f examples/quickstart/

In place of Mosquitto:
  mqtt-broker -c /etc/mosquitto/mosquitto.conf     runs alone, with its password and ACL files
  mqtt-broker -p 1883                              for this machine only, open to everybody
  mqtt-broker import-mosquitto mosquitto.conf      prints the broker's own configuration

A member of a cluster opens its MQTT listeners once the cluster is there: POST /v1/cluster/bootstrap \
on its admin API makes it a cluster of one. Until then /healthz answers 200 and /readyz says what is \
missing. A broker whose configuration has no [cluster] stands alone and opens them at once.

Signals: TERM and INT stop it (clients are told to go, 0x8B); HUP reads certificates, password and ACL \
files again.
Variables: DUNLIN_DATA_DIR, DUNLIN_WORKERS, DUNLIN_LOG_FORMAT and DUNLIN_LOG_LEVEL override the file; \
RUST_LOG overrides what is logged, by module. DUNLIN_METRICS_ADDRESS=127.0.0.1:9090 has a broker that \
stands alone serve /metrics, /healthz and /readyz there, a mosquitto.conf or not.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker until it is told to stop.
    Run(RunArgs),
    /// Say what is wrong with a configuration file, and do nothing else.
    Check(CheckArgs),
    /// Print the broker's own configuration for a mosquitto.conf, and tell what will differ.
    ImportMosquitto(ImportArgs),
    /// Print a user's line for a password file, for clients that prove their password by
    /// SCRAM-SHA-256; the password is the first line of standard input.
    ScramPassword(ScramArgs),
}

/// How Mosquitto is started.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct MosquittoArgs {
    /// Run as Mosquitto would with this mosquitto.conf.
    #[arg(
        long = "mosquitto-conf",
        short = 'c',
        visible_alias = "config-file",
        value_name = "FILE"
    )]
    pub conf: Option<PathBuf>,
    /// Run for this machine alone, on this port; with -c: where the file has no listener.
    #[arg(long, short = 'p', value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Log everything.
    #[arg(long, short = 'v')]
    pub verbose: bool,
}

impl MosquittoArgs {
    /// Whether the program is started as Mosquitto is.
    pub fn is_given(&self) -> bool {
        self.conf.is_some() || self.port.is_some() || self.verbose
    }

    /// What messages call the configuration.
    pub fn file(&self) -> &Path {
        self.conf.as_deref().unwrap_or_else(|| Path::new("-p"))
    }
}

/// `mqtt-broker run`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct RunArgs {
    /// The configuration, for example /etc/dunlin/broker.toml.
    #[arg(long, value_name = "FILE", env = "DUNLIN_CONFIG")]
    pub config: Option<PathBuf>,
    /// As Mosquitto is started, in place of --config.
    #[command(flatten)]
    pub mosquitto: MosquittoArgs,
    /// This broker's name, as in its peer certificate, for example fleet-0; a broker that stands
    /// alone needs none.
    #[arg(long, value_name = "NAME", env = "DUNLIN_NAME")]
    pub name: Option<String>,
    /// Stop, as TERM does, when standard input closes: for a parent that must not leave the broker behind.
    #[arg(long)]
    pub exit_when_stdin_closes: bool,
}

/// `mqtt-broker check`.
#[derive(Debug, ClapArgs)]
pub struct CheckArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// `mqtt-broker import-mosquitto`.
#[derive(Debug, ClapArgs)]
pub struct ImportArgs {
    /// The mosquitto.conf.
    #[arg(value_name = "FILE")]
    pub conf: PathBuf,
}

/// `mqtt-broker scram-password`.
#[derive(Debug, ClapArgs)]
pub struct ScramArgs {
    /// The user's name.
    #[arg(value_name = "USER")]
    pub username: String,
}
