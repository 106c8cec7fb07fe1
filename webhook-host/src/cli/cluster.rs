//! The flags by which a host connects to a cluster.

use super::kube::KubeArgs;
use super::quantity::short_time;
use crate::cluster::{Counting, Watchers};
use crate::live::Live;
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result};
use clap::Args;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterArgs {
    /// Watch the cluster for what the policies ask about it: labels of namespaces, providerIDs of
    /// Nodes, labels and ports of Pods. They replace those of --config; `environment` and
    /// `nodePorts` of --config still count
    #[arg(long)]
    cluster: bool,
    /// Serve the ServicePolicies of the cluster, beside those of --policies or without any. Their
    /// modules are in --modules
    #[arg(long, requires = "cluster")]
    policies_from_cluster: bool,
    /// Time that the start waits for the first lists. After that the host serves, and policies
    /// treat what is missing as unknown; with --strict it exits instead
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = short_time,
        requires = "cluster")]
    cluster_wait: Duration,
    /// Interval at which this replica writes counts of evaluations into the status of
    /// ServicePolicies
    // For tests of the program, which can't wait for minutes.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = short_time,
        requires = "policies_from_cluster", hide = true)]
    counts_interval: Duration,
}

impl ClusterArgs {
    /// Watchers that know the ServicePolicies, when these are asked for, and watch nothing else
    /// yet; `None` when nothing is to be watched. A host without its policies would let everything
    /// pass, so that it must not start without.
    pub(super) fn start(&self, kube: &KubeArgs, writes: &WriteGate) -> Result<Option<Watchers>> {
        if !self.cluster {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = runtime.block_on(kube.find("cluster"))?;
        let url = config.cluster_url.to_string();
        let watchers = Watchers::start(config, self.policies_from_cluster, writes)
            .with_context(|| url.clone())?;
        tracing::info!("watching the cluster at {url}");
        if self.policies_from_cluster {
            watchers
                .wait_for_policies(self.cluster_wait)
                .context("--policies-from-cluster; see --cluster-wait")?;
        }
        Ok(Some(watchers))
    }

    /// Begins to write counts of the serving policies into the status of ServicePolicies.
    pub(super) fn count(&self, watchers: &Watchers, live: &Arc<Live>) {
        // A Pod's name is its host's.
        let replica = std::env::var("HOSTNAME")
            .unwrap_or_else(|_| format!("sallyport-{}", std::process::id()));
        let live = Arc::clone(live);
        let of = Arc::new(move |policy: &str| live.counts(policy));
        watchers.count(Counting {
            replica,
            every: self.counts_interval,
            of,
        });
    }

    pub(super) fn serves_policies(&self) -> bool {
        self.policies_from_cluster
    }

    /// Waits for what is wanted.
    ///
    /// # Errors
    ///
    /// With `strict`, what was not listed in time.
    pub(super) fn wait(&self, watchers: &Watchers, strict: bool) -> Result<()> {
        match watchers.wait(self.cluster_wait) {
            Ok(()) => {}
            Err(unlisted) if strict => {
                return Err(unlisted).context("--strict is set; see --cluster-wait");
            }
            Err(unlisted) => {
                tracing::error!(
                    "serving all the same, without --strict; to policies, this is unknown: \
                     {unlisted}"
                );
            }
        }
        Ok(())
    }
}
