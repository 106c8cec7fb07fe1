//! The flags that lead to an API server.

use anyhow::{Context as _, Error, Result};
use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

/// For one request. A request that takes longer is tried again in the next round.
const REQUEST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
#[group(skip)]
pub(super) struct KubeArgs {
    /// How to reach the API server [default: the Pod's service account, or else KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl KubeArgs {
    /// For single requests, each within a time. What is watched has times of its own: see [`Self::find`].
    pub(super) async fn config(&self) -> Result<Config> {
        let mut config = self.find().await?;
        config.connect_timeout = Some(REQUEST);
        config.read_timeout = Some(REQUEST);
        config.default_retry = false;
        Ok(config)
    }

    /// As it was found.
    pub(super) async fn find(&self) -> Result<Config> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(file) = &self.kubeconfig {
            let name = || format!("--kubeconfig {}", file.display());
            let kubeconfig = Kubeconfig::read_from(file).map_err(whole).with_context(name)?;
            return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(whole).with_context(name);
        }
        if self.context.is_some() {
            return Config::from_kubeconfig(&options).await.map_err(whole).context("--context");
        }
        Config::infer().await.map_err(whole).context("no way to the API server; use --kubeconfig")
    }
}

/// Without its causes, which kube's errors tell by themselves.
fn whole(error: impl Display) -> Error {
    Error::msg(error.to_string())
}
