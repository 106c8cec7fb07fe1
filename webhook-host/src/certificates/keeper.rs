//! Keeps the Secret with the self-managed certificate: reads it, serves the certificate in it, and,
//! as the holder of the Lease, rotates and renews it.
//!
//! `cli::serve` starts one keeper for each host with `--self-managed-certificate`. A round that
//! fails is logged and tried again in the next one, while the last good certificate keeps serving.
//! Every write has the resourceVersion that was read as its precondition.

use super::material::Material;
use super::schedule::{Schedule, Step};
use crate::kube_error;
use crate::lease::Candidacy;
use crate::live::Live;
use crate::status::{CertificateTrouble, SelfManagedStatus, TroubleReason};
use crate::webhooks::ca_bundle::{Configuration, HostReference};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use std::sync::Arc;
use std::time::Duration;

/// The timeout of all requests of a round, which take milliseconds each.
const ROUND_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of rounds that a leader may miss before another replica takes the Lease.
const MISSED_ROUNDS: u32 = 3;

/// The label of a Secret that the host may write.
const LABEL: (&str, &str) = ("sallyport.dev/certificate", "self-managed");

/// Names of the objects that the keeper reads and writes.
#[derive(Debug, Clone)]
pub struct Places {
    /// The namespace of the Secret, the Lease and the Service.
    pub namespace: String,
    /// The Service that API servers call.
    pub service: String,
    /// The Secret; the Lease has its name.
    pub secret: String,
    /// The name of the webhook configurations, validating and mutating.
    pub webhooks: String,
    /// True when the host creates the missing webhook configurations itself, once it serves.
    pub registers: bool,
}

impl Places {
    fn called(&self) -> HostReference<'_> {
        HostReference {
            namespace: &self.namespace,
            service: &self.service,
            webhooks: &self.webhooks,
            registers: self.registers,
        }
    }
}

/// One replica's loop around the Secret, the Lease and the `caBundle`.
pub struct Keeper {
    secrets: Api<Secret>,
    configurations: [Configuration; 3],
    secret: String,
    schedule: Schedule,
    candidacy: Candidacy,
    every: Duration,
    live: Arc<Live>,
    /// The last material that was read or written without a defect.
    good: Option<Material>,
    /// The troubles of the last round. Only new ones are logged.
    reported: Vec<CertificateTrouble>,
}

