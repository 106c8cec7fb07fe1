//! The flags for the decision log.

use crate::live::Live;
use crate::observers::{Destination, LineWriter};
use crate::record::{LogFile, Rotation};
use anyhow::{Context as _, Result};
use clap::Args;
use sallyport_core::units::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(next_help_heading = "Decision log")]
pub(super) struct DecisionArgs {
    /// Write a line of JSON for each review to this file, or to standard output (`-`), for a log
    /// shipper: verdict, policies, rules, fields, digests, user, latency, trace. The user's name is
    /// hashed unless a policy compares it. Only the owner may read the file
    #[arg(long, value_name = "FILE|-")]
    decision_log: Option<PathBuf>,
    /// Size from which on the file becomes FILE.1, FILE.1 becomes FILE.2, and so on
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64Mi",
        requires = "decision_log"
    )]
    decision_log_max_size: Bytes,
    /// Number of these older files that are kept
    #[arg(long, value_name = "N", default_value_t = 4, requires = "decision_log",
        value_parser = clap::value_parser!(u32).range(..=super::record::MAX_KEPT))]
    decision_log_keep: u32,
}

impl DecisionArgs {
    /// Starts the decision log, if one was asked for.
    pub(super) fn start(&self, live: &Live) -> Result<Option<Arc<LineWriter>>> {
        let Some(path) = &self.decision_log else {
            return Ok(None);
        };
        let destination = if path.as_os_str() == "-" {
            Destination::Stdout
        } else {
            let rotation = Rotation {
                size: self.decision_log_max_size.get() as u64,
                keep: self.decision_log_keep,
            };
            let file = LogFile::open(path, rotation)
                .with_context(|| format!("--decision-log: can't write {}", path.display()))?;
            Destination::File(file)
        };
        let log = LineWriter::decisions(destination, live.metrics())
            .context("can't start the thread that writes the decision log")?;
        Ok(Some(Arc::new(log)))
    }
}
