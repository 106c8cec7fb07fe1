//! The log: lines on standard error, for people or for machines.

use clap::{Args, ValueEnum};
use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(super) struct Logging {
    /// Format of log lines
    #[arg(long, value_enum, default_value_t = Format::Text)]
    log_format: Format,
    // kube's client logs each failed request, which whoever sent it reports once, with the reason.
    /// Levels that are logged: error, warn, info, debug or trace, also per module
    /// (`info,sallyport::server=debug`)
    #[arg(
        long,
        value_name = "FILTER",
        env = "SALLYPORT_LOG",
        default_value = "info,kube_runtime=error,kube_client::client::builder=off"
    )]
    log_level: EnvFilter,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Logging {
    pub(super) fn start(&self) {
        // Colours are for people: a file or a collector of logs gets none, nor does who says so
        // (no-color.org).
        let colours = std::io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
        let log = tracing_subscriber::fmt()
            .with_env_filter(self.log_level.clone())
            .with_writer(std::io::stderr)
            .with_ansi(colours)
            .with_target(false);
        match self.log_format {
            Format::Text => log.init(),
            Format::Json => log.json().flatten_event(true).init(),
        }
    }
}
