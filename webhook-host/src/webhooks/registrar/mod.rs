//! Keeps the webhook configurations of a running host in shape: what
//! [`registration`](crate::webhooks::registration) makes of the policies that serve is what API
//! servers have.
//!
//! A configuration that is missing is made, one that somebody changed is changed back, ever more
//! slowly when that goes on, and one that no policy needs any more goes. Every write has the
//! resourceVersion that was read as its precondition, so that of two replicas one writes and the
//! other finds it written. Invariants: nothing is written before there is a certificate that API
//! servers will trust; a `caBundle` that somebody else keeps (`certificates`) is never touched; a
//! host that ends takes nothing away, since failing closed must outlive it; nothing is written
//! without an [`Installation`] that is read right before and carries no hold; a configuration that
//! was there and is gone is made again only after `ABSENCE`. One of the few modules that know
//! `kube::Client`; started by `cli::serve`, and ended by its
//! [`WriteGate`](crate::write_gate::WriteGate).

mod installation;
mod removal;
mod shape;

pub use installation::{HOLD, INSTALLATION, Installation, Withheld, owner_reference};
pub use removal::{REGISTRATION, Removal};

use crate::kube_error;
use crate::live::Live;
use crate::status::RegistrationStatus;
use crate::webhooks::contest::Contest;
use crate::webhooks::registration::{CaBundle, Endpoint, Options, Registration, policies_name};
use jiff::Timestamp;
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

/// How often it looks what API servers have.
const EVERY: Duration = Duration::from_secs(10);

/// How often it looks whether other policies serve.
const LOOK: Duration = Duration::from_millis(200);

/// For all requests of a round, which take milliseconds each.
const ROUND: Duration = Duration::from_secs(20);

/// For one write, the look for a hold before it included. Less than [`removal`] waits before it
/// believes that nothing comes back.
const WRITE: Duration = Duration::from_secs(5);

/// How long a configuration stays deleted that was there before. An operator who deletes it and
/// scales the hosts to zero, in whatever order, is done with both in that time, and a Pod has its
/// signal a second or two later.
const ABSENCE: Duration = Duration::from_secs(10);

/// The first minor version with match conditions in beta.
const MATCH_CONDITIONS: u32 = 28;

/// Whom API servers trust to have signed the host's certificate.
#[derive(Debug, Clone)]
pub enum Authority {
    /// The host makes its own, and another thread tells them. Here they are written once, into what
    /// is new.
    SelfManaged,
    /// Those of a PEM file, which is read every time.
    File(PathBuf),
}

/// Keeps the configurations.
pub struct Registrar {
    client: Client,
    live: Arc<Live>,
    options: Options,
    authority: Authority,
    installation: Installation,
    kept: [Kept; 3],
    /// What was told last; told again when it changes.
    told: RegistrationStatus,
}

/// One configuration.
struct Kept {
    api: Api<DynamicObject>,
    resource: ApiResource,
    name: String,
    /// What is wanted of it; `None`: that it is not there.
    contest: Contest<Option<Value>>,
    /// Whether this host has seen it.
    was_there: bool,
    /// When this host saw first that it is gone.
    gone_since: Option<Instant>,
}

/// What is wanted of the three, in their order; `None`: that nobody is asked.
type Wanted = [Option<Value>; 3];

impl Registrar {
    /// Of whatever serves; of the options, the bundle and the match conditions are found out.
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
            contest: Contest::new(),
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
            told: RegistrationStatus::default(),
        }
    }

    /// Never ends by itself; a [`WriteGate`](crate::write_gate::WriteGate) ends it.
    pub async fn run(mut self) {
        loop {
            let generation = self.live.generation();
            let troubles = match tokio::time::timeout(ROUND, self.round()).await {
                Ok(troubles) => troubles,
                Err(_) => vec![format!("the API server did not answer within {ROUND:?}")],
            };
            self.tell(troubles);
            let began = Instant::now();
            while began.elapsed() < EVERY && self.live.generation() == generation {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// What can't be kept in shape, and why.
    async fn round(&mut self) -> Vec<String> {
        let wanted = match self.wanted().await {
            Ok(wanted) => wanted,
            Err(trouble) => return vec![trouble],
        };
        let owner = match self.installation.owner().await {
            Ok(owner) => owner,
            Err(withheld) => return vec![withheld.to_string()],
        };
        let mut troubles = vec![];
        if let Endpoint::Service { namespace, .. } = &self.options.endpoint {
            troubles.extend(self.installation.belong_to(namespace).await.err());
        }
        let owned = Owned {
            installation: &self.installation,
            owner,
        };
        let keeps_bundle = matches!(self.authority, Authority::SelfManaged);
        for (kept, wanted) in self.kept.iter_mut().zip(&wanted) {
            if let Err(trouble) = kept.keep(wanted.as_ref(), &owned, keeps_bundle).await {
                troubles.push(format!("{}: {trouble}", kept.what()));
            }
        }
        troubles
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

    /// Trouble is logged when it is new.
    fn tell(&mut self, troubles: Vec<String>) {
        for trouble in troubles
            .iter()
            .filter(|trouble| !self.told.troubles.contains(trouble))
        {
            tracing::warn!("registration: {trouble}");
        }
        let since = match troubles == self.told.troubles && !self.told.since.is_empty() {
            true => std::mem::take(&mut self.told.since),
            false => Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        self.told = RegistrationStatus { troubles, since };
        self.live.set_registration_status(self.told.clone());
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
            (Some(wanted), Some(found)) => self.mend(wanted, found, owned, keeps_bundle).await,
        }
    }

    async fn make(&mut self, wanted: &Value, owned: &Owned<'_>) -> Result<(), String> {
        let gone_since = *self.gone_since.get_or_insert_with(Instant::now);
        if self.was_there && gone_since.elapsed() < ABSENCE {
            return Err(format!(
                "somebody deleted it; it is made again when it is still gone after {ABSENCE:?}; \
                 `sallyport webhooks \
                 --delete` takes it away for good"
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

    /// Labels, annotations, finalizers and other owners are anybody's; the webhooks and the owner
    /// are ours.
    async fn mend(
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
        found.data["webhooks"] = shape.laid_over(&found.data["webhooks"]);
        installation::adopt(found.owner_references_mut(), &owned.owner);
        owned
            .write(self.api.replace(&self.name, &PostParams::default(), &found))
            .await?;
        self.wrote(Some(wanted), "brought into shape");
        Ok(())
    }

    /// No policy asks for it any more. One with a webhook of somebody else stays.
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
        self.contest.may_write(&wanted.cloned(), Instant::now()).map_err(|wait| {
            format!(
                "somebody {theirs}; it is {ours} again {wait:?} after the last time; change the \
                 policies, the HostConfig or \
                 the flags instead, or stop this host's --register"
            )
        })
    }

    fn wrote(&mut self, wanted: Option<&Value>, what: &str) {
        self.contest.wrote(&wanted.cloned(), Instant::now());
        tracing::info!("{} was {what}", self.what());
    }
}

/// The installation that configurations are written for, as it was at the beginning of a round.
struct Owned<'a> {
    installation: &'a Installation,
    owner: OwnerReference,
}

impl Owned<'_> {
    /// Sends one write, unless somebody holds the installation, took it away or made another one
    /// meanwhile.
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
        let silent = || Err(format!("the API server did not answer within {WRITE:?}"));
        tokio::time::timeout(WRITE, checked)
            .await
            .unwrap_or_else(|_| silent())
    }
}

fn describe(error: &kube::Error) -> String {
    kube_error::explain(error, "deploy/overlays/registered/rbac.yaml").1
}
