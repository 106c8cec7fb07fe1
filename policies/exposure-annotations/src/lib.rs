//! No annotation or label that exposes a Service which is no LoadBalancer (S10).
//!
//! Some controllers act on annotations or labels, whatever the type: a ClusterIP becomes public, or
//! is exported to other clusters, without a word of it in its spec. Writes to `services/status` are
//! judged too, since they can change both.

use sallyport_facts::exports::EXPORTING_LABELS;
use sallyport_facts::exposing::{EXPOSING, Exposing};
use sallyport_facts::{keys, reach};
use sallyport_policy::glob;
use sallyport_policy::prelude::*;
use sallyport_policy::service::Pair;
use settings::Denied;

policy!(ExposureAnnotations, "policy.wit");

/// The annotations and labels that expose.
pub struct ExposureAnnotations(Settings);

/// The annotations beside which others are harmless.
fn excuses(denied: &[Denied]) -> impl Iterator<Item = &String> {
    denied
        .iter()
        .flat_map(|denied| &denied.unless)
        .flatten()
        .map(|(key, _)| key)
}

impl Policy for ExposureAnnotations {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_status_writes()
            .about(About::COMPARED_ANNOTATIONS | About::COMPARED_LABELS)
    }

    fn describe_configured(&self) -> Description {
        let Settings {
            denied,
            denied_labels,
        } = &self.0;
        Self::describe()
            .compares_annotations(keys::of_load_balancers())
            .compares_annotations(denied.iter().map(|denied| &denied.key))
            .compares_annotations(excuses(denied).chain(excuses(denied_labels)))
            .compares_labels(denied_labels.iter().map(|denied| &denied.key))
    }

    fn defaults() -> Settings {
        Settings {
            denied: denied(&EXPOSING),
            denied_labels: denied(&EXPORTING_LABELS),
        }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        if settings.denied.is_empty() && settings.denied_labels.is_empty() {
            let message = "an empty list denies nothing; remove the policy instead";
            errors.push(SettingsError::new("denied", message));
        }
        for (list, what, rows) in [
            ("denied", "annotation", &settings.denied),
            ("deniedLabels", "label", &settings.denied_labels),
        ] {
            for (i, denied) in rows.iter().enumerate() {
                check(denied, &format!("{list}[{i}]"), what, &mut errors);
            }
        }
        for (list, rows) in [
            ("denied", &settings.denied),
            ("deniedLabels", &settings.denied_labels),
        ] {
            for (i, denied) in rows
                .iter()
                .enumerate()
                .filter(|(_, denied)| !denied.key.is_empty())
            {
                names::annotation_pattern(format!("{list}[{i}].key"), &denied.key, &mut errors);
            }
            for (i, denied) in rows.iter().enumerate() {
                for (key, _) in denied.unless.iter().flatten() {
                    let path = format!("{list}[{i}].unless[{}]", quote(key));
                    names::annotation(path, key, &mut errors);
                }
            }
        }
        for (i, denied) in settings.denied_labels.iter().enumerate() {
            for (j, value) in denied.values.iter().flatten().enumerate() {
                let path = format!("deniedLabels[{i}].values[{j}]");
                names::label_value_pattern(path, value, &mut errors);
            }
        }
        if errors.is_empty() {
            Ok(Self(settings))
        } else {
            Err(errors)
        }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let mut verdict = Verdict::of_update(
            review,
            reach::widening,
            |_| Widening::ANY,
            |service| self.judge(service),
        );
        let Some(old) = &review.old_service else {
            return verdict;
        };
        for violation in &mut verdict.violations {
            let is_reconfigured = violation.key.split_once('/').is_some_and(|(domain, _)| {
                !is_shared(domain)
                    && reconfigures(
                        domain,
                        &old.metadata.annotations,
                        &review.service.metadata.annotations,
                    )
            });
            // Other annotations of the same controller may change how and to whom it is exposed.
            if is_reconfigured {
                violation.key.clear();
            }
        }
        verdict
    }
}

impl ExposureAnnotations {
    fn judge(&self, service: &Service) -> Verdict {
        let mut verdict = Verdict::allow();
        if service.service_type() == ServiceType::LoadBalancer {
            return verdict;
        }
        let metadata = &service.metadata;
        for (map, pairs, rows) in [
            ("annotations", &metadata.annotations, &self.0.denied),
            ("labels", &metadata.labels, &self.0.denied_labels),
        ] {
            for (key, value) in pairs {
                if rows
                    .iter()
                    .any(|denied| exposes(denied, key, value, &metadata.annotations))
                {
                    let field = format!("metadata.{map}[{}]", quote(key));
                    let message = format!(
                        "{} exposes a Service of type {}",
                        quote(value),
                        service.service_type()
                    );
                    let violation =
                        Violation::new("S10", field, message).key(format!("{key}={value}"));
                    if !verdict.add(violation.fix("remove it, or use type LoadBalancer")) {
                        return verdict;
                    }
                }
            }
        }
        verdict
    }
}

fn denied(rows: &[Exposing]) -> Vec<Denied> {
    let mut denied = vec![];
    for row in rows {
        let mut values = vec![];
        for value in row.values {
            values.push((*value).to_owned());
        }
        let mut unless = vec![];
        for (key, value) in row.unless {
            unless.push(((*key).to_owned(), (*value).to_owned()));
        }
        denied.push(Denied {
            key: row.key.to_owned(),
            values: (!values.is_empty()).then_some(values),
            unless: (!unless.is_empty()).then_some(unless),
        });
    }
    denied
}

