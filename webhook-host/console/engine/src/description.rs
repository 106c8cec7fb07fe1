//! A policy's description, read from the form that jco gives to it.
//!
//! Invariant: every word is one of the contract's; an unknown one is an error, because a policy
//! that is not asked would pass everything.

use sallyport_core::contract::description::{About, Compared, Context, Description};
use sallyport_core::contract::review::{Operation, Phase, Resource};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The description as jco writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    version: String,
    phases: Vec<PhaseWord>,
    operations: Vec<OperationWord>,
    resources: Vec<ResourceWord>,
    context: Vec<ContextWord>,
    about: BTreeMap<String, bool>,
    compares: Vec<ComparedCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PhaseWord {
    Mutating,
    Validating,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OperationWord {
    Create,
    Update,
    Delete,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ResourceWord {
    Services,
    ServicesStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ContextWord {
    Namespace,
    NamespaceAnnotations,
    Cluster,
    Pods,
    RawObjects,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", tag = "tag", content = "val")]
enum ComparedCase {
    Annotation(String),
    Label(String),
    NamespaceLabel(String),
    NamespaceAnnotation(String),
    ExternalName,
    User,
    UserUid,
    UserExtra(String),
    ConditionMessages,
}

/// Reads a description.
///
/// # Errors
///
/// When it is none of the contract's; the text says why.
pub(crate) fn read(json: &str) -> Result<Description, String> {
    let Written {
        name,
        version,
        phases,
        operations,
        resources,
        context,
        about,
        compares,
    } = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Ok(Description {
        name,
        version,
        phases: phases.into_iter().map(phase).collect(),
        operations: operations.into_iter().map(operation).collect(),
        resources: resources.into_iter().map(resource).collect(),
        context: context.into_iter().map(part).collect(),
        about: flags(&about)?,
        compares: compares.into_iter().map(compared).collect(),
    })
}

fn flags(about: &BTreeMap<String, bool>) -> Result<About, String> {
    let set = about.iter().filter(|(_, is_set)| **is_set);
    set.map(|(name, _)| flag(name))
        .try_fold(About::empty(), |flags, flag| Ok(flags | flag?))
}

fn flag(name: &str) -> Result<About, String> {
    let mut all = About::ALL.iter();
    let known = all.find(|(_, wit)| crate::settings::camel_case(wit) == name);
    let (flag, _) = known.ok_or_else(|| format!("about: {name:?} is no flag"))?;
    Ok(*flag)
}

fn phase(word: PhaseWord) -> Phase {
    match word {
        PhaseWord::Mutating => Phase::Mutating,
        PhaseWord::Validating => Phase::Validating,
    }
}

fn operation(word: OperationWord) -> Operation {
    match word {
        OperationWord::Create => Operation::Create,
        OperationWord::Update => Operation::Update,
        OperationWord::Delete => Operation::Delete,
    }
}

fn resource(word: ResourceWord) -> Resource {
    match word {
        ResourceWord::Services => Resource::Services,
        ResourceWord::ServicesStatus => Resource::ServicesStatus,
    }
}

fn part(word: ContextWord) -> Context {
    match word {
        ContextWord::Namespace => Context::Namespace,
        ContextWord::NamespaceAnnotations => Context::NamespaceAnnotations,
        ContextWord::Cluster => Context::Cluster,
        ContextWord::Pods => Context::Pods,
        ContextWord::RawObjects => Context::RawObjects,
    }
}

fn compared(case: ComparedCase) -> Compared {
    match case {
        ComparedCase::Annotation(key) => Compared::Annotation(key),
        ComparedCase::Label(key) => Compared::Label(key),
        ComparedCase::NamespaceLabel(key) => Compared::NamespaceLabel(key),
        ComparedCase::NamespaceAnnotation(key) => Compared::NamespaceAnnotation(key),
        ComparedCase::ExternalName => Compared::ExternalName,
        ComparedCase::User => Compared::User,
        ComparedCase::UserUid => Compared::UserUid,
        ComparedCase::UserExtra(key) => Compared::UserExtra(key),
        ComparedCase::ConditionMessages => Compared::ConditionMessages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_the_contracts_words() {
        let json = r#"{"name": "p", "version": "1.0.0", "phases": ["validating"],
            "operations": ["create", "delete"], "resources": ["services-status"],
            "context": ["raw-objects"], "about": {"typeUnset": false, "nodePort": true},
            "compares": [{"tag": "external-name"}, {"tag": "user-extra", "val": "k"}]}"#;
        let description = read(json).expect("a description");
        assert_eq!(description.about, About::NODE_PORT);
        assert_eq!(description.context, [Context::RawObjects]);
        assert_eq!(
            description.compares,
            [Compared::ExternalName, Compared::UserExtra("k".to_owned())]
        );
        let unknown = json.replace("nodePort", "nodeports");
        assert_eq!(
            read(&unknown),
            Err("about: \"nodeports\" is no flag".to_owned())
        );
    }
}
