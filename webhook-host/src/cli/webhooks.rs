//! `sallyport webhooks`: the webhook configurations by which API servers call the host, and the
//! backstop that they evaluate without it.

use super::cache::CacheArgs;
use super::given::GivenFlags;
use super::inputs::PolicyArgs;
use super::names::label;
use super::output::{ObjectFormat, note, print};
use super::registry::RegistryArgs;
use super::removal::RemovalArgs;
use super::static_manifests::StaticArgs;
use crate::report::registration as report;
use crate::sources::load;
use crate::webhooks::backstop;
use crate::webhooks::defaults::{self, Defaults};
use crate::webhooks::registration::{
    self, BaseUrl, CaBundle, Endpoint, OnFailure, Options, Registration,
};
use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use sallyport_core::policy::Policy;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Print the webhook configurations for a set of policies; or with --backstop, admission policies
/// that hold while no host answers; or with --delete, take all of them out of the cluster.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("policies", |policies| policies.help("Directory of ServicePolicy manifests \
    [default: the shipped ones, beside the program or in target/policies of a clone; none with \
    --policies-from-cluster]")))]
#[command(mut_arg("config", |config| config.help("HostConfig manifest, for its exemptions")))]
pub(super) struct WebhooksArgs {
    #[command(flatten)]
    given: GivenFlags,
    #[command(flatten)]
    policies: PolicyArgs,
    /// For a host that serves ServicePolicies of the cluster, too: asks about all writes that any
    /// policy may want to judge, and has ServicePolicies checked before the cluster takes them.
    #[arg(long)]
    policies_from_cluster: bool,
    /// Ask about deletions of Services, too, because a policy of the cluster judges them. Without
    /// this flag they are asked about where a policy of --policies does.
    #[arg(long, conflicts_with = "backstop")]
    deletions: bool,
    /// Print ValidatingAdmissionPolicies (Kubernetes 1.30) for the rules that CEL can express; with
    /// --kubernetes 1.36 or later, MutatingAdmissionPolicies for the defaults, too.
    #[arg(long)]
    backstop: bool,
    /// Format.
    #[arg(long, short, value_enum, default_value_t = ObjectFormat::Yaml)]
    output: ObjectFormat,
    /// Uid of the installation's ClusterRole, which then owns what is printed: the cluster deletes
    /// it together with the ClusterRole.
    #[arg(long, value_name = "UID", value_parser = uid)]
    owner_uid: Option<String>,
    #[command(flatten)]
    removal: RemovalArgs,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    static_manifests: StaticArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Registration")]
#[group(skip)]
struct Target {
    /// Name of the webhook configurations.
    #[arg(long, alias = "name", value_name = "NAME", default_value = registration::NAME,
        value_parser = label)]
    webhook_configuration: String,
    /// The host's own namespace; never judged.
    #[arg(long, value_name = "NAME", default_value = "sallyport-system", value_parser = label)]
    namespace: String,
    /// The host's Service.
    #[arg(long, value_name = "NAME", default_value = "sallyport", value_parser = label)]
    service: String,
    /// Port of the host's Service.
    #[arg(long, alias = "port", value_name = "PORT", default_value_t = 443,
        value_parser = clap::value_parser!(u16).range(1..))]
    service_port: u16,
    /// A host outside the cluster, such as https://sallyport.example.com:8443, in place of a
    /// Service.
    #[arg(long, alias = "url", value_name = "URL",
        conflicts_with_all = ["namespace", "service", "service_port"])]
    webhook_url: Option<BaseUrl>,
    /// PEM file of the authority that signed the host's certificate.
    #[arg(long, value_name = "FILE")]
    ca_bundle: Option<PathBuf>,
    /// Effect on a request when the validating webhook does not answer [default: Fail; with
    /// --static: Ignore, since the backstop holds beside it].
    #[arg(long, value_enum)]
    failure_policy: Option<FailurePolicy>,
    /// Judge kube-system, too, unless the HostConfig exempts it.
    #[arg(long)]
    include_kube_system: bool,
    /// The cluster's version.
    #[arg(long, value_name = "1.N", default_value = "1.30", value_parser = minor)]
    kubernetes: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub(super) enum FailurePolicy {
    Fail,
    Ignore,
}