fn check(denied: &Denied, path: &str, what: &str, errors: &mut Vec<SettingsError>) {
    let mut refuse = |field: &str, message: String| {
        errors.push(SettingsError::new(format!("{path}.{field}"), message))
    };
    if denied.key.is_empty() {
        refuse("key", format!("must not be empty; name one {what}"));
    } else if denied.key.bytes().all(|byte| byte == b'*') {
        refuse("key", format!("denies every {what}; name some"));
    }
    if denied.values.as_ref().is_some_and(Vec::is_empty) {
        refuse(
            "values",
            "an empty list denies nothing; leave it out for any value".to_owned(),
        );
    }
}

fn exposes(denied: &Denied, key: &str, value: &str, annotations: &[Pair]) -> bool {
    glob::matches(&denied.key, key)
        && denied
            .values
            .as_ref()
            .is_none_or(|values| values.iter().any(|wanted| glob::matches(wanted, value)))
        && !denied
            .unless
            .iter()
            .flatten()
            .any(|(key, value)| pairs::get(annotations, key) == Some(value.as_str()))
}

/// Domains of annotations that many controllers share.
fn is_shared(domain: &str) -> bool {
    domain.ends_with("kubernetes.io") || domain.ends_with("cloud.google.com")
}

/// Returns true if an annotation of the domain was added, changed or removed.
fn reconfigures(domain: &str, old: &[Pair], new: &[Pair]) -> bool {
    let is_its = |key: &str| {
        key.strip_prefix(domain)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    let lacks = |pairs: &[Pair], others: &[Pair]| {
        pairs
            .iter()
            .any(|(key, value)| is_its(key) && pairs::get(others, key) != Some(value.as_str()))
    };
    lacks(new, old) || lacks(old, new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn configured(denied: Vec<Denied>) -> ExposureAnnotations {
        let settings = Settings {
            denied,
            denied_labels: vec![],
        };
        ExposureAnnotations::configure(settings).unwrap_or_else(|errors| panic!("{errors:?}"))
    }

    fn with(key: &str, value: &str) -> Service {
        let mut service = cluster_ip("w");
        service.metadata.annotations = labels([(key, value)]);
        service
    }

    #[test]
    fn what_is_known_to_expose_is_denied_but_on_a_load_balancer() {
        let policy = configured(ExposureAnnotations::defaults().denied);
        for row in &EXPOSING {
            let value = row
                .values
                .first()
                .map_or("x".to_owned(), |value| value.replace('*', "x"));
            let mut service = with(row.key, &value);
            assert_eq!(
                policy.validate(&create(service.clone())).violations.len(),
                1,
                "{}",
                row.key
            );
            service.spec.type_ = Some(ServiceType::LoadBalancer);
            assert_eq!(policy.validate(&create(service)), Verdict::allow());
        }
        assert_eq!(
            policy.validate(&create(with(
                "cloud.google.com/neg",
                r#"{"ingress": true}"#
            ))),
            Verdict::allow()
        );
        assert_eq!(
            policy.validate(&create(with("tailscale.com/expose", "false"))),
            Verdict::allow()
        );
    }

    #[test]
    fn labels_that_export_to_other_clusters_are_denied() {
        let policy = ExposureAnnotations::configure(ExposureAnnotations::defaults())
            .unwrap_or_else(|_| panic!("valid"));
        for row in &EXPORTING_LABELS {
            let mut service = cluster_ip("w");
            service.metadata.labels = labels([(row.key, row.values[0])]);
            let field = format!("metadata.labels[\"{}\"]", row.key);
            assert_eq!(policy.validate(&create(service)).violations[0].field, field);
        }
        assert_eq!(
            policy.validate(&create(with("mirror.linkerd.io/exported", "true"))),
            Verdict::allow()
        );
    }

    #[test]
    fn another_annotation_of_the_same_controller_is_a_new_offence() {
        let policy = configured(ExposureAnnotations::defaults().denied);
        let key = |old: &Service, new: &Service| {
            policy
                .validate(&update(old.clone(), new.clone()))
                .violations[0]
                .key
                .clone()
        };
        let exposed = with("tailscale.com/expose", "true");
        let mut tagged = exposed.clone();
        tagged.metadata.annotations = labels([
            ("tailscale.com/expose", "true"),
            ("tailscale.com/tags", "tag:all"),
        ]);
        assert_eq!(key(&exposed, &tagged), "");
        assert_eq!(key(&tagged, &exposed), "");
        assert_eq!(key(&tagged, &tagged), "tailscale.com/expose=true");
    }

    #[test]
    fn patterns_and_values_of_settings_count_in_place_of_what_is_known() {
        let policy = configured(vec![Denied {
            key: "*.example.com/*".into(),
            values: Some(vec!["yes".into()]),
            unless: None,
        }]);
        assert_eq!(
            policy
                .validate(&create(with("lb.example.com/expose", "YES")))
                .violations
                .len(),
            1
        );
        assert_eq!(
            policy.validate(&create(with("lb.example.com/expose", "no"))),
            Verdict::allow()
        );
        assert_eq!(
            policy.validate(&create(with("tailscale.com/expose", "true"))),
            Verdict::allow()
        );
    }

    #[test]
    fn settings_that_mean_nothing_or_everything_are_refused() {
        let settings = Settings {
            denied: vec![
                Denied {
                    key: String::new(),
                    values: None,
                    unless: None,
                },
                Denied {
                    key: "*".into(),
                    values: None,
                    unless: None,
                },
                Denied {
                    key: "a/b".into(),
                    values: Some(vec![]),
                    unless: None,
                },
            ],
            denied_labels: vec![Denied {
                key: "*".into(),
                values: None,
                unless: None,
            }],
        };
        let errors = ExposureAnnotations::configure(settings)
            .err()
            .unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "denied[0].key",
                "denied[1].key",
                "denied[2].values",
                "deniedLabels[0].key"
            ]
        );
    }
}
