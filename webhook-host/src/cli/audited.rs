//! The Services that `audit` and `exposures` judge, and the policies by which they do: of a cluster
//! or of files.

use super::cache::CacheArgs;
use super::inputs::PolicyArgs;
use super::kube::KubeArgs;
use super::names::{self, label};
use super::output::{Progress, note};
use super::registry::RegistryArgs;
use crate::audit::{Audit, Results, Scope, listed};
use crate::cluster::{ListError, Listed, Services, TAKEN, Watchers};
use crate::engine::Engine;
use crate::manifests;
use crate::registry::{Registry, SourcePolicy};
use crate::shipped;
use crate::sources::custom::Custom;
use crate::sources::load;
use crate::sources::source::Source;
use crate::write_gate::WriteGate;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use kube::Client;
use sallyport_core::admission::Admission;
use sallyport_core::api_server::defaults;
use sallyport_core::check;
use sallyport_core::check::stored::Auditor;
use sallyport_core::inventory::{Inventory, Need};
use sallyport_core::manifest::HostConfigSpec;
use sallyport_core::report::counted;
use sallyport_core::suite::User;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Time for the lists of namespaces, Nodes and Pods. Servers before 1.27 don't stream lists, which
/// takes 10 s to find out.
const INVENTORY_WAIT: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct AuditedArgs {
    /// Files, directories, or - for standard input, in place of a cluster: what `kubectl get
    /// services,namespaces -A -o json --show-managed-fields` prints
    #[arg(value_name = "FILE|DIR|-", conflicts_with_all = ["kubeconfig", "context",
        "namespace", "selector", "policies_from_cluster"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    policies: PolicyArgs,
    /// Take the ServicePolicies of the cluster, beside those of --policies or without any
    #[arg(long)]
    policies_from_cluster: bool,
    /// Namespace to read, in place of all. May be repeated
    #[arg(long, short, value_name = "NAME", value_parser = label)]
    namespace: Vec<String>,
    /// Label selector, such as team=web,tier!=test
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Option<String>,
    /// The user who would create the Services, whose exemptions count [default: nobody]
    #[arg(long = "as", value_name = "NAME", value_parser = names::user())]
    as_user: Option<String>,
    /// A group of that user. May be repeated
    #[arg(long, value_name = "NAME", requires = "as_user", value_parser = names::user())]
    as_group: Vec<String>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

/// What else a command wants to know.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted<'a> {
    /// The doors of each Service.
    pub(super) doors: bool,
    /// A directory of policies to compare with.
    pub(super) against: Option<&'a Path>,
    /// True if a person watches.
    pub(super) notes: bool,
}

/// Policies, and what they know of the cluster.
pub(super) struct Judges {
    admission: Admission,
    against: Option<Admission>,
    user: User,
    doors: bool,
    /// What is not known.
    problems: Vec<String>,
    /// The files' Services, where there is no cluster.
    objects: Option<Vec<Box<RawValue>>>,
    /// Keep the inventory up to date.
    _watchers: Option<Watchers>,
}

impl Judges {
    pub(super) fn audit(&self) -> Audit<'_> {
        let now = SystemTime::now();
        let providers = || {
            let cluster = self.admission.inventory().view().cluster();
            let ids = cluster.providers.into_iter();
            ids.map(|provider| provider.id).collect()
        };
        let auditor = |admission| Auditor::new(admission, self.user.clone(), now);
        Audit {
            auditor: auditor(&self.admission),
            against: self.against.as_ref().map(auditor),
            doors: self.doors.then(providers),
        }
    }

    /// Begins an audit: without Services, and with what is already known to be missing.
    pub(super) fn results(&self, strict: bool) -> Results {
        let mut results = Results::new(self.admission.policies().len(), strict);
        results.problems.clone_from(&self.problems);
        results
    }
}

impl AuditedArgs {
    /// Loads the policies, and reads what they know of the cluster.
    pub(super) fn judges(&self, wanted: Wanted<'_>) -> Result<Judges> {
        if self.files.is_empty() {
            self.of_cluster(wanted)
        } else {
            self.of_files(wanted)
        }
    }

    /// Judges all Services. Returns the time that judging them took, without reading them.
    pub(super) fn read(&self, judges: &Judges, results: &mut Results) -> Result<Duration> {
        let audit = judges.audit();
        let (mut progress, mut took) = (Progress::new(), Duration::ZERO);
        let mut judge = |results: &mut Results, object: &RawValue| {
            let start = std::time::Instant::now();
            results.add(&audit, object);
            took += start.elapsed();
            progress.show_count(results.services() as u64, "Services");
        };
        match &judges.objects {
            Some(objects) => objects.iter().for_each(|object| judge(results, object)),
            None => self.list(results, &mut judge)?,
        }
        Ok(took)
    }

    /// Returns the only namespace that is named, if any: a watch follows one or all.
    pub(super) fn followed(&self) -> Result<Option<&str>> {
        match self.namespace.as_slice() {
            [] => Ok(None),
            [namespace] => Ok(Some(namespace)),
            _ => bail!("--watch follows one namespace or all; give one --namespace"),
        }
    }

