//! `mqtt-operator`: the command line, logging, and the platform that was asked for.

use std::process::ExitCode;

use clap::Parser;
use operator::args::{Args, Command};
use operator::telemetry::{self, LogFormat};
use operator::{kubernetes, local};

fn main() -> ExitCode {
    let args = Args::parse();
    // The whole process uses one provider; a second call would be refused, this is the first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match args.command {
        Command::Run(run) => {
            let filter = args.log.as_deref().unwrap_or("info");
            telemetry::start(filter, args.log_format.unwrap_or(LogFormat::Json))
                .and_then(|()| kubernetes::main(&run))
                .map(|()| ExitCode::SUCCESS)
        }
        Command::Local(command) => {
            let filter = args.log.as_deref().unwrap_or("warn");
            telemetry::start(filter, args.log_format.unwrap_or(LogFormat::Text))
                .and_then(|()| local::main(&command))
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
