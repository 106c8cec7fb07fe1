//! The background audit of a host: keeps one Report of OpenReports for each Service that violates a
//! policy, and totals for Prometheus.
//!
//! One replica does it, the holder of a Lease. It judges by the policies that serve, on a thread of
//! its own that rests three times as long as it works, and never disturbs a review: no circuit
//! breaker hears of it. A pass changes only what has changed, so that a second one writes nothing.
//! Reports go when their Service is mended or deleted. Whatever fails is told once, and tried again
//! in the next pass; nothing is deleted after a list that is not complete.

mod plan;
mod reports;

use crate::audit::{Audit, ExposureMap, Gathering};
use crate::cluster::{ListError, Listed, Services};
use crate::kube_error;
use crate::lease::Candidacy;
use crate::live::Live;
use crate::metrics::AuditMetrics;
use jiff::Timestamp;
use kube::Client;
use plan::Plan;
use reports::{Failure, RBAC, Reports};
use sallyport_core::check::stored::Auditor;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// The Lease of the replica that writes Reports.
pub const LEASE: &str = "sallyport-audit";

/// The interval at which the Lease is renewed.
const RENEWAL: Duration = Duration::from_secs(10);

/// The timeout of a renewal.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(8);

/// Time without a renewal after which another replica takes the Lease.
const LEASE_DURATION: Duration = Duration::from_secs(40);

/// The rest after work, as a multiple of the time worked: at most a quarter of one processor.
const REST_FACTOR: u32 = 3;

/// The shortest rest that is slept.
const MIN_REST: Duration = Duration::from_millis(2);

/// The pause after each write, so that the first pass over a cluster is no flood.
const WRITE_PAUSE: Duration = Duration::from_millis(20);

/// Services of a page. A Service has at most 1.5 MiB, so that a page takes no more than a few tens
/// of a host's memory.
const PAGE: u32 = 20;

/// Keeps the Reports of a cluster.
pub struct BackgroundAudit {
    services: Services,
    reports: Reports,
    candidacy: Candidacy,
    live: Arc<Live>,
    metrics: AuditMetrics,
    interval: Duration,
    max_reports: usize,
    map: Option<Arc<ExposureMap>>,
}

/// What an audit in the background needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The interval between passes.
    pub interval: Duration,
    /// The most Reports.
    pub max_reports: usize,
    /// A name that no other replica has.
    pub me: String,
}

/// A trouble that is told when it is new, and once more when it is over.
#[derive(Default)]
struct Trouble(Option<String>);

impl Trouble {
    fn tell(&mut self, found: Result<(), String>) {
        match (&self.0, found) {
            (Some(told), Err(new)) if *told == new => {}
            (_, Err(new)) => {
                tracing::warn!("background audit: {new}");
                self.0 = Some(new);
            }
            (Some(_), Ok(())) => {
                tracing::info!("background audit: in order again");
                self.0 = None;
            }
            (None, Ok(())) => {}
        }
    }
}

impl BackgroundAudit {
    /// An audit by the policies that serve.
    pub fn new(client: &Client, live: Arc<Live>, settings: Settings) -> Self {
        let metrics = live.metrics().audit.clone();
        Self {
            services: Services::new(client.clone(), None).with_page(PAGE),
            reports: Reports::new(client.clone()),
            candidacy: Candidacy::new(
                client,
                &settings.namespace,
                LEASE,
                LEASE_DURATION,
                settings.me,
            ),
            live,
            metrics,
            interval: settings.interval,
            max_reports: settings.max_reports,
            map: None,
        }
    }

    /// Also gathers the doors of all Services into this map.
    #[must_use]
    pub fn mapping(self, map: Option<Arc<ExposureMap>>) -> Self {
        Self { map, ..self }
    }

    /// Runs until it is dropped.
    pub async fn run(self) {
        let Self {
            services,
            reports,
            candidacy,
            live,
            metrics,
            interval,
            max_reports,
            map,
        } = self;
        let leads = watch::Sender::new(false);
        let passes = Passes {
            services,
            reports,
            live,
            metrics: metrics.clone(),
            leads: leads.subscribe(),
            interval,
            max_reports,
            map: map.clone(),
        };
        tokio::join!(lead(candidacy, leads, metrics, map), passes.run());
    }
}

