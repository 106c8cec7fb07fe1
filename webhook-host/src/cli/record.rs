//! The flags for recording reviews.

use crate::live::Live;
use crate::observers::LineWriter;
use crate::record::{LogFile, Rotation};
use anyhow::{Context as _, Result};
use clap::Args;
use sallyport_core::units::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(next_help_heading = "Record")]
pub(super) struct RecordArgs {
    /// Write each review with its answer to this file, a line of JSON each, for `sallyport replay`.
    /// Free-form texts (annotations, labels, user names, ...) are hashed unless a policy compares
    /// them. Only the owner may read it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Size from which on the file becomes FILE.1, FILE.1 becomes FILE.2, and so on
    #[arg(long, value_name = "SIZE", default_value = "64Mi", requires = "record")]
    record_max_size: Bytes,
    /// Number of these older files that are kept
    #[arg(long, value_name = "N", default_value_t = 4, requires = "record",
        value_parser = clap::value_parser!(u32).range(..=MAX_KEPT))]
    record_keep: u32,
}

/// Each rotation renames all of them.
pub(super) const MAX_KEPT: i64 = 1000;

impl RecordArgs {
    /// Starts the recorder, if one was asked for.
    pub(super) fn start(&self, live: &Live) -> Result<Option<Arc<LineWriter>>> {
        let Some(path) = &self.record else {
            return Ok(None);
        };
        let rotation = Rotation {
            size: self.record_max_size.get() as u64,
            keep: self.record_keep,
        };
        let file = LogFile::open(path, rotation)
            .with_context(|| format!("--record: can't write {}", path.display()))?;
        let recorder = LineWriter::records(file, live.metrics())
            .context("can't start the thread that records")?;
        tracing::info!("reviews are recorded in {}", path.display());
        Ok(Some(Arc::new(recorder)))
    }
}
