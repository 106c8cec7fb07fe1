//! The flag for Kubernetes Events.

use super::kube::KubeArgs;
use crate::cluster::Watchers;
use crate::events::{Denials, Events};
use crate::live::Live;
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
#[group(skip)]
pub(super) struct EventArgs {
    /// Write Kubernetes Events: about problems of this host (a broken policy, a reload that fails,
    /// a certificate that is about to end), or about denied Services as well. Needs the right to
    /// create and patch Events
    #[arg(long, value_enum, value_name = "WHAT")]
    events: Option<About>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum About {
    /// Problems of this host, on its Pod and on ServicePolicies.
    Problems,
    /// Denials, too, on the Service: at most 25 at once and one every two seconds after that.
    Denials,
}

impl EventArgs {
    /// Starts the writer, if one was asked for. Returns the entrance for denials.
    pub(super) fn start(
        &self,
        kube: &KubeArgs,
        live: &Arc<Live>,
        watchers: Option<&Watchers>,
        writes: &WriteGate,
    ) -> Result<Option<Arc<Denials>>> {
        let Some(about) = self.events else {
            return Ok(None);
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = runtime
            .block_on(kube.config("events"))
            .context("--events")?;
        let denials = Events::start(config, Arc::clone(live), watchers, writes.clone())
            .context("--events: can't start the thread that writes them")?;
        // Dropped otherwise, which closes the queue.
        Ok((about == About::Denials).then(|| Arc::new(denials)))
    }
}