    pub(super) fn reads_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// Connects to the cluster. The runtime must be entered.
    pub(super) async fn services(&self) -> Result<Services> {
        let client = Client::try_from(self.kube.find("audit").await?)?;
        Ok(Services::new(client, self.selector.clone()))
    }

    fn list(
        &self,
        results: &mut Results,
        judge: &mut dyn FnMut(&mut Results, &RawValue),
    ) -> Result<()> {
        let runtime = runtime()?;
        let mut is_later = false;
        let mut take = |listed: Listed<'_>| match listed {
            Listed::Object(object) => judge(results, object),
            Listed::Restart(namespace) => results.restart(namespace),
            Listed::Later => is_later = true,
        };
        let hidden = runtime.block_on(async {
            let services = self.services().await?;
            let named: BTreeSet<_> = self.namespace.iter().cloned().collect();
            if !named.is_empty() {
                return each(&services, named, &mut take).await;
            }
            match services.list(None, &mut take).await {
                Ok(()) => Ok(BTreeMap::new()),
                Err(ListError::Failed(problem)) => bail!(problem),
                Err(ListError::Forbidden(problem)) => {
                    let all = services.namespaces().await;
                    let all = all.map_err(|_| anyhow::Error::msg(problem)).context(
                        "can't list the Services of all namespaces; name those that you may read \
                         with --namespace",
                    )?;
                    each(&services, all.into_iter().collect(), &mut take).await
                }
            }
        })?;
        results.scope = Scope {
            namespaces: self.namespace.iter().cloned().collect(),
            hidden: hidden.keys().cloned().collect(),
            selector: self.selector.clone(),
        };
        if let Some(why) = hidden.values().next() {
            let names = hidden.keys().map(String::as_str);
            results.problems.push(format!(
                "the Services of {} are hidden from this user: {} ({why})",
                counted(hidden.len(), "namespace"),
                listed(names)
            ));
        }
        if is_later {
            results.problems.push(
                "the list took longer than the API server keeps its state: Services that were \
                 created or deleted meanwhile may be missing, or told all the same; run it again"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn user(&self) -> User {
        let Some(username) = self.as_user.clone() else {
            return User {
                username: String::new(),
                groups: vec![],
                ..User::default()
            };
        };
        let mut groups = self.as_group.clone();
        groups.extend(groups_of(&username));
        User {
            username,
            groups,
            ..User::default()
        }
    }

    fn of_cluster(&self, wanted: Wanted<'_>) -> Result<Judges> {
        let config = runtime()?.block_on(self.kube.find("audit"))?;
        let url = config.cluster_url.to_string();
        let gate = WriteGate::open();
        // Reads only: no status of any ServicePolicy is written.
        gate.close();
        let watchers = Watchers::start(config, self.policies_from_cluster, &gate)
            .with_context(|| url.clone())?;
        if self.policies_from_cluster {
            watchers
                .wait_for_policies(INVENTORY_WAIT)
                .context("--policies-from-cluster")?;
        }
        let host_config = match self.policies.config() {
            None => HostConfigSpec::default(),
            file => load::host_config(file)?,
        };
        let engine = self.cache.engine()?;
        let registry = self.registry.of_command(Some(&self.cache))?;
        let session = registry.session(SourcePolicy::of_command(&host_config));
        let load = |directory: Option<&Path>| {
            let files = match directory {
                Some(directory) => self.policies.files_in(directory),
                None => self.policies.files()?,
            };
            load::sound_policies(&files.loader(&engine, &session), &files.manifests)
        };
        let mut policies = match self.policies_from_cluster && !self.policies.are_given() {
            true => vec![],
            false => load(None)?,
        };
        let against = wanted
            .against
            .map(|directory| load(Some(directory)).context("--against"))
            .transpose()?;
        let mut problems = vec![];
        let watchers = if self.policies_from_cluster {
            let (custom, watchers) = self.of_custom_resources(&engine, &registry, watchers)?;
            problems.extend(custom.setbacks());
            for policy in custom.policies {
                if policies.iter().any(|other| other.name() == policy.name()) {
                    problems.push(format!("servicepolicies/{}: {TAKEN}", policy.name()));
                } else {
                    policies.push(policy);
                }
            }
            watchers
        } else {
            watchers
        };
        let admission = |policies| {
            let current = Arc::clone(watchers.watched().current());
            let inventory = Inventory::of_cluster(&host_config.inventory, current);
            Admission::new(policies, inventory, host_config.exemptions.clone()).keeping_log()
        };
        let (admission, against) = (admission(policies), against.map(admission));
        let mut needs = admission.asks();
        needs.extend(against.iter().flat_map(Admission::asks));
        needs.extend(wanted.doors.then_some(Need::Nodes));
        watchers.want(needs);
        for (resource, trouble) in watchers.settle(INVENTORY_WAIT) {
            let why = trouble.map_or_else(
                || format!("not listed within {INVENTORY_WAIT:?}"),
                |trouble| trouble.message,
            );
            problems.push(format!("{resource}: {why}; policies know nothing of them"));
        }
        if wanted.notes && files_are_default(&self.policies, self.policies_from_cluster) {
            note("note: no --policies, so the shipped ones judge; see --policies-from-cluster");
        }
        Ok(Judges {
            admission,
            against,
            user: self.user(),
            doors: wanted.doors,
            problems,
            objects: None,
            _watchers: Some(watchers),
        })
    }

    /// Loads the ServicePolicies of the cluster.
    fn of_custom_resources(
        &self,
        engine: &Arc<Engine>,
        registry: &Arc<Registry>,
        watchers: Watchers,
    ) -> Result<(Custom, Watchers)> {
        let beside = |path: &Path| match path.is_file() {
            true => path.parent().map(Path::to_owned),
            false => Some(path.to_owned()),
        };
        let modules = self.policies.modules().and_then(beside);
        let modules = modules.or_else(shipped::policies).context(
            "which modules? Name the directory of the components of the policies with --modules",
        )?;
        let source = Source {
            engine: Arc::clone(engine),
            manifests: None,
            modules,
            config: self.policies.config().map(Path::to_owned),
            registry: Arc::clone(registry),
            watchers: Some(watchers),
        };
        let custom = source.read(None)?.custom;
        Ok((custom, source.watchers.expect("made above")))
    }

    fn of_files(&self, wanted: Wanted<'_>) -> Result<Judges> {
        let config = load::host_config(self.policies.config())?;
        let files = self.policies.files()?;
        let engine = self.cache.engine()?;
        let session = self.registry.session(&self.cache, &config)?;
        let loader = files.loader(&engine, &session);
        let policies = load::sound_policies(&loader, &files.manifests)?;
        let against = wanted
            .against
            .map(|directory| {
                let files = self.policies.files_in(directory);
                let loader = files.loader(&engine, &session);
                load::sound_policies(&loader, directory).context("--against")
            })
            .transpose()?;
        let manifests = manifests::read(&self.files, &[]);
        if manifests.services.is_empty() && manifests.unread.is_empty() {
            bail!(
                "no Service found ({}); name files that hold v1 Services",
                manifests.others()
            );
        }
        let is_default = self.policies.config().is_none();
        if is_default && wanted.notes {
            note(format_args!("note: {}", load::DEFAULT_CONFIG_IN_WORDS));
        }
        let mut data = config.inventory;
        let unread = check::namespaces(&manifests.namespaces, &mut data);
        let problems = manifests.unread.iter().chain(&unread).flat_map(|subject| {
            let findings = subject.findings.iter();
            findings.map(|finding| format!("{}: {}", subject.source, finding.sentence()))
        });
        let objects = manifests
            .services
            .iter()
            .map(|(_, located)| {
                let mut service = located.value();
                defaults::empty_texts(&mut service);
                RawValue::from_string(service.to_string())
            })
            .collect::<Result<_, _>>()?;
        let problems = problems.collect();
        let mut inventory = Inventory::from(data);
        if is_default {
            inventory = inventory.assumed();
        }
        Ok(Judges {
            against: against.map(|policies| {
                Admission::new(policies, inventory.as_of_now(), config.exemptions.clone())
                    .keeping_log()
            }),
            admission: Admission::new(policies, inventory, config.exemptions).keeping_log(),
            user: self.user(),
            doors: wanted.doors,
            problems,
            objects: Some(objects),
            _watchers: None,
        })
    }
}

/// Returns the groups that an API server adds to a user.
fn groups_of(user: &str) -> Vec<String> {
    let mut groups = vec!["system:authenticated".to_owned()];
    let account = user.strip_prefix("system:serviceaccount:");
    if let Some((namespace, _)) = account.and_then(|account| account.split_once(':')) {
        groups.push("system:serviceaccounts".to_owned());
        groups.push(format!("system:serviceaccounts:{namespace}"));
    }
    groups
}

fn files_are_default(policies: &PolicyArgs, from_cluster: bool) -> bool {
    !from_cluster && !policies.are_given()
}

/// Lists the Services of some namespaces. Returns those that are hidden, with the reason.
///
/// # Errors
///
/// When all are hidden, or the API server fails.
async fn each(
    services: &Services,
    namespaces: BTreeSet<String>,
    take: &mut dyn FnMut(Listed<'_>),
) -> Result<BTreeMap<String, String>> {
    let mut hidden = BTreeMap::new();
    let all = namespaces.len();
    for namespace in namespaces {
        match services.list(Some(&namespace), take).await {
            Ok(()) => {}
            Err(ListError::Forbidden(why)) => drop(hidden.insert(namespace, why)),
            Err(ListError::Failed(problem)) => bail!(problem),
        }
    }
    match hidden.values().next() {
        Some(why) if hidden.len() == all => bail!("no namespace may be read: {why}"),
        _ => Ok(hidden),
    }
}

/// Makes the runtime of a command's requests.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
