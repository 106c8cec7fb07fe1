//! The description of a component without a manifest, for `sallyport inspect` and the
//! documentation.

use super::{LoadError, Subject};
use crate::component::PolicyComponent;
use crate::contract::description::{About, Compared, Context, Description};
use crate::contract::review::{Operation, Phase, Resource};
use crate::contract::{PACKAGE, VERSION};
use crate::settings::{self, manifest_name, parse_wit};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use wit_parser::{UnresolvedPackage, World};

/// The description of a component, without a manifest.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The name in its own description.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The contract that it speaks, such as `sallyport:policy@0.2.0`.
    pub contract: String,
    /// The world of the author's WIT, when the SDK embedded it.
    pub world: Option<String>,
    /// The world's doc comment: the purpose of the policy, and its rules.
    pub documentation: Option<String>,
    /// `mutating`, `validating`.
    pub phases: Vec<&'static str>,
    /// `CREATE`, `UPDATE`, `DELETE`.
    pub operations: Vec<&'static str>,
    /// `services`, `services/status`.
    pub resources: Vec<&'static str>,
    /// `namespace`, `namespaceAnnotations`, `cluster`, `pods`, `rawObjects`.
    pub context: Vec<&'static str>,
    /// The properties of Services that the policy judges, such as `loadBalancer` or `externalIps`,
    /// with the default settings; empty: it judges every Service.
    pub about: Vec<String>,
    /// The free texts that it compares, with the default settings: `annotation example.com/owner`,
    /// `namespaceLabel env`, `externalName` or `user`. A host that records reviews keeps these.
    pub compares: Vec<String>,
    /// Interfaces that it imports.
    pub imports: Vec<String>,
    /// Interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// JSON Schema of its settings, with defaults; `None` when it has none.
    pub settings: Option<Value>,
    /// The reason why its settings can't be part of a snapshot; `None` when they can, or there are
    /// none.
    pub configured_per_instance: Option<String>,
    /// The settings that a manifest must give: what the policy says of its own defaults. Empty: it
    /// takes them.
    pub required_settings: Vec<RequiredSetting>,
    /// The size of the file, in bytes.
    pub size: usize,
    /// `sha256:…`.
    pub digest: String,
}

/// A setting whose default the policy refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequiredSetting {
    /// The path from the settings' root; empty for the settings as a whole.
    pub path: String,
    /// The policy's words.
    pub message: String,
}

impl Inspection {
    /// Combines a component's file with the results of its `describe` and `defaults`.
    /// `configured_per_instance` says why the settings can't be part of a snapshot.
    pub fn new(
        component: &PolicyComponent<'_>,
        description: Description,
        defaults: Option<&settings::Value>,
        configured_per_instance: Option<String>,
    ) -> Self {
        let wit = component.wit();
        let settings = component.settings().zip(defaults);
        // Types of the world itself are imports too, as far as the binary format goes.
        let imports = component.imports().iter().filter(|name| name.contains(':'));
        Self {
            contract: format!("{PACKAGE}@{VERSION}"),
            world: wit.and_then(world_name),
            documentation: documentation(component),
            phases: phases(&description),
            operations: operations(&description),
            resources: resources(&description),
            context: context(&description),
            about: about(&description),
            compares: compares(&description),
            imports: imports.cloned().collect(),
            exports: component.exports().to_vec(),
            settings: settings.map(|(ty, defaults)| settings::schema(ty, defaults, wit)),
            configured_per_instance,
            required_settings: vec![],
            size: component.bytes().len(),
            digest: PolicyComponent::digest(component.bytes()),
            name: description.name,
            version: description.version,
        }
    }

    /// Adds the settings for whose defaults the policy could not be loaded.
    #[must_use]
    pub fn requiring(self, refusal: &LoadError) -> Self {
        let problems = refusal.problems().iter();
        let required = problems.map(|problem| RequiredSetting {
            path: match &problem.subject {
                Subject::Settings(path) => path.clone(),
                Subject::Component | Subject::Field(_) => String::new(),
            },
            message: problem.message.clone(),
        });
        Self {
            required_settings: required.collect(),
            ..self
        }
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
        Operation::Delete => "DELETE",
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
        Context::NamespaceAnnotations => "namespaceAnnotations",
        Context::Cluster => "cluster",
        Context::Pods => "pods",
        Context::RawObjects => "rawObjects",
    };
    description.context.iter().map(word).collect()
}

fn about(description: &Description) -> Vec<String> {
    About::ALL
        .into_iter()
        .filter(|(about, _)| description.about.contains(*about))
        .map(|(_, name)| manifest_name(name))
        .collect()
}

fn compares(description: &Description) -> Vec<String> {
    let word = |compared: &Compared| match compared {
        Compared::Annotation(key) => format!("annotation {key}"),
        Compared::Label(key) => format!("label {key}"),
        Compared::NamespaceLabel(key) => format!("namespaceLabel {key}"),
        Compared::NamespaceAnnotation(key) => format!("namespaceAnnotation {key}"),
        Compared::ExternalName => "externalName".to_owned(),
        Compared::User => "user".to_owned(),
        Compared::UserUid => "userUid".to_owned(),
        Compared::UserExtra(key) => format!("userExtra {key}"),
        Compared::ConditionMessages => "conditionMessages".to_owned(),
    };
    let words: BTreeSet<_> = description.compares.iter().map(word).collect();
    words.into_iter().collect()
}

/// Returns `package:name/world` of the author's WIT.
fn world_name(wit: &str) -> Option<String> {
    let package = parse_wit(wit)?;
    let world = &author_world(&package)?.name;
    Some(format!(
        "{}:{}/{world}",
        package.name.namespace, package.name.name
    ))
}

/// Returns the doc comment of the author's world: the purpose of the policy, and its rules as lines
/// such as `- S04: a load balancer …`. `None` when the SDK embedded no WIT.
pub fn documentation(component: &PolicyComponent<'_>) -> Option<String> {
    author_world(&parse_wit(component.wit()?)?)?
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
