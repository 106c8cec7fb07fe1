//! Keeps the webhook configurations of the cluster equal to those that
//! [`registration`](crate::webhooks::registration) makes from the serving policies.
//!
//! A missing configuration is created, a changed one is restored, with growing delays if that
//! repeats, and one that no policy needs is deleted. Every write has the resourceVersion that was
//! read as its precondition, so that of two replicas one writes and the other finds it done.
//! Started by `cli::serve`; its [`WriteGate`](crate::write_gate::WriteGate) ends it.
//!
//! Invariants:
//!
//! - Nothing is written before there is a certificate that API servers will trust.
//! - A `caBundle` that somebody else maintains (`certificates`) is never changed.
//! - A host that shuts down removes nothing, since failing closed must outlive it.
//! - Nothing is written unless the [`Installation`], read right before, exists and carries no hold.
//! - A configuration that was there and is gone is created again only after `RECREATE_DELAY`.

mod installation;
mod removal;
mod shape;

pub use installation::{HOLD, INSTALLATION, Installation, Withheld, owner_reference};
pub use removal::{REGISTRATION, Removal};

use crate::kube_error;
use crate::live::Live;
use crate::status::RegistrationStatus;
use crate::timestamp;
use crate::webhooks::registration::{CaBundle, Endpoint, Options, Registration, policies_name};
use crate::webhooks::write_backoff::WriteBackoff;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::{Client, ResourceExt as _};
use serde_json::Value;
use shape::Shape;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The interval at which the configurations of the cluster are compared.
const COMPARE_INTERVAL: Duration = Duration::from_secs(10);

/// The interval at which the registrar looks for new policies.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The timeout of all requests of a round, which take milliseconds each.
const ROUND_TIMEOUT: Duration = Duration::from_secs(20);

/// The timeout of one write, together with the read of the hold before it. It is shorter than the
/// quiet period after which [`removal`] is complete.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which a deleted configuration stays deleted. An operator who deletes it and scales
/// the hosts to zero, in either order, has done both within that time, and a Pod gets its SIGTERM a
/// second or two later.
const RECREATE_DELAY: Duration = Duration::from_secs(10);

/// The first minor version with match conditions in beta.
const MATCH_CONDITIONS: u32 = 28;

/// The authority that signed the host's certificate.
#[derive(Debug, Clone)]
pub enum Authority {
    /// The host's own authority, which the keeper writes into existing configurations. The
    /// registrar writes it only into new ones.
    SelfManaged,
    /// The authorities of a PEM file, which is read each time.
    File(PathBuf),
}

/// The loop that maintains the configurations.
pub struct Registrar {
    client: Client,
    live: Arc<Live>,
    options: Options,
    authority: Authority,
    installation: Installation,
    kept: [Kept; 3],
    /// The status that was reported last. Only changes are logged.
    reported: RegistrationStatus,
}

/// One configuration that the registrar maintains.
struct Kept {
    api: Api<DynamicObject>,
    resource: ApiResource,
    name: String,
    /// The delay between repeated writes of one state; `None` is the state of being deleted.
    backoff: WriteBackoff<Option<Value>>,
    /// True once this host has seen it.
    was_there: bool,
    /// The time at which this host first saw that it is gone.
    gone_since: Option<Instant>,
}

/// The wanted webhooks of the three configurations; `None` where no policy needs one.
type Wanted = [Option<Value>; 3];

impl Registrar {
    /// Returns a registrar for the policies of `live`. It sets the bundle and the match conditions
    /// of the options itself.
    pub fn new(
        client: Client,
        live: Arc<Live>,
        options: Options,
        authority: Authority,
        installation: Installation,
    ) -> Self {
        let validating = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let mutating = ApiResource::erase::<MutatingWebhookConfiguration>(&());
        let policies = policies_name(&options.name);
        let kept = [
            (mutating, options.name.clone()),
            (validating.clone(), options.name.clone()),
            (validating, policies),
        ];
        let kept = kept.map(|(resource, name)| Kept {
            api: Api::all_with(client.clone(), &resource),
            resource,
            name,
            backoff: WriteBackoff::new(),
            was_there: false,
            gone_since: None,
        });
        Self {
            client,
            live,
            options,
            authority,
            installation,
            kept,
            reported: RegistrationStatus::default(),
        }
    }

