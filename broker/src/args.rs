//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

/// What the program was called with.
#[derive(Debug, Parser)]
#[command(
    name = "mqtt-broker",
    about = "Dunlin's MQTT broker: MQTT 3.1.1 and 5.0 over TLS, alone or in a cluster.",
    after_help = AFTER_HELP,
    disable_version_flag = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// Print the version.
    #[arg(long, short = 'V')]
    pub version: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const AFTER_HELP: &str = "\
Start with the operator: it writes the configuration, issues the certificates and founds the cluster.
  On Kubernetes:     kubectl apply -f examples/quickstart.yaml
  Without:           mqtt-operator local up -f examples/

A broker alone opens its MQTT listeners once it belongs to a cluster: POST /v1/cluster/bootstrap on \
its admin API makes it a cluster of one. Until then /healthz answers 200 and /readyz says what is \
missing.

Signals: TERM and INT stop it (clients are told to go, 0x8B); HUP reads certificates again.
Variables: DUNLIN_DATA_DIR, DUNLIN_WORKERS, DUNLIN_LOG_FORMAT and DUNLIN_LOG_LEVEL override the file; \
RUST_LOG overrides what is logged, by module.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the broker until it is told to stop.
    Run(RunArgs),
    /// Say what is wrong with a configuration file, and do nothing else.
    Check(CheckArgs),
}

/// `mqtt-broker run`.
#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    /// The configuration, for example /etc/dunlin/broker.toml.
    #[arg(long, value_name = "FILE", env = "DUNLIN_CONFIG")]
    pub config: PathBuf,
    /// This broker's name, as in its peer certificate, for example fleet-0.
    #[arg(long, value_name = "NAME", env = "DUNLIN_NAME")]
    pub name: String,
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
