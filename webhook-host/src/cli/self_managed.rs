//! The flags of a certificate that the host makes itself, and the thread that keeps it.

use super::kube::KubeArgs;
use super::names::label;
use super::quantity::lifetime;
use crate::certificates::{Keeper, Places, Schedule};
use crate::live::Live;
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result};
use clap::Args;
use jiff::Timestamp;
use kube::{Client, Config};
use std::sync::Arc;
use std::time::Duration;

/// Interval at which the start looks for the first certificate.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Self-managed certificate")]
pub(super) struct SelfManagedArgs {
    /// Namespace of Secret, Lease and Service [default: the Pod's, or the kubeconfig's]
    #[arg(long, value_name = "NAME", requires = "called", value_parser = label)]
    namespace: Option<String>,
    /// Service by which API servers call the host: the certificate is for SERVICE.NAMESPACE.svc
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sallyport",
        requires = "called",
        value_parser = label
    )]
    service: String,
    /// Secret that holds authority and certificate, and Lease of the replica that writes it
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sallyport-certificate",
        requires = "self_managed_certificate"
    )]
    certificate_secret: String,
    /// Name of the webhook configurations. Their caBundle is written, or with --register all of
    /// them
    #[arg(
        long,
        value_name = "NAME",
        default_value = "sallyport",
        requires = "called"
    )]
    webhook_configuration: String,
    /// Lifetime of a certificate. It is renewed at two thirds of that
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime,
        requires = "self_managed_certificate")]
    certificate_lifetime: Duration,
    /// Lifetime of an authority, at least three times as long as a certificate. The next one is
    /// made at two thirds of that
    #[arg(long, value_name = "TIME", default_value = "365d", value_parser = lifetime,
        requires = "self_managed_certificate")]
    authority_lifetime: Duration,
}

impl SelfManagedArgs {
    /// Starts the thread, and waits for the first certificate: without one there is nothing to
    /// serve with.
    pub(super) fn start(
        &self,
        kube: &KubeArgs,
        live: &Arc<Live>,
        writes: &WriteGate,
        registers: bool,
    ) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let keeper = runtime
            .block_on(self.keeper(kube, live, registers))
            .context("--self-managed-certificate")?;
        let writes = writes.clone();
        let run = move || runtime.block_on(writes.run(keeper.run()));
        std::thread::Builder::new()
            .name("keeper".into())
            .spawn(run)?;
        tracing::info!(
            "waiting for the certificate in Secret {}",
            self.certificate_secret
        );
        while live.tls().identity().is_none() {
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Returns the Service's namespace and name, and the name of the webhook configurations.
    pub(super) fn places(&self, config: &Config) -> (String, String, String) {
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        (
            namespace,
            self.service.clone(),
            self.webhook_configuration.clone(),
        )
    }

    async fn keeper(&self, kube: &KubeArgs, live: &Arc<Live>, registers: bool) -> Result<Keeper> {
        let config = kube.config("certificate").await?;
        let (namespace, service, webhooks) = self.places(&config);
        let places = Places {
            namespace,
            service,
            secret: self.certificate_secret.clone(),
            webhooks,
            registers,
        };
        let name = format!("{}.{}.svc", places.service, places.namespace);
        let names = vec![format!("{name}.cluster.local"), name];
        let schedule = Schedule::new(
            names,
            self.authority_lifetime.try_into()?,
            self.certificate_lifetime.try_into()?,
        )?;
        let client = Client::try_from(config)?;
        Ok(Keeper::new(
            &client,
            &places,
            schedule,
            Arc::clone(live),
            me(),
        ))
    }
}

/// Returns a name for an election. A Pod's name is its host's; processes on one host differ by
/// number and start.
pub(super) fn me() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "sallyport".to_owned());
    format!(
        "{host}_{}_{}",
        std::process::id(),
        Timestamp::now().as_millisecond()
    )
}
