//! Reports on standard output, for people or for programs.

use std::fmt::Display;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object; times are in microseconds and sizes in bytes, as the names say.
    Json,
}

/// How the report is written.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// How the report is written.
    #[arg(long, short = 'o', value_enum, default_value = "text")]
    pub output: Format,
}

impl OutputArgs {
    /// Prints the report.
    ///
    /// # Errors
    /// It can't be written as JSON.
    pub fn print(self, report: &(impl Display + Serialize)) -> Result<()> {
        match self.output {
            Format::Text => println!("{report}"),
            Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
        }
        Ok(())
    }
}
