//! Annotations that Services must have, may not have, or may have with some values only (S19).
//!
//! Writes to `services/status` are judged, too, since they can change annotations. A key that
//! permits something (`required`) is compared exactly, as controllers compare it; keys that
//! restrict are patterns without regard to case.

mod confined;
mod scope;

use confined::Confined;
use sallyport_facts::{keys, reach};
use sallyport_policy::glob;
use sallyport_policy::prelude::*;
use scope::{Place, Scope};

policy!(Annotations, "policy.wit", backstop = "backstop.yaml");

/// The rules, parsed.
pub struct Annotations {
    required: Vec<Required>,
    denied: Vec<Denied>,
    confined: Vec<Confined>,
}

struct Required {
    key: String,
    scope: Scope,
}

struct Denied {
    key: String,
    /// None: any value.
    values: Option<Vec<String>>,
    scope: Scope,
}

impl Policy for Annotations {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")).with_status_writes()
    }

    /// About the types that must have an annotation, and about those that have one that counts.
    fn describe_configured(&self) -> Description {
        let required = self.required.iter().map(|required| &required.key);
        let denied = self.denied.iter().map(|denied| &denied.key);
        let confined = self.confined.iter().map(|confined| &confined.key);
        let must = self.required.iter().map(|required| required.scope.about());
        Self::describe()
            .about(must.fold(About::COMPARED_ANNOTATIONS, |about, more| about | more))
            .compares_annotations(keys::of_load_balancers())
            .compares_annotations(required.chain(denied).chain(confined))
    }

    fn defaults() -> Settings {
        Settings {
            required: vec![],
            denied: vec![],
            confined: vec![],
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let mut policy = Self {
            required: vec![],
            denied: vec![],
            confined: vec![],
        };
        for (i, found) in settings.required.into_iter().enumerate() {
            let path = format!("required[{i}]");
            names::annotation(format!("{path}.key"), &found.key, &mut errors);
            policy.required.push(Required {
                key: found.key,
                scope: Scope::parse(found.types, found.namespaces, &path, &mut errors),
            });
        }
        for (i, found) in settings.denied.into_iter().enumerate() {
            let path = format!("denied[{i}]");
            check_pattern(&found.key, &path, "denies", &mut errors);
            if found.values.as_ref().is_some_and(Vec::is_empty) {
                const PROBLEM: &str = "an empty list denies nothing; leave it out for any value";
                errors.push(SettingsError::new(format!("{path}.values"), PROBLEM));
            }
            policy.denied.push(Denied {
                key: found.key,
                values: found.values,
                scope: Scope::parse(found.types, found.namespaces, &path, &mut errors),
            });
        }
        for (i, found) in settings.confined.into_iter().enumerate() {
            let path = format!("confined[{i}]");
            check_pattern(&found.key, &path, "confines", &mut errors);
            policy
                .confined
                .push(Confined::parse(found, &path, &mut errors));
        }
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        Verdict::of_update(
            review,
            reach::widening,
            |_| Widening::ANY,
            |service| self.judge(service, &review.namespace.name),
        )
    }
}

/// Checks a key that is a pattern.
fn check_pattern(key: &str, path: &str, does: &str, errors: &mut Vec<SettingsError>) {
    let path = format!("{path}.key");
    if !key.is_empty() && key.bytes().all(|byte| byte == b'*') {
        let problem = format!("{does} every annotation; name some");
        errors.push(SettingsError::new(path, problem));
    } else {
        names::annotation_pattern(path, key, errors);
    }
}

impl Annotations {
    fn judge(&self, service: &Service, namespace: &str) -> Verdict {
        let place = Place {
            of: service.service_type(),
            namespace,
        };
        let mut verdict = Verdict::allow();
        for required in &self.required {
            if let Some(violation) = required.violation(service, place)
                && !verdict.add(violation)
            {
                return verdict;
            }
        }
        for (key, value) in &service.metadata.annotations {
            let is_denied = self
                .denied
                .iter()
                .any(|denied| denied.has(key, value, place));
            let violations = if is_denied {
                vec![denied(key, value, place)]
            } else {
                confined::violations(&self.confined, key, value, place)
            };
            for violation in violations {
                if !verdict.add(violation) {
                    return verdict;
                }
            }
        }
        verdict
    }
}

impl Required {
    fn violation(&self, service: &Service, place: Place<'_>) -> Option<Violation> {
        let found = service.annotation(&self.key);
        if !self.scope.has(place) || found.is_some_and(|value| !is_blank(value)) {
            return None;
        }
        let (what, problem) = match found {
            Some(value) => ("blank", format!("{} is blank", quote(value))),
            None => ("missing", "missing".to_owned()),
        };
        let mut message = format!("{problem}, but required for type {}", place.of);
        let mut pairs = service.metadata.annotations.iter();
        let is_like = |key: &str| key != self.key && key.eq_ignore_ascii_case(&self.key);
        if let Some((key, _)) = pairs.find(|(key, _)| is_like(key)) {
            message.push_str(&format!(" ({} is another annotation)", quote(key)));
        }
        let violation = Violation::new("S19", field(&self.key), message);
        Some(
            violation
                .key(format!("{what}:{}", self.key))
                .fix("set it to a value"),
        )
    }
}

impl Denied {
    fn has(&self, key: &str, value: &str, place: Place<'_>) -> bool {
        let is_value = |values: &Vec<String>| values.iter().any(|one| glob::matches(one, value));
        glob::matches(&self.key, key)
            && self.scope.has(place)
            && self.values.as_ref().is_none_or(is_value)
    }
}

fn denied(key: &str, value: &str, place: Place<'_>) -> Violation {
    let message = format!("{} is not allowed for type {}", quote(value), place.of);
    Violation::new("S19", field(key), message)
        .key(format!("{key}={value}"))
        .fix("remove it")
}

/// Returns an annotation's path.
fn field(key: &str) -> String {
    format!("metadata.annotations[{}]", quote(key))
}

/// Returns true for a value that shows nothing: blanks, control characters, and characters that
/// Unicode ignores by default or that fonts leave empty.
fn is_blank(value: &str) -> bool {
    value.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}'
                    | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
                    | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
                    | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
                    | '\u{e0000}'..='\u{e0fff}'
            )
    })
}

#[cfg(test)]
mod tests;