/// Takes and renews the Lease.
async fn lead(
    mut candidacy: Candidacy,
    leads: watch::Sender<bool>,
    metrics: AuditMetrics,
    map: Option<Arc<ExposureMap>>,
) {
    let mut trouble = Trouble::default();
    loop {
        let elected = tokio::time::timeout(RENEWAL_TIMEOUT, candidacy.elect()).await;
        let (is_leader, found) = match elected {
            Ok(Ok(other)) => {
                if let Some(map) = &map {
                    map.held_by(other.as_deref());
                }
                (other.is_none(), Ok(()))
            }
            // Another replica was faster.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => (false, Ok(())),
            Ok(Err(error)) => {
                let (_, message) = kube_error::explain(&error, RBAC);
                (false, Err(format!("Lease {LEASE}: {message}")))
            }
            Err(_) => (
                false,
                Err(format!(
                    "Lease {LEASE}: no answer within {RENEWAL_TIMEOUT:?}"
                )),
            ),
        };
        trouble.tell(found);
        metrics.leads(is_leader);
        leads.send_if_modified(|leads| std::mem::replace(leads, is_leader) != is_leader);
        tokio::time::sleep(RENEWAL).await;
    }
}

/// The passes of the leader.
struct Passes {
    services: Services,
    reports: Reports,
    live: Arc<Live>,
    metrics: AuditMetrics,
    leads: watch::Receiver<bool>,
    interval: Duration,
    max_reports: usize,
    map: Option<Arc<ExposureMap>>,
}

impl Passes {
    async fn run(self) {
        let (mut leads, mut trouble) = (self.leads.clone(), Trouble::default());
        loop {
            if leads.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let mut lost = leads.clone();
            let passed = tokio::select! {
                passed = self.pass() => passed,
                // Nothing that is under way is finished: the next leader begins anew.
                _ = lost.wait_for(|leads| !*leads) => continue,
            };
            if passed.is_err() {
                self.metrics.failed();
            }
            trouble.tell(passed);
            tokio::time::sleep(self.interval).await;
        }
    }

    /// Judges all Services, and brings their Reports up to date.
    async fn pass(&self) -> Result<(), String> {
        let began = Instant::now();
        let mut plan = Plan::new(self.reports.list().await?, self.max_reports);
        let is_complete = self.judge(&mut plan).await?;
        let changes = plan.finish(is_complete);
        let (pruned, written) = (changes.prunes.len(), changes.writes.len());
        // Deletions come first: they make room where there is none.
        let mut failure = Failure::default();
        for (name, existing) in &changes.prunes {
            if self.reports.delete(name, existing, &mut failure).await? {
                self.metrics.wrote("delete");
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        for write in &changes.writes {
            if let Some(operation) = self.reports.write(write, &mut failure).await? {
                self.metrics.wrote(operation);
            }
            tokio::time::sleep(WRITE_PAUSE).await;
        }
        if pruned + written > 0 {
            tracing::info!(
                services = changes.totals.services,
                written,
                pruned,
                took = ?began.elapsed(),
                "background audit: Reports are up to date"
            );
        }
        let left_out = changes.totals.left_out;
        self.metrics
            .passed(changes.totals, Timestamp::now().as_second());
        if left_out > 0 {
            return Err(format!(
                "more than {} Services have violations: the others have no Report; raise \
                 --audit-max-reports, or see `sallyport audit`",
                self.max_reports
            ));
        }
        failure.into_result()
    }

    /// Returns true if the list was complete.
    async fn judge(&self, plan: &mut Plan) -> Result<bool, String> {
        let admission = self.live.admission();
        let audit = Audit {
            auditor: Auditor::aside(&admission, SystemTime::now()),
            against: None,
            doors: self.map.as_ref().map(|_| {
                let cluster = admission.inventory().view().cluster();
                let ids = cluster.providers.into_iter();
                ids.map(|provider| provider.id).collect()
            }),
        };
        let mut gathered = Gathering::default();
        let (mut is_complete, mut rest) = (true, Duration::ZERO);
        let mut take = |listed: Listed<'_>| match listed {
            Listed::Object(object) => {
                let began = Instant::now();
                match audit.row(object) {
                    Ok(row) => {
                        plan.add(&row);
                        gathered.add(&row);
                    }
                    // No Service of an API server is like that.
                    Err(_) => is_complete = false,
                }
                rest += began.elapsed() * REST_FACTOR;
                if rest >= MIN_REST {
                    std::thread::sleep(std::mem::take(&mut rest));
                }
            }
            Listed::Restart(_) => {
                plan.restart();
                gathered.restart();
            }
            Listed::Later => is_complete = false,
        };
        match self.services.list(None, &mut take).await {
            Ok(()) => {
                if let Some(map) = &self.map {
                    map.publish(gathered, Timestamp::now(), is_complete);
                }
                Ok(is_complete)
            }
            Err(ListError::Forbidden(message)) => {
                Err(format!("services can't be listed: {message}; see {RBAC}"))
            }
            Err(ListError::Failed(message)) => Err(message),
        }
    }
}