impl From<FailurePolicy> for OnFailure {
    fn from(policy: FailurePolicy) -> Self {
        match policy {
            FailurePolicy::Fail => Self::Fail,
            FailurePolicy::Ignore => Self::Ignore,
        }
    }
}

const EXAMPLES: &str = "\
Two configurations: one that patches and fails open, where some policy patches; one that \
    judges and fails closed. Where some policy judges deletions, the second one has a webhook for \
    them that fails open. They ask about nothing that no policy wants to judge, and exclude \
    the host's own namespace, kube-system, kube-node-lease, and whatever the HostConfig \
    exempts.

Examples:
  sallyport webhooks --policies DIR --config host.yaml | kubectl apply --server-side -f -
  sallyport webhooks --policies-from-cluster --config host.yaml | kubectl apply --server-side -f -
  sallyport webhooks --policies-from-cluster --deletions | kubectl apply --server-side -f -
  sallyport webhooks --webhook-url https://sallyport.example.com:8443 --ca-bundle ca.crt
  sallyport webhooks | sallyport doctor -
  sallyport webhooks --backstop | kubectl apply --server-side -f -
  sallyport webhooks --static DIR --policies policies/presets/baseline --config host.yaml

To uninstall, or to switch all off in an emergency: tells every host to write no configuration any
more, then deletes the configurations and the backstop. --resume lets hosts write them again.
  sallyport webhooks --delete
  sallyport webhooks --resume";

/// The first versions with match conditions in beta, and with ValidatingAdmissionPolicies and the
/// CEL functions for addresses.
const MATCH_CONDITIONS: u32 = 28;
const ADMISSION_POLICIES: u32 = 30;

