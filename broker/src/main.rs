//! `mqtt-broker`: reads the command line and does what it says.

use std::io::Write as _;
use std::process::ExitCode;

use broker::args::{Args, CheckArgs, Command, ImportArgs, RunArgs, ScramArgs};
use broker::telemetry::Chain;
use broker::{run, shutdown};
use clap::Parser as _;

/// Less memory and time for many small, long-lived pieces than the system's (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What this build reports as its version; a build for another one sets `DUNLIN_VERSION`.
const VERSION: &str = match option_env!("DUNLIN_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        _ if args.version => print(&format!("mqtt-broker {VERSION}")),
        Some(_) if args.mosquitto.is_given() => {
            Err(anyhow::anyhow!("-c, -p and -v stand alone, or after run; not before a command"))
        }
        Some(Command::Run(args)) => run(&args),
        Some(Command::Check(args)) => check(&args),
        Some(Command::ImportMosquitto(args)) => import(&args),
        Some(Command::ScramPassword(args)) => scram_password(&args),
        None if args.mosquitto.is_given() => {
            run(&RunArgs { mosquitto: args.mosquitto, ..RunArgs::default() })
        }
        None => Err(anyhow::anyhow!("say what to do: run, check or --version; --help explains")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "mqtt-broker: {}", Chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RunArgs) -> anyhow::Result<()> {
    if args.exit_when_stdin_closes {
        shutdown::stop_when_stdin_closes()?;
    }
    run::run(args, VERSION).map_err(anyhow::Error::from)
}

fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let loaded = run::load(&args.config)?;
    print(&format!("{} is valid, digest {}", args.config.display(), loaded.digest))
}

fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let imported = run::import_mosquitto(&args.conf)?;
    for warning in imported.warnings {
        writeln!(std::io::stderr(), "{warning}")?;
    }
    Ok(write!(std::io::stdout(), "{}", imported.text)?)
}

fn scram_password(args: &ScramArgs) -> anyhow::Result<()> {
    let mut password = zeroize::Zeroizing::new(String::new());
    std::io::stdin().read_line(&mut password)?;
    print(&run::scram_line(&args.username, password.trim_end_matches(['\n', '\r']))?)
}

fn print(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
