//! The messages between the page and the engine, as JSON.
//!
//! The feature `typescript` declares them for the page, too (`typescript.rs`), so every field has a
//! doc comment that reads well there.

use crate::evaluator;
use crate::kubectl::{self, Printed};
use sallyport_core::check::{Applied, AsType, Rejection};
use sallyport_core::inventory::{ClusterData, EnvironmentData, InventoryData, PortRangeData};
use sallyport_core::manifest::Exemptions;
use sallyport_core::policy::Policy;
use sallyport_core::report::check::Subject;
use sallyport_core::suite::User;
use sallyport_core::yaml;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A question to `check`: the content of the page's editors.
#[derive(Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Manifests, any number of documents.
    pub(crate) objects: String,
    /// The Services before an update.
    pub(crate) old: String,
    /// ServicePolicy manifests.
    pub(crate) policies: String,
    /// A HostConfig; empty for the host's default.
    pub(crate) config: String,
    /// The user who applies the manifests.
    pub(crate) user: Person,
    /// Milliseconds since the Unix epoch.
    pub(crate) now: u64,
}

/// The user of a request.
#[derive(Clone, Deserialize, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub(crate) struct Person {
    /// The name.
    pub(crate) username: String,
    /// The groups.
    pub(crate) groups: Vec<String>,
}

/// The answer of `recorded`: the editors' content for a recorded review.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct Recorded {
    /// The object; empty for a deletion.
    pub(crate) objects: String,
    /// The object before an update; empty where there is none.
    pub(crate) old: String,
    /// The user who sent the request.
    pub(crate) user: Person,
}

/// The answer of `check`.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct Answer {
    /// Faults of the input.
    pub(crate) problems: Vec<Problem>,
    /// The findings about each Service, as `sallyport check --output json` has them.
    pub(crate) subjects: Vec<Subject>,
    /// The answers of the API server, in the order of the Services.
    pub(crate) applied: Vec<AppliedService>,
    /// The policies that were loaded.
    pub(crate) policies: Vec<LoadedPolicy>,
    /// The number of objects of other kinds.
    pub(crate) ignored: usize,
    /// The facts of the HostConfig.
    pub(crate) config: Configuration,
}

/// A fault of the input.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct Problem {
    /// The field of the request that has it.
    pub(crate) input: Input,
    /// The line, from 1.
    pub(crate) line: usize,
    /// The text for people.
    pub(crate) message: String,
    /// The only policy that it keeps from being asked; null if it is about the whole text.
    pub(crate) policy: Option<String>,
}

/// A field of a request that is a text of YAML.
#[derive(Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Input {
    Objects,
    Old,
    Policies,
    Config,
}

/// The answer that a client of the API server gets for a Service.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct AppliedService {
    /// `namespace/name`.
    service: String,
    /// The line at which it begins, from 1.
    line: usize,
    /// True if the Service is stored.
    allowed: bool,
    /// True if the API server itself refuses it, whatever the policies say.
    rejected: bool,
    /// The lines that `kubectl apply` prints.
    printed: String,
    /// True if these lines are those of the real programs, word by word.
    verbatim: bool,
    /// The object with the API server's defaults, before any patch, as YAML.
    defaulted: String,
    /// The object as it would be stored, or as it was denied, as YAML.
    stored: String,
    /// The object as it was judged, with managedFields.
    #[cfg_attr(feature = "typescript", ts(type = "Service"))]
    object: Value,
    /// The object that it replaces; null for a new one.
    #[cfg_attr(feature = "typescript", ts(type = "Service | null"))]
    old: Option<Value>,
    /// The answer to this Service if it were new and had each of the types.
    types: Vec<TypeAnswer>,
}

/// The answer to a Service if it had a type.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct TypeAnswer {
    /// The type.
    r#type: &'static str,
    /// True if the Service would be stored.
    allowed: bool,
    /// The reasons of a refusal, those of the API server itself first.
    reasons: Vec<String>,
    /// The fields that were left out, with their values, because the type does not allow them.
    left_out: Vec<String>,
}

