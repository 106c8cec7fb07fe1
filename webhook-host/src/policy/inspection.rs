//! What a component says about itself, without a manifest: for `sallyport inspect` and the
//! documentation.

use super::{LoadError, schema, settings};
use crate::contract::description::{About, Context, Description};
use crate::contract::review::{Operation, Phase, Resource};
use crate::engine::{Candidate, Engine, Order};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use wit_parser::{UnresolvedPackage, World};

/// A component's self-portrait.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// As it calls itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The contract that it speaks, such as `sallyport:policy@0.1.0`.
    pub contract: String,
    /// The world of the author's WIT, when the SDK embedded it.
    pub world: Option<String>,
    /// What the world's doc comment says: what the policy is for, and its rules.
    pub documentation: Option<String>,
    /// `mutating`, `validating`.
    pub phases: Vec<&'static str>,
    /// `CREATE`, `UPDATE`.
    pub operations: Vec<&'static str>,
    /// `services`, `services/status`.
    pub resources: Vec<&'static str>,
    /// `namespace`, `cluster`, `pods`.
    pub context: Vec<&'static str>,
    /// What a Service has about it that it has something to say about, `loadBalancer` or
    /// `externalIps`; none: it has of every Service. With the default settings.
    pub about: Vec<&'static str>,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// JSON Schema of its settings, with defaults; `None` when it has none.
    pub settings: Option<Value>,
    /// Why its settings can't be part of a snapshot; `None` when they can, or there are none.
    pub configured_per_instance: Option<String>,
    /// Bytes.
    pub size: usize,
    /// `sha256:…`.
    pub digest: String,
}

impl Inspection {
    /// Loads a component with its default settings and looks at it.
    ///
    /// # Errors
    ///
    /// When it can't serve as a policy.
    pub fn of(engine: &Engine, component: &[u8]) -> Result<Self, LoadError> {
        let candidate = Candidate::read(component)?;
        let name: Arc<str> = "inspected".into();
        let (mut schema, written) = (None, Map::new());
        let settle = |configure: &crate::engine::Configure, defaults| {
            schema = Some(schema::schema(
                &configure.settings,
                &defaults,
                candidate.wit.as_deref(),
            ));
            Ok::<_, LoadError>(settings::merge(&configure.settings, &defaults, &written)?)
        };
        let order = Order {
            candidate: &candidate,
            name: &name,
            memory: engine.memory().get(),
            written: &written,
        };
        let prepared = engine.prepare(&order, settle)?;
        let description = prepared.description;
        Ok(Self {
            contract: format!("{}@{}", crate::contract::PACKAGE, crate::contract::VERSION),
            world: candidate.wit.as_deref().and_then(world_name),
            documentation: candidate.wit.as_deref().and_then(world_documentation),
            phases: phases(&description),
            operations: operations(&description),
            resources: resources(&description),
            context: context(&description),
            about: about(&description),
            // Types of the world itself are imports too, as far as the binary format goes.
            imports: candidate
                .imports
                .iter()
                .filter(|name| name.contains(':'))
                .cloned()
                .collect(),
            exports: candidate.exports.clone(),
            settings: schema,
            configured_per_instance: prepared.per_instance.and(prepared.no_snapshot),
            size: component.len(),
            digest: Candidate::digest(component),
            name: description.name,
            version: description.version,
        })
    }
}

fn phases(description: &Description) -> Vec<&'static str> {
    let word = |phase: &Phase| match phase {
        Phase::Mutating => "mutating",
        Phase::Validating => "validating",
    };
    description.phases.iter().map(word).collect()
}

fn operations(description: &Description) -> Vec<&'static str> {
    let word = |operation: &Operation| match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
    };
    description.operations.iter().map(word).collect()
}

fn resources(description: &Description) -> Vec<&'static str> {
    let word = |resource: &Resource| match resource {
        Resource::Services => "services",
        Resource::ServicesStatus => "services/status",
    };
    description.resources.iter().map(word).collect()
}

fn context(description: &Description) -> Vec<&'static str> {
    let word = |context: &Context| match context {
        Context::Namespace => "namespace",
        Context::Cluster => "cluster",
        Context::Pods => "pods",
    };
    description.context.iter().map(word).collect()
}

fn about(description: &Description) -> Vec<&'static str> {
    let words = [
        (About::TYPE_UNSET, "typeUnset"),
        (About::CLUSTER_IP, "clusterIp"),
        (About::NODE_PORT, "nodePort"),
        (About::LOAD_BALANCER, "loadBalancer"),
        (About::EXTERNAL_NAME, "externalName"),
        (About::NODE_PORTS, "nodePorts"),
        (About::EXTERNAL_IPS, "externalIps"),
        (About::ALIAS, "alias"),
        (About::LOAD_BALANCER_FIELDS, "loadBalancerFields"),
        (About::SELECTORLESS, "selectorless"),
        (About::ANNOTATIONS, "annotations"),
        (About::CHANGED_LABELS, "changedLabels"),
        (About::COMPARED_ANNOTATIONS, "comparedAnnotations"),
        (About::COMPARED_LABELS, "comparedLabels"),
    ];
    words
        .into_iter()
        .filter(|(about, _)| description.about.contains(*about))
        .map(|(_, word)| word)
        .collect()
}

/// `package:name/world` of the author's WIT.
fn world_name(wit: &str) -> Option<String> {
    let package = schema::parse(wit)?;
    let world = &author_world(&package)?.name;
    Some(format!(
        "{}:{}/{world}",
        package.name.namespace, package.name.name
    ))
}

fn world_documentation(wit: &str) -> Option<String> {
    author_world(&schema::parse(wit)?)?
        .docs
        .contents
        .as_deref()
        .map(|docs| docs.trim().to_owned())
}

/// While parsed alone, a world that includes another is preceded by a nameless stand-in for it.
fn author_world(package: &UnresolvedPackage) -> Option<&World> {
    package
        .worlds
        .iter()
        .map(|(_, world)| world)
        .find(|world| !world.name.is_empty())
}
