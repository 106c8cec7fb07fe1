//! The requests that a policy and its binding match: MatchResources, translated into the `match` of
//! a ServicePolicy as far as it concerns Services.
//!
//! Invariant: the result matches a request for a Service if and only if the policy and the binding
//! both do.

use super::manifest::{MatchCondition, ResourceRule};
use super::source::{LabelSelector, MatchResources, Operator, Requirement, ResourceRule as Rule};
use std::collections::BTreeSet;

const OPERATIONS: [&str; 3] = ["CREATE", "UPDATE", "DELETE"];

/// Resources of Services, each with its `request.subResource`.
const RESOURCES: [(&str, &str); 2] = [("services", ""), ("services/status", "status")];

/// An operation and a resource, by their index.
type Pair = (usize, usize);

/// The requests that a policy and its binding are about.
#[derive(Debug)]
pub(super) struct Scope {
    /// Empty: no request for a Service.
    pub(super) rules: Vec<ResourceRule>,
    /// The rest, in CEL.
    pub(super) conditions: Vec<MatchCondition>,
    /// All of them must hold for the labels of the namespace.
    pub(super) namespace: Vec<Requirement>,
    /// Resources that Sallyport does not judge.
    pub(super) others: BTreeSet<String>,
}

/// A rule, as far as it is about Services.
struct Part {
    pairs: BTreeSet<Pair>,
    /// Names of Services; empty: all of them.
    names: Vec<String>,
}

impl Scope {
    pub(super) fn of(policy: &MatchResources, binding: Option<&MatchResources>) -> Self {
        let mut others = BTreeSet::new();
        for rule in &policy.resource_rules {
            others.extend(rule.others());
        }
        let mut pairs = included(policy);
        if let Some(binding) = binding.filter(|binding| !binding.resource_rules.is_empty()) {
            let both = included(binding);
            pairs.retain(|pair| both.contains(pair));
        }
        let mut conditions = vec![];
        let mut namespace = vec![];
        for (origin, resources) in [("policy", Some(policy)), ("binding", binding)] {
            let Some(resources) = resources else { continue };
            for excluded in parts(&resources.exclude_resource_rules) {
                if excluded.names.is_empty() {
                    pairs.retain(|pair| !excluded.pairs.contains(pair));
                }
            }
            let mut add = |what: &str, expression: Option<String>| {
                conditions.extend(expression.map(|expression| MatchCondition {
                    name: format!("sallyport.dev/{what}-of-the-{origin}"),
                    expression,
                }));
            };
            add("names", names(resources));
            add("labels", labels(&resources.object_selector));
            namespace.extend(resources.namespace_selector.requirements());
        }
        Self {
            rules: rules(&pairs),
            conditions,
            namespace,
            others,
        }
    }
}

impl Rule {
    fn is_about_core(&self) -> bool {
        let has =
            |list: &[String], name: &str| list.iter().any(|found| found == name || found == "*");
        has(&self.api_groups, "") && has(&self.api_versions, "v1")
    }

    fn part(&self) -> Part {
        let mut pairs = BTreeSet::new();
        if self.is_about_core() && self.scope.as_deref() != Some("Cluster") {
            let operations = self.operations.iter().flat_map(|name| named(name));
            for operation in operations {
                let resources = self.resources.iter().flat_map(|name| resources(name));
                pairs.extend(resources.map(|resource| (operation, resource)));
            }
        }
        Part {
            pairs,
            names: self.resource_names.clone(),
        }
    }

    /// Returns the resources that are none of Services.
    fn others(&self) -> impl Iterator<Item = String> {
        let groups = self.api_groups.iter().filter(|group| !group.is_empty());
        let groups: Vec<&String> = groups.collect();
        let is_core = self.is_about_core();
        let resources = self.resources.iter();
        resources.filter_map(move |name| {
            let is_only_services = name == "services" || name.starts_with("services/");
            match groups.first() {
                None if is_only_services => None,
                None => Some(name.clone()),
                Some(group) if *group == "*" => Some(name.clone()).filter(|_| !is_only_services),
                Some(_) if is_core && is_only_services => None,
                Some(group) => Some(format!("{name}.{group}")),
            }
        })
    }
}

fn named(operation: &str) -> Vec<usize> {
    indexes(&OPERATIONS, |known| operation == "*" || *known == operation)
}

fn resources(name: &str) -> Vec<usize> {
    indexes(&RESOURCES, |(known, subresource)| match name {
        "*/*" | "services/*" => true,
        "*" => subresource.is_empty(),
        "*/status" => !subresource.is_empty(),
        _ => *known == name,
    })
}