    /// Runs until a [`WriteGate`](crate::write_gate::WriteGate) ends it.
    pub async fn run(mut self) {
        loop {
            let generation = self.live.generation();
            let failures = match tokio::time::timeout(ROUND_TIMEOUT, self.round()).await {
                Ok(failures) => failures,
                Err(_) => vec![format!(
                    "the API server did not answer within {ROUND_TIMEOUT:?}"
                )],
            };
            self.report(failures);
            let began = Instant::now();
            while began.elapsed() < COMPARE_INTERVAL && self.live.generation() == generation {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Compares and writes all configurations once. Returns the failures.
    async fn round(&mut self) -> Vec<String> {
        let wanted = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(failure) => return vec![failure],
        };
        let owner = match self.installation.owner().await {
            Ok(owner) => owner,
            Err(withheld) => return vec![withheld.to_string()],
        };
        let mut failures = vec![];
        if let Endpoint::Service { namespace, .. } = &self.options.endpoint {
            failures.extend(self.installation.belong_to(namespace).await.err());
        }
        let owned = Owned {
            installation: &self.installation,
            owner,
        };
        let keeps_bundle = matches!(self.authority, Authority::SelfManaged);
        for (kept, wanted) in self.kept.iter_mut().zip(&wanted) {
            if let Err(failure) = kept.keep(wanted.as_ref(), &owned, keeps_bundle).await {
                failures.push(format!("{}: {failure}", kept.what()));
            }
        }
        failures
    }

    async fn wanted(&mut self) -> Result<Wanted, String> {
        let version = self
            .client
            .apiserver_version()
            .await
            .map_err(|error| describe(&error))?;
        let minor: u32 = version
            .minor
            .trim_end_matches('+')
            .parse()
            .unwrap_or(MATCH_CONDITIONS);
        self.options.match_conditions = minor >= MATCH_CONDITIONS;
        self.options.ca_bundle = Some(self.bundle()?);
        let admission = self.live.admission();
        let registration = Registration {
            policies: admission.policies(),
            candidates: admission.candidates(),
            exemptions: admission.exemptions(),
            options: &self.options,
        };
        let value = |object: Result<Value, serde_json::Error>| {
            object.expect("an object of Kubernetes has a JSON form")
        };
        Ok([
            registration
                .mutating()
                .map(|object| value(serde_json::to_value(object))),
            registration
                .validating()
                .map(|object| value(serde_json::to_value(object))),
            registration
                .policies()
                .map(|object| value(serde_json::to_value(object))),
        ])
    }

    fn bundle(&self) -> Result<CaBundle, String> {
        let (pem, place) = match &self.authority {
            Authority::SelfManaged => {
                let pem = self
                    .live
                    .tls()
                    .authorities()
                    .ok_or("there is no certificate yet")?;
                (pem.into_bytes(), "the Secret".to_owned())
            }
            Authority::File(file) => {
                let place = file.display().to_string();
                (
                    std::fs::read(file).map_err(|error| format!("can't read {place}: {error}"))?,
                    place,
                )
            }
        };
        CaBundle::try_from(pem).map_err(|error| format!("{place} {error}"))
    }

    /// Logs the failures that are new, and publishes the status.
    fn report(&mut self, failures: Vec<String>) {
        for failure in failures
            .iter()
            .filter(|failure| !self.reported.troubles.contains(failure))
        {
            tracing::warn!("registration: {failure}");
        }
        let since = match failures == self.reported.troubles && !self.reported.since.is_empty() {
            true => std::mem::take(&mut self.reported.since),
            false => timestamp::now().to_string(),
        };
        self.reported = RegistrationStatus {
            troubles: failures,
            since,
        };
        self.live.set_registration_status(self.reported.clone());
    }
}

impl Kept {
    fn what(&self) -> String {
        format!("{} {}", self.resource.kind, self.name)
    }

    async fn keep(
        &mut self,
        wanted: Option<&Value>,
        owned: &Owned<'_>,
        keeps_bundle: bool,
    ) -> Result<(), String> {
        let found = self
            .api
            .get_opt(&self.name)
            .await
            .map_err(|error| describe(&error))?;
        if found.is_some() || wanted.is_none() {
            self.was_there = found.is_some();
            self.gone_since = None;
        }
        match (wanted, found) {
            (None, None) => Ok(()),
            (None, Some(found)) => self.remove(&found, owned).await,
            (Some(wanted), None) => self.make(wanted, owned).await,
            (Some(wanted), Some(found)) => self.repair(wanted, found, owned, keeps_bundle).await,
        }
    }

    async fn make(&mut self, wanted: &Value, owned: &Owned<'_>) -> Result<(), String> {
        let gone_since = *self.gone_since.get_or_insert_with(Instant::now);
        if self.was_there && gone_since.elapsed() < RECREATE_DELAY {
            return Err(format!(
                "somebody deleted it; it is made again when it is still gone after \
                 {RECREATE_DELAY:?}; `sallyport webhooks --delete` takes it away for good"
            ));
        }
        self.may_write(Some(wanted))?;
        let mut object: DynamicObject =
            serde_json::from_value(wanted.clone()).map_err(|error| error.to_string())?;
        object.metadata.owner_references = Some(vec![owned.owner.clone()]);
        owned
            .write(self.api.create(&PostParams::default(), &object))
            .await?;
        self.wrote(Some(wanted), "made");
        (self.was_there, self.gone_since) = (true, None);
        Ok(())
    }

    /// Restores the webhooks and the owner reference. Labels, annotations, finalizers and other
    /// owners are left as they are.
    async fn repair(
        &mut self,
        wanted: &Value,
        mut found: DynamicObject,
        owned: &Owned<'_>,
        keeps_bundle: bool,
    ) -> Result<(), String> {
        let shape = Shape::new(wanted, keeps_bundle);
        if shape.fits(&found.data["webhooks"]) && found.owner_references().contains(&owned.owner) {
            return Ok(());
        }
        self.may_write(Some(wanted))?;
        found.data["webhooks"] = shape.merged(&found.data["webhooks"]);
        installation::adopt(found.owner_references_mut(), &owned.owner);
        owned
            .write(self.api.replace(&self.name, &PostParams::default(), &found))
            .await?;
        self.wrote(Some(wanted), "brought into shape");
        Ok(())
    }

    /// Deletes a configuration that no policy needs. One with a foreign webhook stays.
    async fn remove(&mut self, found: &DynamicObject, owned: &Owned<'_>) -> Result<(), String> {
        if !shape::is_all_ours(&found.data["webhooks"]) {
            return Err(
                "no policy needs it any more, but it has other webhooks, too; take ours out"
                    .to_owned(),
            );
        }
        self.may_write(None)?;
        let preconditions = Preconditions {
            resource_version: found.resource_version(),
            uid: found.uid(),
        };
        let how = DeleteParams {
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        owned.write(self.api.delete(&self.name, &how)).await?;
        self.wrote(None, "removed: no policy needs it");
        Ok(())
    }

    fn may_write(&self, wanted: Option<&Value>) -> Result<(), String> {
        let (theirs, ours) = match wanted {
            Some(_) => ("changed it", "written"),
            None => ("made it, which no policy needs", "removed"),
        };
        self.backoff.may_write(&wanted.cloned(), Instant::now()).map_err(|wait| {
            format!(
                "somebody {theirs}; it is {ours} again {wait:?} after the last time; change the \
                 policies, the HostConfig or \
                 the flags instead, or stop this host's --register"
            )
        })
    }

    fn wrote(&mut self, wanted: Option<&Value>, what: &str) {
        self.backoff.record(&wanted.cloned(), Instant::now());
        tracing::info!("{} was {what}", self.what());
    }
}

/// The owner of the configurations, as it was read at the start of a round.
struct Owned<'a> {
    installation: &'a Installation,
    owner: OwnerReference,
}

impl Owned<'_> {
    /// Sends one write, unless the installation is held, gone or replaced by now.
    async fn write<T>(&self, write: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        let checked = async {
            let owner = self
                .installation
                .owner()
                .await
                .map_err(|withheld| withheld.to_string())?;
            if owner != self.owner {
                return Err("the installation was made anew; it is read again".to_owned());
            }
            write.await.map_err(|error| describe(&error))
        };
        let silent = || {
            Err(format!(
                "the API server did not answer within {WRITE_TIMEOUT:?}"
            ))
        };
        tokio::time::timeout(WRITE_TIMEOUT, checked)
            .await
            .unwrap_or_else(|_| silent())
    }
}

fn describe(error: &kube::Error) -> String {
    kube_error::explain(error, "deploy/overlays/registered/rbac.yaml").1
}