/// A policy of the request.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct LoadedPolicy {
    /// The name of its manifest.
    name: String,
    /// `Enforce`, `Warn` or `Audit`.
    mode: String,
    /// The line at which its manifest begins, from 1.
    line: usize,
    /// The digest of its component; null if it could not be loaded.
    digest: Option<String>,
    /// The version in its own description.
    version: Option<String>,
    /// The reason why it could not be loaded.
    problem: Option<String>,
    /// The purpose of the policy, by its own documentation.
    purpose: Option<String>,
    /// The text of each rule, by its name.
    rules: BTreeMap<String, String>,
}

/// The facts of the HostConfig, as suites write them.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub(crate) struct Configuration {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The inventory, without the facts that no policy asks for.
    #[cfg_attr(feature = "typescript", ts(type = "unknown"))]
    pub(crate) inventory: InventoryData,
    /// The exemptions.
    #[cfg_attr(feature = "typescript", ts(type = "unknown"))]
    pub(crate) exemptions: Exemptions,
}

/// The facts about the cluster that the page explains.
#[derive(Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// The kind of cluster; null where its Nodes decide.
    environment: Option<EnvironmentData>,
    /// The ports that the API server allocates node ports from.
    node_ports: PortRangeData,
}

impl From<Person> for User {
    fn from(person: Person) -> Self {
        let Person { username, groups } = person;
        Self {
            username,
            groups,
            ..Self::default()
        }
    }
}

impl From<&ClusterData> for Cluster {
    fn from(cluster: &ClusterData) -> Self {
        Self {
            environment: cluster.environment,
            node_ports: cluster.node_ports,
        }
    }
}

impl LoadedPolicy {
    /// `line` is that of its manifest.
    pub(crate) fn new(line: usize, policy: &Policy) -> Self {
        let description = policy.description();
        let documentation = evaluator::documentation_of(policy.manifest()).unwrap_or_default();
        Self {
            name: policy.name().to_string(),
            mode: format!("{:?}", policy.manifest().spec.mode),
            line,
            digest: policy.digest().map(str::to_owned),
            version: description.map(|description| description.version.clone()),
            problem: policy.load_error().map(ToString::to_string),
            purpose: purpose(&documentation),
            rules: rules(&documentation),
        }
    }
}

/// Returns the first paragraph, as one line.
fn purpose(documentation: &str) -> Option<String> {
    let paragraph = documentation.split("\n\n").next()?;
    let text = paragraph.lines().collect::<Vec<_>>().join(" ");
    Some(text).filter(|text| !text.is_empty())
}

/// Returns the rules of the lines such as `- S04: a load balancer …`.
fn rules(documentation: &str) -> BTreeMap<String, String> {
    let lines = documentation.lines();
    let rules = lines.filter_map(|line| line.strip_prefix("- ")?.split_once(": "));
    rules
        .map(|(id, text)| (id.to_owned(), text.to_owned()))
        .collect()
}

impl From<AsType> for TypeAnswer {
    fn from(answer: AsType) -> Self {
        let problems = answer.rejection.iter().flat_map(Rejection::problems);
        let rejections =
            problems.map(|problem| format!("the API server itself: {}", kubectl::line(problem)));
        let denial = answer.response.denial.iter();
        let denials = denial.flat_map(|denial| denial.message.lines().map(str::to_owned));
        let left_out = answer.left_out.iter();
        Self {
            r#type: answer.kind,
            allowed: answer.response.allowed && answer.rejection.is_none(),
            reasons: rejections.chain(denials).collect(),
            left_out: left_out
                .map(|(field, value)| format!("{field}: {value}"))
                .collect(),
        }
    }
}

impl From<Applied> for AppliedService {
    fn from(applied: Applied) -> Self {
        let Printed { text, is_verbatim } = kubectl::printed(&applied);
        let rejected = applied.rejection.is_some();
        Self {
            service: applied.service,
            line: applied.line,
            allowed: applied.response.allowed && !rejected,
            rejected,
            printed: text,
            verbatim: is_verbatim,
            types: applied.types.into_iter().map(TypeAnswer::from).collect(),
            defaulted: yaml::to_string(&applied.defaulted),
            stored: yaml::to_string(&without_managers(&applied.stored)),
            object: applied.stored,
            old: applied.old,
        }
    }
}

/// Returns an object without managedFields, which nobody reads.
fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    object
}
