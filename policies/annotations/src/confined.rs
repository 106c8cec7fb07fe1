//! Annotations with allowed values: exact ones, patterns, and lists of host names with allowed
//! suffixes.

use crate::field;
use crate::scope::{Place, Scope};
use crate::settings;
use sallyport_policy::dns::{Suffix, is_valid, normal};
use sallyport_policy::glob;
use sallyport_policy::prelude::*;

/// The text that stands for the Service's namespace in patterns and suffixes.
const NAMESPACE: &str = "{namespace}";

/// An entry of `confined`. A value is allowed if any of its three lists allows it.
#[derive(Debug)]
pub(crate) struct Confined {
    pub(crate) key: String,
    values: Vec<String>,
    patterns: Vec<String>,
    /// As they are written. Each is a suffix once [`NAMESPACE`] is filled in.
    suffixes: Vec<String>,
    scope: Scope,
}

impl Confined {
    /// Checks an entry. `path` is its own.
    pub(crate) fn parse(
        found: settings::Confined,
        path: &str,
        errors: &mut Vec<SettingsError>,
    ) -> Self {
        let mut refuse = |field: &str, problem: &str| {
            errors.push(SettingsError::new(format!("{path}{field}"), problem));
        };
        let lists = [
            (".values", &found.values),
            (".patterns", &found.patterns),
            (".dnsSuffixes", &found.dns_suffixes),
        ];
        if lists.iter().all(|(_, list)| list.is_none()) {
            refuse(
                "",
                "allows no value; name values, patterns or dnsSuffixes, or use denied",
            );
        }
        for (field, list) in lists {
            if list.as_ref().is_some_and(Vec::is_empty) {
                refuse(field, "an empty list allows nothing; leave it out");
            }
        }
        for (i, pattern) in found.patterns.iter().flatten().enumerate() {
            if !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*') {
                refuse(
                    &format!(".patterns[{i}]"),
                    "allows every value; remove the entry",
                );
            }
        }
        for (i, suffix) in found.dns_suffixes.iter().flatten().enumerate() {
            if Suffix::parse(&filled(suffix, "a")).is_err()
                && let Err(problem) = Suffix::parse(suffix)
            {
                refuse(&format!(".dnsSuffixes[{i}]"), &problem);
            }
        }
        Self {
            key: found.key,
            values: found.values.unwrap_or_default(),
            patterns: found.patterns.unwrap_or_default(),
            suffixes: found.dns_suffixes.unwrap_or_default(),
            scope: Scope::parse(found.types, found.namespaces, path, errors),
        }
    }

    fn allows(&self, value: &str, namespace: &str) -> bool {
        let mut patterns = self.patterns.iter();
        self.values.iter().any(|one| one == value)
            || patterns.any(|one| glob::matches_exactly(&filled(one, namespace), value))
    }

    /// Returns the allowed values as a message shows them.
    fn texts(&self, namespace: &str, texts: &mut Vec<String>) {
        texts.extend(self.values.iter().map(|value| quote(value)));
        let patterns = self.patterns.iter();
        texts
            .extend(patterns.map(|one| format!("a value like {}", quote(&filled(one, namespace)))));
    }
}

/// Returns the violations of one annotation: one for its value, or one for each host name in it.
pub(crate) fn violations(
    entries: &[Confined],
    key: &str,
    value: &str,
    place: Place<'_>,
) -> Vec<Violation> {
    let entries = counting(entries, key, place);
    if entries.is_empty()
        || entries
            .iter()
            .any(|entry| entry.allows(value, place.namespace))
    {
        return vec![];
    }
    let suffixes: Vec<Suffix> = entries
        .iter()
        .flat_map(|entry| &entry.suffixes)
        .filter_map(|text| Suffix::parse(&filled(text, place.namespace)).ok())
        .collect();
    let mut allowed = vec![];
    for entry in &entries {
        entry.texts(place.namespace, &mut allowed);
    }
    for suffix in &suffixes {
        allowed.push(format!("a name in {}", suffix.text()));
    }
    let violation = |found: &str, problem: &str| {
        Violation::new("S19", field(key), format!("{} {problem}", quote(found)))
            .key(format!("{key}={found}"))
            .fix(format!("use {}", allowed.join(" or ")))
    };
    if suffixes.is_empty() {
        return vec![violation(value, "is none of the allowed values")];
    }
    let names = value.split(',').map(str::trim_ascii);
    let outside = names.filter(|name| !name.is_empty() && !is_inside(name, &suffixes));
    outside
        .take(sallyport_policy::MAX_VIOLATIONS + 1)
        .map(|name| violation(name, "is outside the allowed domains"))
        .collect()
}

/// Returns the entries that count for an annotation: those that name the Service's namespace, or
/// else those that name none.
fn counting<'a>(entries: &'a [Confined], key: &str, place: Place<'_>) -> Vec<&'a Confined> {
    let applies = |entry: &&Confined| glob::matches(&entry.key, key) && entry.scope.has(place);
    let mut found: Vec<_> = entries.iter().filter(applies).collect();
    if found.iter().any(|entry| entry.scope.names_namespaces()) {
        found.retain(|entry| entry.scope.names_namespaces());
    }
    found
}

/// Returns true if a host name has an allowed suffix. `*.example.com` stands for names below
/// example.com; anything else that is no host name is outside, whatever its end.
fn is_inside(name: &str, suffixes: &[Suffix]) -> bool {
    let name = normal(name);
    let host = name.strip_prefix("*.");
    let is_name = is_valid(host.unwrap_or(&name));
    is_name && suffixes.iter().any(|suffix| suffix.matches(&name))
}

fn filled(text: &str, namespace: &str) -> String {
    text.replace(NAMESPACE, namespace)
}