/// Runs the subcommand.
///
/// # Errors
///
/// When policies, configuration or the authority's certificate can't be read.
pub(super) fn run(args: &WebhooksArgs) -> Result<ExitCode> {
    if args.removal.is_wanted() {
        args.ensure_unused()?;
        return args.removal.run(&args.target.webhook_configuration);
    }
    args.removal.ensure_unused()?;
    let is_static = args.static_manifests.is_wanted();
    let default = if is_static {
        OnFailure::Ignore
    } else {
        OnFailure::Fail
    };
    let options = args
        .target
        .options(args.policies_from_cluster, args.deletions, default)?;
    let exemptions = load::host_config(args.policies.config())?.exemptions;
    let [policies, candidates] = args.load()?;
    let registration = Registration {
        policies: &policies,
        candidates: &candidates,
        exemptions: &exemptions,
        options: &options,
    };
    if is_static || args.backstop {
        let known = args.policies.are_given() || !args.policies_from_cluster;
        anyhow::ensure!(
            known,
            "{}: name the policies that it stands in for, of the cluster too, with --policies",
            if is_static { "--static" } else { "--backstop" }
        );
    }
    if is_static {
        let is_given = !args.given.among(&["kubernetes"]).is_empty();
        let minor = is_given.then_some(args.target.kubernetes);
        let namespace = &args.target.namespace;
        print(
            &args
                .static_manifests
                .write(&registration, namespace, minor)?,
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let (head, mut documents) = if args.backstop {
        let supported = args.target.kubernetes >= ADMISSION_POLICIES;
        anyhow::ensure!(
            supported,
            "--backstop needs Kubernetes 1.{ADMISSION_POLICIES} or later"
        );
        let defaults = defaults::policies(&registration);
        let is_served = args.target.kubernetes >= defaults::SINCE;
        let (printed, left_out) = match is_served {
            true => (defaults, vec![]),
            false => (vec![], defaults),
        };
        (
            report::backstop_head(&backstop::gaps(&registration), &left_out),
            backstop_documents(&registration, &printed),
        )
    } else {
        (report::head(&registration), report::webhooks(&registration))
    };
    if let Some(uid) = &args.owner_uid {
        documents
            .iter_mut()
            .for_each(|document| document.owned_by(args.removal.installation(), uid));
    }
    print(&match args.output {
        ObjectFormat::Yaml => report::yaml(&head, &documents),
        ObjectFormat::Json => report::json(&documents),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn backstop_documents(
    registration: &Registration<'_>,
    defaults: &[Defaults],
) -> Vec<report::Document> {
    let backstops = backstop::policies(registration);
    let mut documents: Vec<_> = backstops.iter().flat_map(report::backstop).collect();
    documents.extend(defaults.iter().flat_map(report::defaults_documents));
    documents
        .iter_mut()
        .for_each(|document| document.belongs_to(&registration.options.name));
    documents
}

/// Flags that say what is printed, and mean nothing to a removal. clap names those that conflict
/// whatever their source; these may come from the environment.
const PRINTING: [&str; 15] = [
    "static",
    "policies",
    "modules",
    "config",
    "namespace",
    "service",
    "service_port",
    "webhook_url",
    "ca_bundle",
    "failure_policy",
    "include_kube_system",
    "kubernetes",
    "cache_dir",
    "cache_size",
    "no_cache",
];

impl WebhooksArgs {
    /// Checks that no flag is given that a removal does not heed.
    fn ensure_unused(&self) -> Result<()> {
        let given = self.given.among(&PRINTING);
        ensure!(
            given.is_empty(),
            "--delete and --resume go by --webhook-configuration and --installation alone, \
             whatever the policies are; remove {}",
            given.join(", ")
        );
        Ok(())
    }

    /// Loads the policies and their candidates. Returns none if the policies come from the cluster.
    fn load(&self) -> Result<[Vec<Arc<Policy>>; 2]> {
        if self.policies_from_cluster && !self.policies.are_given() {
            return Ok([vec![], vec![]]);
        }
        let files = self.policies.files()?;
        let engine = self.cache.engine()?;
        let config = load::host_config(self.policies.config())?;
        let session = self.registry.session(&self.cache, &config)?;
        let loader = files.loader(&engine, &session);
        let both = [
            load::policies(&loader, &files.manifests, &[])?,
            load::candidates(&loader, &files.manifests, &[])?,
        ];
        for policy in both.iter().flatten() {
            if let Some(error) = policy.load_error() {
                note(format_args!(
                    "warning: {error}\nwarning: {} is asked about everything until it can be \
                     loaded",
                    policy.name()
                ));
            }
        }
        Ok(both)
    }
}

impl Target {
    fn options(
        &self,
        policies_from_cluster: bool,
        deletions: bool,
        default: OnFailure,
    ) -> Result<Options> {
        let ca_bundle = self.ca_bundle.as_deref().map(ca_bundle).transpose()?;
        let endpoint = match &self.webhook_url {
            Some(url) => Endpoint::Url(url.clone()),
            None => Endpoint::Service {
                namespace: self.namespace.clone(),
                name: self.service.clone(),
                port: self.service_port,
            },
        };
        Ok(Options {
            name: self.webhook_configuration.clone(),
            endpoint,
            ca_bundle,
            on_failure: self.failure_policy.map_or(default, OnFailure::from),
            include_kube_system: self.include_kube_system,
            policies_from_cluster,
            deletions,
            match_conditions: self.kubernetes >= MATCH_CONDITIONS,
        })
    }
}

fn ca_bundle(file: &Path) -> Result<CaBundle> {
    let pem = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    CaBundle::try_from(pem).with_context(|| format!("--ca-bundle {}", file.display()))
}

fn uid(text: &str) -> Result<String, String> {
    let is_uid = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let advice = "expected what `kubectl get clusterrole sallyport-installation \
        --output=jsonpath={.metadata.uid}` prints";
    if is_uid {
        Ok(text.to_owned())
    } else {
        Err(advice.to_owned())
    }
}

fn minor(text: &str) -> Result<u32, String> {
    let number = text
        .trim_start_matches('v')
        .strip_prefix("1.")
        .and_then(|minor| minor.parse().ok());
    number
        .filter(|minor| (16..100).contains(minor))
        .ok_or_else(|| "expected a version such as 1.30".to_owned())
}
