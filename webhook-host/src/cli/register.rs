//! The flags by which a host registers itself, and the thread that keeps it registered.

use super::certificate::CertificateArgs;
use super::kube::KubeArgs;
use super::webhooks::FailurePolicy;
use crate::live::Live;
use crate::webhooks::registrar::{Authority, INSTALLATION, Installation, Registrar};
use crate::webhooks::registration::{BaseUrl, Endpoint, Options};
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result};
use clap::Args;
use kube::{Client, Config};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(next_help_heading = "Registration")]
pub(super) struct RegisterArgs {
    /// Keep the webhook configurations that `sallyport webhooks` would print for the loaded
    /// policies: once this host serves, it creates missing ones and undoes changes by others. After
    /// SIGTERM it writes nothing more, and it deletes nothing: `sallyport webhooks --delete` does
    /// that
    #[arg(long)]
    register: bool,
    /// ClusterRole that stands for this installation: it owns the configurations, so that they go
    /// when it is deleted, and its annotation sallyport.dev/hold keeps hosts from writing them
    #[arg(long, value_name = "NAME", default_value = INSTALLATION, requires = "register")]
    installation: String,
    /// PEM file of the authority that signed the host's certificate; not needed with
    /// --self-managed-certificate
    #[arg(
        long,
        value_name = "FILE",
        requires = "register",
        conflicts_with = "self_managed_certificate"
    )]
    ca_bundle: Option<PathBuf>,
    /// Port of the Service
    #[arg(long, value_name = "PORT", default_value_t = 443, requires = "register",
        value_parser = clap::value_parser!(u16).range(1..))]
    service_port: u16,
    /// For a host outside the cluster, such as https://sallyport.example.com:8443, in place of a
    /// Service
    #[arg(long, alias = "register-url", value_name = "URL", requires = "register",
        conflicts_with_all = ["service_port", "self_managed_certificate"])]
    webhook_url: Option<BaseUrl>,
    /// Effect on a request when the validating webhook does not answer
    #[arg(long, value_enum, default_value_t = FailurePolicy::Fail, requires = "register")]
    failure_policy: FailurePolicy,
    /// Judge kube-system, too, unless the HostConfig exempts it
    #[arg(long, requires = "register")]
    include_kube_system: bool,
}

/// All that a registration needs; it begins once the host serves.
pub(super) struct Registering {
    config: Config,
    options: Options,
    authority: Authority,
    installation: String,
    live: Arc<Live>,
    writes: WriteGate,
}

impl RegisterArgs {
    /// Checks the flags and the cluster for registering, before anything serves.
    pub(super) fn prepare(
        &self,
        kube: &KubeArgs,
        certificate: &CertificateArgs,
        policies_from_cluster: bool,
        live: &Arc<Live>,
        writes: &WriteGate,
    ) -> Result<Option<Registering>> {
        if !self.register {
            return Ok(None);
        }
        let authority = match &self.ca_bundle {
            Some(file) => Authority::File(file.clone()),
            None if certificate.is_self_managed() => Authority::SelfManaged,
            None => anyhow::bail!(
                "--register: API servers must know whom to trust; name the authority of the \
                 certificate with --ca-bundle, \
                 or let the host make its own with --self-managed-certificate"
            ),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = runtime
            .block_on(kube.config("registrar"))
            .context("--register")?;
        let (namespace, name, webhooks) = certificate.places(&config);
        let endpoint = match &self.webhook_url {
            Some(url) => Endpoint::Url(url.clone()),
            None => Endpoint::Service {
                namespace,
                name,
                port: self.service_port,
            },
        };
        let options = Options {
            name: webhooks,
            endpoint,
            ca_bundle: None,
            on_failure: self.failure_policy.into(),
            include_kube_system: self.include_kube_system,
            policies_from_cluster,
            deletions: false,
            match_conditions: true,
        };
        // Its thread makes one anew: a client belongs to the runtime that it was made in.
        runtime
            .block_on(async { Client::try_from(config.clone()) })
            .context("--register")?;
        let (installation, live, writes) =
            (self.installation.clone(), Arc::clone(live), writes.clone());
        Ok(Some(Registering {
            config,
            options,
            authority,
            installation,
            live,
            writes,
        }))
    }
}

impl Registering {
    /// Starts the thread, once the host serves.
    pub(super) fn begin(self) -> Result<()> {
        std::thread::Builder::new()
            .name("registrar".into())
            .spawn(move || {
                if let Err(error) = self.run() {
                    tracing::error!("this host does not register itself: {error:#}");
                }
            })?;
        Ok(())
    }

    fn run(self) -> Result<()> {
        let Self {
            config,
            options,
            authority,
            installation,
            live,
            writes,
        } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = Client::try_from(config)?;
            let installation = Installation::new(client.clone(), installation);
            let registrar = Registrar::new(client, live, options, authority, installation);
            writes.run(registrar.run()).await;
            Ok(())
        })
    }
}
