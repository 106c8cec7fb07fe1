//! No annotation that exposes a Service which is no LoadBalancer (S10).
//!
//! Some controllers act on annotations, whatever the type: a ClusterIP becomes public without a word of it in its spec. Writes to
//! `services/status` are judged too, since they can change annotations.

use sallyport_policy::facts::exposing::EXPOSING;
use sallyport_policy::glob;
use sallyport_policy::prelude::*;
use settings::Denied;

policy!(ExposureAnnotations, "policy.wit");

/// The annotations that expose.
pub struct ExposureAnnotations(Vec<Denied>);

impl Policy for ExposureAnnotations {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
            .with_status_writes()
            .about(About::ANNOTATIONS)
    }

    fn defaults() -> Settings {
        let mut denied = vec![];
        for row in &EXPOSING {
            let values: Vec<_> = row.values.iter().map(|value| (*value).to_owned()).collect();
            denied.push(Denied { key: row.key.to_owned(), values: (!values.is_empty()).then_some(values) });
        }
        Settings { denied }
    }

    fn configure(settings: Settings) -> Result<Self, Vec<SettingsError>> {
        let mut errors = vec![];
        let mut refuse = |path: String, message: &str| errors.push(SettingsError::new(path, message));
        if settings.denied.is_empty() {
            refuse("denied".to_owned(), "an empty list denies nothing; remove the policy instead");
        }
        for (i, denied) in settings.denied.iter().enumerate() {
            if denied.key.is_empty() {
                refuse(text!["denied[", i, "].key"], "must not be empty; name an annotation");
            } else if denied.key.bytes().all(|byte| byte == b'*') {
                refuse(text!["denied[", i, "].key"], "denies every annotation; name some");
            }
            if denied.values.as_ref().is_some_and(Vec::is_empty) {
                refuse(text!["denied[", i, "].values"], "an empty list denies nothing; leave it out for any value");
            }
        }
        for (i, denied) in settings.denied.iter().enumerate().filter(|(_, denied)| !denied.key.is_empty()) {
            names::annotation_pattern(text!["denied[", i, "].key"], &denied.key, &mut errors);
        }
        if errors.is_empty() { Ok(Self(settings.denied)) } else { Err(errors) }
    }

    fn validate(&self, review: &Review) -> Verdict {
        let found = review.service.service_type();
        if found == ServiceType::LoadBalancer {
            return Verdict::allow();
        }
        let mut verdict = Verdict::allow();
        for (key, value) in &review.service.metadata.annotations {
            if self.0.iter().any(|denied| exposes(denied, key, value)) {
                let field = text!["metadata.annotations[", quote(key), "]"];
                let message = text![quote(value), " exposes a Service of type ", found];
                let violation = Violation::new("S10", field, message).key(text![key, "=", value]);
                verdict.violations.push(violation.fix("remove it, or use type LoadBalancer"));
            }
        }
        verdict
    }
}

fn exposes(denied: &Denied, key: &str, value: &str) -> bool {
    glob::matches(&denied.key, key)
        && denied.values.as_ref().is_none_or(|values| values.iter().any(|wanted| glob::matches(wanted, value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::testing::*;

    fn configured(denied: Vec<Denied>) -> ExposureAnnotations {
        ExposureAnnotations::configure(Settings { denied }).unwrap_or_else(|errors| panic!("{errors:?}"))
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
            let value = row.values.first().map_or("x".to_owned(), |value| value.replace('*', "x"));
            let mut service = with(row.key, &value);
            assert_eq!(policy.validate(&create(service.clone())).violations.len(), 1, "{}", row.key);
            service.spec.type_ = Some(ServiceType::LoadBalancer);
            assert_eq!(policy.validate(&create(service)), Verdict::allow());
        }
        assert_eq!(policy.validate(&create(with("cloud.google.com/neg", r#"{"ingress": true}"#))), Verdict::allow());
        assert_eq!(policy.validate(&create(with("tailscale.com/expose", "false"))), Verdict::allow());
    }

    #[test]
    fn patterns_and_values_of_settings_count_in_place_of_what_is_known() {
        let policy = configured(vec![Denied { key: "*.example.com/*".into(), values: Some(vec!["yes".into()]) }]);
        assert_eq!(policy.validate(&create(with("lb.example.com/expose", "YES"))).violations.len(), 1);
        assert_eq!(policy.validate(&create(with("lb.example.com/expose", "no"))), Verdict::allow());
        assert_eq!(policy.validate(&create(with("tailscale.com/funnel", "true"))), Verdict::allow());
    }

    #[test]
    fn settings_that_mean_nothing_or_everything_are_refused() {
        let settings = Settings {
            denied: vec![
                Denied { key: String::new(), values: None },
                Denied { key: "*".into(), values: None },
                Denied { key: "a/b".into(), values: Some(vec![]) },
            ],
        };
        let errors = ExposureAnnotations::configure(settings).err().unwrap_or_default();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["denied[0].key", "denied[1].key", "denied[2].values"]);
    }
}