impl Keeper {
    /// Creates a keeper. It identifies itself to the Lease by a name that no other replica has.
    pub fn new(
        client: &Client,
        places: &Places,
        schedule: Schedule,
        live: Arc<Live>,
        me: String,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &places.namespace),
            configurations: Configuration::all(client, &places.called()),
            secret: places.secret.clone(),
            candidacy: Candidacy::new(
                client,
                &places.namespace,
                &places.secret,
                schedule.interval() * MISSED_ROUNDS + ROUND_TIMEOUT,
                me,
            ),
            every: schedule.interval(),
            schedule,
            live,
            good: None,
            reported: vec![],
        }
    }

    /// Runs rounds forever.
    pub async fn run(mut self) {
        loop {
            let mut status = SelfManagedStatus::default();
            let ended = match tokio::time::timeout(ROUND_TIMEOUT, self.round(&mut status)).await {
                Ok(ended) => ended,
                Err(_) => {
                    let message = format!("the API server did not answer within {ROUND_TIMEOUT:?}");
                    Err(CertificateTrouble {
                        reason: TroubleReason::Unreachable,
                        message,
                    })
                }
            };
            status.troubles.extend(ended.err());
            self.report(status);
            tokio::time::sleep(self.every).await;
        }
    }

    /// Logs the troubles that the last round did not have, and publishes the status.
    fn report(&mut self, mut status: SelfManagedStatus) {
        if status.state.is_empty() {
            let serves = self.live.tls().identity().is_some();
            status.state = if serves {
                "serving the last good certificate"
            } else {
                "waiting for a certificate"
            }
            .to_owned();
        }
        status.authority_until = self
            .good
            .as_ref()
            .map(|good| good.authority().not_after.to_string());
        for trouble in status
            .troubles
            .iter()
            .filter(|trouble| !self.reported.contains(trouble))
        {
            tracing::warn!("self-managed certificate: {trouble}");
        }
        self.reported.clone_from(&status.troubles);
        self.live.tls().set_self_managed_status(status);
    }

    async fn round(&mut self, status: &mut SelfManagedStatus) -> Result<(), CertificateTrouble> {
        let found = self
            .secrets
            .get_opt(&self.secret)
            .await
            .map_err(|error| trouble(&self.what(), &error))?;
        let stored = self.read(found.as_ref(), status)?;
        if let Some(stored) = &stored {
            self.serve(stored);
        }
        let elected = self.candidacy.elect().await;
        match elected.map_err(|error| trouble(&format!("Lease {}", self.secret), &error))? {
            None => {}
            Some(holder) => {
                status.state = format!("{holder} looks after the certificate");
                return Ok(());
            }
        }
        status.leader = true;
        self.lead(found, stored, status).await
    }

    /// Parses the Secret; `None` when it is absent, empty or unusable.
    fn read(
        &self,
        found: Option<&Secret>,
        status: &mut SelfManagedStatus,
    ) -> Result<Option<Material>, CertificateTrouble> {
        let Some((secret, data)) = found.and_then(|secret| Some((secret, secret.data.as_ref()?)))
        else {
            return Ok(None);
        };
        if data.is_empty() {
            return Ok(None);
        }
        if secret
            .labels()
            .get(LABEL.0)
            .is_none_or(|value| value != LABEL.1)
        {
            let message = format!(
                "{} is not ours: it holds something and lacks the label {}={}; choose another with \
                 --certificate-secret, delete it, or give it the label",
                self.what(),
                LABEL.0,
                LABEL.1
            );
            return Err(CertificateTrouble {
                reason: TroubleReason::Foreign,
                message,
            });
        }
        let garbage = |defect| {
            let message = format!(
                "{} can't be used: {defect}; the leader replaces it",
                self.what()
            );
            CertificateTrouble {
                reason: TroubleReason::Garbage,
                message,
            }
        };
        match Material::from_data(data) {
            Ok((material, defect)) => {
                status.troubles.extend(defect.map(garbage));
                Ok(Some(material))
            }
            Err(defect) => {
                status.troubles.push(garbage(defect));
                Ok(None)
            }
        }
    }

    /// Presents this certificate in handshakes from now on.
    fn serve(&mut self, material: &Material) {
        let Some(identity) = material.identity() else {
            return;
        };
        let shown = self.live.tls().identity();
        if shown.is_none_or(|shown| !shown.is_the_same_as(identity)) {
            let until = identity.certificate().not_after;
            tracing::info!(%until, "serving a new self-managed certificate");
            self.live.tls().set_identity(identity.clone());
        }
        self.live.tls().set_authorities(material.bundle());
        self.good = Some(material.clone());
    }

    async fn lead(
        &mut self,
        found: Option<Secret>,
        stored: Option<Material>,
        status: &mut SelfManagedStatus,
    ) -> Result<(), CertificateTrouble> {
        let now = Timestamp::now();
        let failed = |error| CertificateTrouble {
            reason: TroubleReason::Garbage,
            message: format!("{error}"),
        };
        let mut trusted = match &stored {
            Some(stored) => self.publish(stored, status).await,
            None => false,
        };
        let mut changed = stored.is_none();
        let mut material = match stored.or_else(|| self.good.clone()) {
            Some(material) => material,
            None => self.schedule.begin(now).map_err(failed)?,
        };
        loop {
            let step = self.schedule.step(&material, now, trusted);
            status.state = match step {
                Step::Keep(next) => format!("nothing to do before {next}"),
                Step::AwaitTrust => {
                    "waiting until the webhook configurations trust the new authority".to_owned()
                }
                Step::Rotate | Step::Renew | Step::Retire => String::new(),
            };
            if !status.state.is_empty() {
                break;
            }
            tracing::info!("self-managed certificate: {step:?}");
            self.schedule
                .take(step, &mut material, now)
                .map_err(failed)?;
            (changed, trusted) = (true, trusted && step != Step::Rotate);
        }
        if changed {
            self.write(found, &material).await?;
            self.serve(&material);
            self.publish(&material, status).await;
        }
        Ok(())
    }

    async fn write(
        &self,
        found: Option<Secret>,
        material: &Material,
    ) -> Result<(), CertificateTrouble> {
        let mut secret = found.unwrap_or_default();
        secret.metadata.name = Some(self.secret.clone());
        secret
            .labels_mut()
            .insert(LABEL.0.to_owned(), LABEL.1.to_owned());
        secret.data = Some(material.to_data());
        let how = PostParams::default();
        let written = match secret.metadata.resource_version {
            None => self.secrets.create(&how, &secret).await,
            Some(_) => self.secrets.replace(&self.secret, &how, &secret).await,
        };
        written
            .map(drop)
            .map_err(|error| trouble(&self.what(), &error))
    }

    /// Writes the bundle into the webhook configurations. Returns false when API servers may trust
    /// other authorities.
    async fn publish(&mut self, material: &Material, status: &mut SelfManagedStatus) -> bool {
        let bundle = material.bundle();
        let mut trusted = true;
        for configuration in &mut self.configurations {
            let result = configuration.ensure_bundle(&bundle).await;
            trusted &= result.is_ok();
            let trouble = result.unwrap_or_else(Some);
            status
                .troubles
                .extend(trouble.filter(|trouble| !status.troubles.contains(trouble)));
        }
        trusted
    }

    fn what(&self) -> String {
        format!("Secret {}", self.secret)
    }
}

/// The manifest that grants the rights of a host which makes its own certificates.
const RBAC: &str = "deploy/overlays/self-managed/rbac.yaml";

fn trouble(what: &str, error: &kube::Error) -> CertificateTrouble {
    let (reason, message) = kube_error::explain(error, RBAC);
    CertificateTrouble {
        reason,
        message: format!("{what}: {message}"),
    }
}
