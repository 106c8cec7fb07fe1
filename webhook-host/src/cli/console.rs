//! The flags of the live console.

use super::audit_reports::AuditReportsArgs;
use super::kube::KubeArgs;
use crate::audit::ExposureMap;
use crate::console::{Console, Reach, Sources, is_loopback};
use crate::live::Live;
use crate::observers::Recent;
use crate::server;
use anyhow::{Context as _, Result, bail};
use axum::http::uri::Authority;
use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// The address of `--console` without a value, which `kubectl port-forward` reaches.
const ADDRESS: &str = "127.0.0.1:8082";

#[derive(Debug, Args)]
#[command(next_help_heading = "Console")]
#[group(skip)]
pub(super) struct ConsoleArgs {
    /// Serve the live console, a read-only page about what runs: policies with counters,
    /// candidates, recent denials, reloads, certificates, inventory, exposures; and below
    /// /playground/ the playground, where anyone can try a Service. By default on
    /// 127.0.0.1:8082, which `kubectl port-forward pod/NAME 8082` reaches. Any other address than
    /// the loopback interface's has TLS with the webhook's certificate, and asks for a bearer
    /// token, which the API server checks: docs/console.md says which rights that needs
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = ADDRESS)]
    console: Option<SocketAddr>,
    /// Serve the playground of this folder, which `make console` makes, in place of the one that
    /// is part of a released program. It also has jco's transpiler, so it takes policies of your
    /// own
    #[arg(long, value_name = "DIR", requires = "console")]
    console_files: Option<PathBuf>,
    /// Have TLS and ask for a token on the loopback interface, too: with `hostNetwork`, every
    /// process of the node reaches it
    #[arg(long, requires = "console")]
    console_tokens: bool,
    /// Another name by which browsers reach the console, such as that of a proxy; may be given
    /// several times. Requests with any other Host are refused [default: localhost, the address,
    /// and the certificate's names]
    #[arg(long = "console-host", value_name = "NAME", requires = "console",
        value_parser = host_name)]
    console_hosts: Vec<String>,
}

/// Parses a name or an address in the notation of the header `Host`, without its port.
fn host_name(text: &str) -> Result<String, String> {
    let authority = text.parse::<Authority>().ok();
    authority
        .filter(|authority| authority.host() == text)
        .map(|authority| authority.to_string())
        .ok_or_else(|| {
            "expected a name without scheme and port, such as console.example.com".to_owned()
        })
}

impl ConsoleArgs {
    /// Returns the exposure map that the background audit makes for the console, if both run.
    pub(super) fn exposures(&self, audit: &AuditReportsArgs) -> Option<Arc<ExposureMap>> {
        self.console.and_then(|_| audit.map())
    }

    /// Starts the console, if one was asked for. Returns what keeps reviews for it.
    ///
    /// # Errors
    ///
    /// Fails when the address is taken, the folder is none of the playground, or an address that
    /// others reach has no TLS or no way to check tokens.
    pub(super) fn start(
        &self,
        kube: &KubeArgs,
        self_signed: bool,
        live: &Arc<Live>,
        exposures: Option<Arc<ExposureMap>>,
    ) -> Result<Option<Arc<Recent>>> {
        let Some(address) = self.console else {
            return Ok(None);
        };
        let tokens = self.tokens(address, kube, self_signed)?;
        let recent = Recent::start().context("can't start the console's threads")?;
        let recent = Arc::new(recent);
        let sources = Sources {
            live: Arc::clone(live),
            recent: Arc::clone(&recent),
            exposures,
        };
        let console =
            Console::new(sources, self.console_files.as_deref()).context("--console-files")?;
        let listener = server::listen(address).with_context(|| {
            format!(
                "can't listen on {address}; free the port or choose another with --console ADDRESS"
            )
        })?;
        let scheme = if tokens.is_some() { "https" } else { "http" };
        tracing::info!("console on {scheme}://{}", listener.local_addr()?);
        let reach = Reach {
            names: self.console_hosts.clone(),
            tokens,
        };
        console
            .start(listener, reach)
            .context("can't start the console")?;
        Ok(Some(recent))
    }

    /// Returns the way to the API server that checks tokens; `None` where nobody is asked for one.
    fn tokens(
        &self,
        address: SocketAddr,
        kube: &KubeArgs,
        self_signed: bool,
    ) -> Result<Option<kube::Config>> {
        let (is_loopback, port) = (is_loopback(address.ip()), address.port());
        if is_loopback && !self.console_tokens {
            return Ok(None);
        }
        if self_signed && !is_loopback {
            bail!(
                "--console {address}: others can reach this address, so it needs TLS, and \
                 --self-signed makes a certificate for localhost alone; use --console \
                 127.0.0.1:{port} with `kubectl port-forward`, or --tls-cert or \
                 --self-managed-certificate"
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = runtime.block_on(kube.config("console"));
        config.map(Some).with_context(|| {
            format!(
                "--console {address}: others can reach this address, so an API server must check \
                 their tokens; use --console 127.0.0.1:{port} with `kubectl port-forward`, or name \
                 an API server with --kubeconfig"
            )
        })
    }
}