fn indexes<T>(all: &[T], is_wanted: impl Fn(&T) -> bool) -> Vec<usize> {
    (0..all.len()).filter(|i| is_wanted(&all[*i])).collect()
}

/// Returns the rules that are about Services.
fn parts(rules: &[Rule]) -> impl Iterator<Item = Part> {
    rules
        .iter()
        .map(Rule::part)
        .filter(|part| !part.pairs.is_empty())
}

fn included(resources: &MatchResources) -> BTreeSet<Pair> {
    parts(&resources.resource_rules)
        .flat_map(|part| part.pairs)
        .collect()
}

/// Returns rules for pairs, as few as possible.
fn rules(pairs: &BTreeSet<Pair>) -> Vec<ResourceRule> {
    let of = |resource: usize| -> Vec<&'static str> {
        let operations = pairs.iter().filter(|pair| pair.1 == resource);
        operations.map(|pair| OPERATIONS[pair.0]).collect()
    };
    let (services, status) = (of(0), of(1));
    let [(service, _), (its_status, _)] = RESOURCES;
    let rule = |operations, resources| ResourceRule {
        operations,
        resources,
    };
    if services == status && !services.is_empty() {
        return vec![rule(services, vec![service, its_status])];
    }
    let apart = [
        rule(services, vec![service]),
        rule(status, vec![its_status]),
    ];
    let apart = apart.into_iter();
    apart.filter(|rule| !rule.operations.is_empty()).collect()
}

/// Returns an expression that is true where the rules match, if they go by names.
fn names(resources: &MatchResources) -> Option<String> {
    let included: Vec<Part> = parts(&resources.resource_rules).collect();
    let excluded = parts(&resources.exclude_resource_rules).filter(|part| !part.names.is_empty());
    let mut all = vec![];
    if included.iter().any(|part| !part.names.is_empty()) {
        let any: Vec<String> = included.iter().map(Part::expression).collect();
        all.push(match any.as_slice() {
            [only] => only.clone(),
            _ => format!("({})", any.join(" || ")),
        });
    }
    all.extend(excluded.map(|part| format!("!({})", part.expression())));
    (!all.is_empty()).then(|| all.join(" && "))
}

impl Part {
    /// Returns an expression that is true for the requests.
    fn expression(&self) -> String {
        let operations: BTreeSet<usize> = self.pairs.iter().map(|pair| pair.0).collect();
        let resources: BTreeSet<usize> = self.pairs.iter().map(|pair| pair.1).collect();
        let mut all = vec![];
        if operations.len() < OPERATIONS.len() {
            let names = operations.iter().map(|i| OPERATIONS[*i]);
            all.push(format!("request.operation in {}", list(names)));
        }
        if resources.len() < RESOURCES.len() {
            let names = resources.iter().map(|i| RESOURCES[*i].1);
            // The request has no `subResource` where it is empty.
            all.push(format!(
                "request.?subResource.orValue('') in {}",
                list(names)
            ));
        }
        if !self.names.is_empty() {
            let names = self.names.iter().map(String::as_str);
            all.push(format!("request.?name.orValue('') in {}", list(names)));
        }
        match all.as_slice() {
            [] => "true".to_owned(),
            _ => all.join(" && "),
        }
    }
}

/// Returns an expression that is true where the labels of the new or the old Service match.
fn labels(selector: &LabelSelector) -> Option<String> {
    let all: Vec<String> = selector
        .requirements()
        .iter()
        .map(|requirement| requirement.expression("o"))
        .collect();
    (!all.is_empty()).then(|| {
        format!(
            "[object, oldObject].exists(o, o != null && {})",
            all.join(" && ")
        )
    })
}

impl Requirement {
    fn expression(&self, object: &str) -> String {
        let key = quoted(&self.key);
        let labels = format!("{object}.metadata.labels");
        let has = format!("has({labels}) && {key} in {labels}");
        let is_in = || {
            let values = self.values.iter().map(String::as_str);
            format!("{has} && {labels}[{key}] in {}", list(values))
        };
        match self.operator {
            Operator::Exists => has,
            Operator::DoesNotExist => format!("!({has})"),
            Operator::In => is_in(),
            Operator::NotIn => format!("!({})", is_in()),
        }
    }
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(quoted).collect();
    format!("[{}]", texts.join(", "))
}

/// Returns a text as a literal of CEL.
fn quoted(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        if matches!(c, '\\' | '\'') {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal.push('\'');
    literal
}
