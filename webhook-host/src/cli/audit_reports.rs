//! The flags of the background audit, and its thread.

use super::kube::KubeArgs;
use super::quantity::short_time;
use super::self_managed::me;
use crate::audit::ExposureMap;
use crate::audit_reports::{BackgroundAudit, Settings};
use crate::live::Live;
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result};
use clap::Args;
use kube::{Client, Config};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(next_help_heading = "Background audit")]
pub(super) struct AuditReportsArgs {
    /// Judge the Services of the cluster in the background, and keep a Report of OpenReports
    /// (openreports.io/v1alpha1) for each one that violates a policy. One replica does it, the
    /// holder of the Lease sallyport-audit
    #[arg(long, requires = "cluster")]
    audit_reports: bool,
    /// Interval between two audits
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = short_time,
        requires = "audit_reports")]
    audit_interval: Duration,
    /// The most Reports. Services beyond that are counted
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "audit_reports",
        value_parser = clap::value_parser!(u16).range(1..=10000))]
    audit_max_reports: u16,
}

/// All that the audit needs; it begins once the host serves.
pub(super) struct Auditing {
    config: Config,
    settings: Settings,
    live: Arc<Live>,
    writes: WriteGate,
    map: Option<Arc<ExposureMap>>,
}

impl AuditReportsArgs {
    /// Returns the map of exposures that the audit makes for a console; `None` without an audit.
    pub(super) fn map(&self) -> Option<Arc<ExposureMap>> {
        self.audit_reports.then(Arc::default)
    }

    /// Returns the number of threads that ask policies beside the requests.
    pub(super) fn threads(&self) -> usize {
        self.audit_reports.into()
    }

    /// Checks that there is a way to the cluster, before anything serves.
    pub(super) fn prepare(
        &self,
        kube: &KubeArgs,
        live: &Arc<Live>,
        writes: &WriteGate,
        map: Option<Arc<ExposureMap>>,
    ) -> Result<Option<Auditing>> {
        if !self.audit_reports {
            return Ok(None);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let config = runtime
            .block_on(kube.config("audit"))
            .context("--audit-reports")?;
        let settings = Settings {
            namespace: config.default_namespace.clone(),
            interval: self.audit_interval,
            max_reports: self.audit_max_reports.into(),
            me: me(),
        };
        Ok(Some(Auditing {
            config,
            settings,
            live: Arc::clone(live),
            writes: writes.clone(),
            map,
        }))
    }
}

impl Auditing {
    /// The host serves now.
    pub(super) fn begin(self) -> Result<()> {
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || {
                if let Err(error) = self.run() {
                    tracing::error!("this host does not audit: {error:#}");
                }
            })?;
        Ok(())
    }

    fn run(self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = Client::try_from(self.config)?;
            let audit = BackgroundAudit::new(&client, self.live, self.settings).mapping(self.map);
            self.writes.run(audit.run()).await;
            Ok(())
        })
    }
}
