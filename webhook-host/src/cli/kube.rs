//! The flags by which commands find an API server.

use anyhow::{Context as _, Error, Result};
use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;
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
    /// Kubeconfig file with which to reach the API server [default: the Pod's service account, or
    /// else KUBECONFIG or ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

impl KubeArgs {
    /// Returns true if the command line names a way to the API server.
    pub(super) fn are_given(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// Returns the configuration for single requests, each with a timeout. Watches have timeouts of
    /// their own: see [`Self::find`].
    pub(super) async fn config(&self, component: &str) -> Result<Config> {
        let mut config = self.find(component).await?;
        config.connect_timeout = Some(REQUEST);
        config.read_timeout = Some(REQUEST);
        // From the request on: the time that a connection was idle must not count.
        config.reset_reader_on_write = true;
        config.default_retry = false;
        Ok(config)
    }

    /// Returns the configuration that the flags or the environment name, with the component as the
    /// user agent that the API server's logs show.
    pub(super) async fn find(&self, component: &str) -> Result<Config> {
        let mut config = self.infer().await?;
        let agent = HeaderValue::try_from(format!(
            "sallyport/{} ({component})",
            env!("CARGO_PKG_VERSION")
        ))?;
        config.headers.push((USER_AGENT, agent));
        Ok(config)
    }

    async fn infer(&self) -> Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        if let Some(file) = &self.kubeconfig {
            let name = || format!("--kubeconfig {}", file.display());
            let kubeconfig = Kubeconfig::read_from(file)
                .map_err(whole)
                .with_context(name)?;
            return Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(whole)
                .with_context(name);
        }
        if self.context.is_some() {
            return Config::from_kubeconfig(&options)
                .await
                .map_err(whole)
                .context("--context");
        }
        Config::infer()
            .await
            .map_err(whole)
            .context("no way to the API server; use --kubeconfig")
    }
}

/// Wraps an error without its causes, because the text of kube's errors contains them.
fn whole(error: impl Display) -> Error {
    Error::msg(error.to_string())
}
